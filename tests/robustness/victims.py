# SPDX-License-Identifier: GPL-2.0-only
"""Programs that check their own work while something is done to them, and how to see that they are well.

A victim ends with an error as soon as anything is wrong with it; left running it advances its counters. Use each in a
`with`: leaving kills what has not ended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.lab.redis import Redis, key, value
from damosd.errors import UnavailableError
from robustness.build import HERE, program

if TYPE_CHECKING:
    from collections.abc import Sequence

HUGE = 2 << 20
NR_COUNTERS = 64
LATE, SWALLOWED = 32, 63  # as in threads.c
START_S = 60.0
ADVANCE_S = 20.0  # longer than anything waits, and long enough for a machine with much else to do
END_S = 60.0


class Victim:
    """A program of ours, started with a progress file; `areas` are what may be advised on, (start, end) each."""

    def __init__(self, command: Sequence[str], *arguments: str) -> None:
        self._command, self._arguments = command, arguments
        self._stack = ExitStack()
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="damosd-victim-")))
            self._progress = directory / "progress"
            self._progress.write_bytes(bytes(NR_COUNTERS * 8))
            self._errors = stack.enter_context((directory / "stderr").open("w+b"))
            command = [*self._command, str(self._progress), *self._arguments]
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=directory,  # for what it leaves when it crashes
                start_new_session=True,
            )
            stack.callback(self._end)
            self.about = self._first_line()
            self.pid: int = self._process.pid
            assert self.about["pid"] == self.pid
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        assert self._process.stdout
        self._process.stdout.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _first_line(self) -> dict[str, Any]:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        line = self._process.stdout.readline() if ready else b""
        assert line, f"it has not begun: {self.stderr()}"
        about: dict[str, Any] = json.loads(line)
        return about

    @property
    def areas(self) -> list[tuple[int, int]]:
        """Return what may be advised on."""
        return [(start, end) for start, end in self.about["areas"]]

    def stderr(self) -> str:
        """Return what it has complained of."""
        return Path(self._errors.name).read_text(errors="replace").strip()

    def table(self) -> tuple[int, ...]:
        """Return all its counters."""
        return struct.unpack(f"{NR_COUNTERS}Q", self._progress.read_bytes())

    def counters(self) -> tuple[int, ...]:
        """Return those that must advance."""
        first = self.about.get("first", 0)
        return self.table()[first : first + self.about["counters"]]

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def check_advancing(self) -> None:
        """Wait until each of its counters has advanced twice: what was begun before has ended, then."""
        before = self.counters()
        deadline = time.monotonic() + ADVANCE_S
        while True:
            assert self.alive(), f"it has ended with {self._process.returncode}: {self.stderr()}"
            now = self.counters()
            if all(new >= old + 2 for new, old in zip(now, before, strict=True)):
                return
            assert time.monotonic() < deadline, f"counters {before} have come to {now} only; {self.stderr()}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Let it check everything once more. It must end well."""
        self._process.terminate()
        code = self.wait()
        assert code == 0, f"it has ended with {code}: {self.stderr()}"
        assert self.stderr() == ""

    def wait(self) -> int:
        """Wait until it has ended."""
        return self._process.wait(END_S)


def busy() -> Victim:
    """One thread with a value in every register."""
    return Victim([program("busy")])


def threads(kind: str = "all") -> Victim:
    """Threads that wait in every way there is, or one thread that waits in one way."""
    return Victim([program("threads")], kind)


KINDS = [
    "read",
    "recv",
    "poll",
    "ppoll",
    "select",
    "epoll_wait",
    "epoll_pwait",
    "accept",
    "futex",
    "sem_wait",
    "sigwaitinfo",
    "nanosleep",
    "clock_nanosleep",
    "clock_nanosleep_absolute",
    "futex_timed",
    "futex_absolute",
    "sem_timedwait",
    "sigtimedwait",
    "recv_timed",
    "semtimedop",
    "poll_timed",
    "ppoll_timed",
    "select_timed",
    "epoll_wait_timed",
    "epoll_pwait_timed",
    "alarm",
    "suspend",
]


def forker(mode: str) -> Victim:
    """Threads that make processes ("fork"), or a program that becomes itself anew ("exec")."""
    return Victim([program("forker")], mode)


