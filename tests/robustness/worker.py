# SPDX-License-Identifier: GPL-2.0-only
"""A plain Python program at work, that checks all it does: `python3 -I worker.py PROGRESS_FILE`.

It speaks like the other victims (see victim.h): a line of JSON when ready, counters in a file, 0 after SIGTERM, else a
line on stderr. It needs nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import queue
import random
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AREA_BYTES = 4 << 20
HUGE = 2 << 20
NR_AREAS = 3
CHUNK_BYTES = 64 << 10

stopping = threading.Event()


def fail(message: str) -> NoReturn:
    """End at once."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(3)


def block(seed: int, number: int) -> bytes:
    """Return the content of a part of an area."""
    return hashlib.shake_128(b"%d %d" % (seed, number)).digest(CHUNK_BYTES // 16) * 16


class Area:
    """Memory with content that can be checked."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.map = mmap.mmap(-1, AREA_BYTES + 2 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.offset = HUGE + -base % HUGE
        self.start = base + self.offset
        self.blocks = AREA_BYTES // CHUNK_BYTES
        for number in range(self.blocks):
            self.map[self._slice(number)] = block(seed, number)

    def _slice(self, number: int) -> slice:
        first = self.offset + number * CHUNK_BYTES
        return slice(first, first + CHUNK_BYTES)

    def check(self, number: int) -> None:
        """Look at a part of it."""
        if self.map[self._slice(number % self.blocks)] != block(self.seed, number % self.blocks):
            fail(f"memory: part {number % self.blocks} of area {self.seed} has changed")


def numbers(seed: int, count: int) -> Iterator[int]:
    """Draw numbers."""
    generator = random.Random(seed)
    for _ in range(count):
        yield generator.getrandbits(32)


def check_hashes(turn: int) -> None:
    """A chain of hashes gives the same twice."""

    def chain() -> bytes:
        digest = b"%d" % turn
        for _ in range(500):
            digest = hashlib.sha256(digest).digest()
        return digest

    if chain() != chain():
        fail("hashes differ")


def check_floats(turn: int) -> None:
    """A sum is what the formula says."""
    total = sum(0.5 * value for value in range(turn % 1000))
    count = turn % 1000
    if total != 0.25 * count * (count - 1):
        fail(f"the sum of {count} numbers is {total}")


def check_json(turn: int) -> None:
    """What is written as JSON is read back."""
    value: Any = {
        "turn": turn,
        "numbers": list(numbers(turn, 50)),
        "text": "ä" * 20,
        "in": [{"deep": [None, True, 0.25]}],
    }
    if json.loads(json.dumps(value)) != value:
        fail("JSON differs")


def check_generators(turn: int) -> None:
    """A pipeline of generators gives what a list gives."""
    evens = (number for number in numbers(turn, 200) if number % 2 == 0)
    if sum(number >> 1 for number in evens) != sum(n >> 1 for n in list(numbers(turn, 200)) if not n % 2):
        fail("generators differ")


def check_sleep(turn: int) -> None:
    """A sleep ends neither early nor much too late."""
    asked_s = 0.01 * (turn % 3 + 1)
    before = time.monotonic()
    time.sleep(asked_s)
    elapsed_s = time.monotonic() - before
    if not asked_s <= elapsed_s <= 2 * asked_s + 1:
        fail(f"slept {elapsed_s} s instead of {asked_s} s")


class Pipe:
    """Bytes that go through a pipe and select from one thread to another."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.sent: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        for turn in range(1 << 60):
            data = b"%064d" % turn
            self.sent.put(data)
            os.write(self.write_end, data)
            time.sleep(0.002)

    def check(self, _turn: int) -> None:
        """The next is there within seconds, and is what was sent."""
        ready, _, _ = select.select([self.read_end], [], [], 10)
        if not ready or os.read(self.read_end, 64) != self.sent.get(timeout=10):
            fail("the pipe differs")


def main() -> None:
    """Work until told to end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with open(sys.argv[1], "r+b") as file:  # noqa: PTH123
        progress = memoryview(mmap.mmap(file.fileno(), 512)).cast("Q")
    areas = [Area(seed) for seed in range(NR_AREAS)]
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    jobs: list[Callable[[int], None]] = [
        check_hashes,
        check_floats,
        check_json,
        check_generators,
        check_sleep,
        Pipe().check,
    ]

    def keep_doing(place: int) -> None:
        turn = 0
        while not stopping.is_set():
            turn += 1
            jobs[place](turn)
            areas[turn % NR_AREAS].check(turn // NR_AREAS)
            progress[place] = turn

    def work(place: int) -> None:
        try:
            keep_doing(place)
        except BaseException as error:  # noqa: BLE001  whatever it is, it is not meant to be
            fail(f"{jobs[place].__name__}: {error!r}")

    threads = [threading.Thread(target=work, args=(place,)) for place in range(1, len(jobs))]
    for thread in threads:
        thread.start()
    where = [[area.start, area.start + AREA_BYTES] for area in areas]
    print(json.dumps({"pid": os.getpid(), "counters": len(jobs), "areas": where}), flush=True)
    work(0)
    for thread in threads:
        thread.join()
    for area in areas:
        for number in range(area.blocks):
            area.check(number)
    os._exit(0)


if __name__ == "__main__":
    main()
