# SPDX-License-Identifier: GPL-2.0-only
"""`make demo`: a program without damosd, the same program with it, and what came of it.

Exit codes: 0 it went as it should; 1 it did not, or could not be shown; 2 usage; 4 not root; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.demo.meter import Cost, observe
from bench.demo.outcome import Outcome
from bench.demo.subjects import file_subject, redis_subject
from bench.lab import redis
from bench.lab.children import stop
from bench.lab.signals import unwinding
from bench.lab.zram import enough_swap, remove_leftovers
from damosd.errors import DamosdError, PrivilegeError, UnavailableError, UsageError
from damosd.linux import swap
from damosd.units import UnitError, format_size, parse_size, parse_time_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.demo.meter import Phase
    from bench.demo.subjects import Subject
    from bench.lab.zram import ZramSwap

_SCHEME = "schemes/prcl.yaml"
_ROOT = Path(__file__).parents[2]
_WARM_UP_S = 2.0


def main() -> int:
    """Show it, and return the exit code."""
    try:
        with unwinding():
            return _demo(_arguments())
    except KeyboardInterrupt:
        print("\nStopped, and cleaned up.", flush=True)
        return 130
    except DamosdError as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.demo", description="Show what damosd does, in about a minute."
    )
    parser.add_argument("--size", default="400M", help="how much content to fill Redis with (default 400M)")
    parser.add_argument(
        "--without", default="8s", metavar="TIME", help="time to measure without damosd, before and after (default 8s)"
    )
    parser.add_argument(
        "--with", dest="during", default="28s", metavar="TIME", help="time to measure with damosd (default 28s)"
    )
    args = parser.parse_args()
    try:
        args.size = parse_size(args.size)
        args.without, args.during = (parse_time_us(text, "s") / 1e6 for text in (args.without, args.during))
    except UnitError as error:
        raise UsageError(str(error)) from error
    return args


def _demo(args: argparse.Namespace) -> int:
    if os.geteuid():
        raise PrivilegeError("only root may read other processes' page tables and make swap", hint="sudo make demo")
    os.chdir(_ROOT)
    _say("damosd pages out what a program does not use. This shows it on a program that holds much and uses little.\n")
    for path in remove_leftovers():
        _say(f"Removed {path}, the swap that an earlier demo was killed with.")
    with ExitStack() as stack:
        subject, device = _subject(args.size, stack)
        outcome = _measure(subject, device, args)
    _say("\nWhat came of it:\n")
    print("\n".join(outcome.lines()))
    shortfalls = outcome.shortfalls()
    for shortfall in shortfalls:
        _say(f"\nNOT as it should be: {shortfall}")
    if not shortfalls:
        _say(f"\nAs it should be: what {outcome.name} does not use has left, and its throughput stayed.")
    return 1 if shortfalls else 0


def _subject(size_bytes: int, stack: ExitStack) -> tuple[Subject, ZramSwap | None]:
    """Start what is to be shown, and the swap that it needs, if any."""
    size_bytes = min(size_bytes, psutil.virtual_memory().available // 3)
    try:
        redis.check_installed()
        device = stack.enter_context(_swap(size_bytes * 5 // 4))
    except UnavailableError as error:
        _say(f"No Redis this time: {error}{error.hint and f' ({error.hint})'}.")
        _say("A program that maps a file will do: its pages can leave without swap, the file has them.")
        return stack.enter_context(file_subject(size_bytes, _say)), None
    return stack.enter_context(redis_subject(size_bytes, _say)), device


@contextmanager
def _swap(size_bytes: int) -> Iterator[ZramSwap | None]:
    """Make swap where there is none that pages can go to. Raises UnavailableError."""
    with enough_swap(size_bytes) as device:
        if device:
            _say(
                f"No swap is on, or not enough, so the demo makes some in memory: {device.path}, "
                f"{format_size(size_bytes)}, compressed by {device.algorithm}. It goes away at the end."
            )
        found = swap.probe()
        if not found.works:
            raise UnavailableError(found.detail, hint=found.hint)
        yield device


def _measure(subject: Subject, device: ZramSwap | None, args: argparse.Namespace) -> Outcome:
    """Measure without damosd, with it and without it again, and read back what has left."""
    time.sleep(_WARM_UP_S)
    before = _without(subject, args.without)
    command = ["run", "--pid", str(subject.pid), "--scheme", _SCHEME, "--resolution", "page"]
    command += ["--duration", f"{args.during}s"]
    _say(f"\n\nWith damosd, {args.during:.0f} s: damosd {' '.join(command)}\n")
    damosd = subprocess.Popen([sys.executable, "-m", "damosd", *command])
    try:
        cost = Cost(damosd.pid)
        during = observe(subject, _until_ended(damosd, cost), [damosd.pid])
    finally:
        stop(damosd)
    swapped_bytes, memory_bytes = device.stored_bytes() if device else (0, 0)
    after = _without(subject, args.without, "again")
    _say(f"\n\nReading back what {subject.name} does not use.")
    checked, damaged = subject.check()
    return Outcome(
        name=subject.name,
        unit=subject.unit,
        cold_bytes=subject.cold_bytes,
        before=before,
        during=during,
        after=after,
        cost=cost,
        exit_code=damosd.returncode,
        swapped_bytes=swapped_bytes,
        swap_memory_bytes=memory_bytes,
        checked=checked,
        damaged=damaged,
    )


def _without(subject: Subject, seconds: float, again: str = "") -> Phase:
    """Measure without damosd."""
    _say(f"\nWithout damosd{again and f' {again}'}, {seconds:.0f} s, in {subject.unit} a second:")
    ended = _until(time.monotonic() + seconds + 0.5)
    return observe(subject, ended, show=lambda rate: print(f" {rate:,.0f}", end="", flush=True))


def _until(moment: float) -> Callable[[float], bool]:
    """Return a wait that is over at `moment`."""

    def ended(timeout_s: float) -> bool:
        time.sleep(timeout_s)
        return time.monotonic() >= moment

    return ended


def _until_ended(process: subprocess.Popen[bytes], cost: Cost) -> Callable[[float], bool]:
    """Return a wait that is over when the process is, and that looks what it costs before that."""

    def ended(timeout_s: float) -> bool:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            cost.look()
            return False
        return True

    return ended


def _say(text: str) -> None:
    print(textwrap.fill(text, 110, replace_whitespace=False), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