def python() -> Victim:
    """A plain Python program."""
    return Victim([sys.executable, "-I", str(HERE / "worker.py")])


def anonymous_areas(pid: int) -> list[tuple[int, int]]:
    """Return its private writable anonymous memory, in whole huge pages."""
    areas = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, access, _offset, _device, inode, *name = line.split(maxsplit=5)
        first, end = (int(number, 16) for number in where.split("-"))
        first, end = first + -first % HUGE, end - end % HUGE
        if access == "rw-p" and inode == "0" and not "".join(name).startswith("[s") and first < end:
            areas.append((first, end))
    return areas


class JavaVictim(Victim):
    """A Java program."""

    @property
    def areas(self) -> list[tuple[int, int]]:
        """Return the heap and what else there is, as it is now."""
        return anonymous_areas(self.pid)


def java() -> Victim:
    """A Java program, compiled when it starts."""
    return JavaVictim(["java", "-Xms64m", "-Xmx64m", str(HERE / "Check.java")])


def has_java() -> bool:
    """Tell whether there is a Java that compiles: the runtime alone has no compiler."""
    return bool(shutil.which("java") and shutil.which("javac"))


class RedisVictim:
    """A Redis whose values are read and written all the time, and compared."""

    KEYS = 20_000

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._problem = ""
        self._done = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._redis = stack.enter_context(Redis())
            for _ in self._redis.fill(self.KEYS):
                pass
            self.pid = self._redis.pid
            stack.enter_context(self._redis.load(self.KEYS))
            self._client = threading.Thread(target=self._keep_checking)
            self._client.start()
            stack.callback(self._client.join)
            stack.callback(self._stopping.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _keep_checking(self) -> None:
        """Read a key, write another, and so on over all: most are read right after they were written."""
        try:
            turn = 0
            while not self._stopping.is_set():
                number = turn * 7919 % self.KEYS
                if self._redis.damaged([number]):
                    self._problem = f"key {number} is damaged"
                    return
                self._redis.call(b"SET", key(number), value(number))
                turn += 1
                self._done = turn
        except UnavailableError as error:
            self._problem = str(error)

    @property
    def areas(self) -> list[tuple[int, int]]:
        """Return its heap, as it is now."""
        return anonymous_areas(self.pid)

    def stderr(self) -> str:
        """Return what is wrong."""
        return self._problem

    def alive(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self._problem

    def check_advancing(self) -> None:
        """Wait until some more keys were compared."""
        before, deadline = self._done, time.monotonic() + ADVANCE_S
        while self._done < before + 100:
            assert not self._problem, self._problem
            assert time.monotonic() < deadline, "Redis answers no more"
            time.sleep(0.02)

    def finish(self) -> None:
        """Compare all keys."""
        self._stopping.set()
        self._client.join(END_S)
        assert not self._problem, self._problem
        assert self._redis.damaged(range(self.KEYS)) == 0


def check_untraced(pid: int) -> None:
    """No thread is stopped or traced, or stays so."""
    deadline = time.monotonic() + ADVANCE_S
    while held := _held(pid):
        assert time.monotonic() < deadline, f"threads are held: {held}"
        time.sleep(0.02)


def _held(pid: int) -> list[str]:
    held = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if fields["State"][0] in "tT" or fields["TracerPid"] != "0":
            held.append(f"{status.parent.name}: {fields['State']}, traced by {fields['TracerPid']}")
    return held


def corrupt(pid: int, address: int) -> None:
    """Change a byte of a process's memory. Raises OSError, of a process that has ended too."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    try:
        byte = os.pread(fd, 1, address)
        if not byte:  # what has ended has no memory to read, which is no error for the kernel
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        os.pwrite(fd, bytes([byte[0] ^ 1]), address)
    finally:
        os.close(fd)


def interrupt(pid: int) -> None:
    """Stop it by a signal and let it go on: what may not be restarted ends with EINTR."""
    os.kill(pid, signal.SIGSTOP)
    with contextlib.suppress(ChildProcessError):  # it has ended
        os.waitid(os.P_PID, pid, os.WSTOPPED)
    os.kill(pid, signal.SIGCONT)


def poke(tid: int, *what: object) -> None:
    """Change a register of a thread (see poke.c)."""
    subprocess.run([program("poke"), str(tid), *map(str, what)], check=True, timeout=END_S)
