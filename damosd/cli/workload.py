# SPDX-License-Identifier: GPL-2.0-only
"""`damosd workload`: play a known access pattern, to measure monitors against."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

from damosd import units
from damosd.errors import DamosdError, UsageError
from damosd.workload.options import (
    DEFAULT_PAUSE_US,
    DEFAULT_PHASE_US,
    DEFAULT_RECURRING_PHASE_US,
    DEFAULT_STEPS,
    Kind,
    Options,
    Pattern,
    Thp,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_DESCRIPTION = """\
Touch memory in a known pattern, and print what is hot, and since when, as JSON
lines: enough to compute how accurate a monitor is, and how much it slows its
target down. Ends on SIGINT or SIGTERM; then checks that every page still holds
what was written to it, and exits with 1 when one does not."""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "pattern",
        choices=[pattern.value for pattern in Pattern],
        help="hot-cold: the first part is hot; zigzag: first and last part in turn; stairs: the hot part moves to the "
        "end in steps; random: scattered pages; recurring: the first part is hot, all the rest is touched once a phase",
    )
    parser.add_argument("--size", required=True, help="how much memory, e.g. 512M")
    parser.add_argument(
        "--hot", default="1/8", help="which part is hot at any one time, e.g. 1/8 or 12.5%% (default 1/8)"
    )
    parser.add_argument(
        "--pause",
        default=f"{DEFAULT_PAUSE_US}us",
        help=f"time between two sweeps over the hot part; 0 to be busy (default {DEFAULT_PAUSE_US // 1000}ms)",
    )
    parser.add_argument(
        "--phase",
        help=f"how long the hot part stays in place (default {DEFAULT_PHASE_US // 1_000_000}s for zigzag and stairs, "
        f"for ever for random), or the time between two touches of the rest (recurring, default "
        f"{DEFAULT_RECURRING_PHASE_US // 1_000_000}s)",
    )
    parser.add_argument(
        "--steps", type=int, help=f"places the hot part of stairs moves through (default {DEFAULT_STEPS})"
    )
    parser.add_argument("--duration", help="stop after this time, e.g. 30s (default: run until stopped)")
    parser.add_argument("--seed", type=int, default=0, help="what the choice of random pages comes from (default 0)")
    parser.add_argument(
        "--kind",
        choices=[kind.value for kind in Kind],
        default=Kind.ANON.value,
        help="private anonymous memory, a shared mapping of an unnamed file in $TMPDIR, or shared anonymous memory "
        "(default anon)",
    )
    parser.add_argument(
        "--thp",
        choices=[thp.value for thp in Thp],
        default=Thp.NEVER.value,
        help="huge pages; with them a monitor cannot see single pages (default never)",
    )
    parser.add_argument("--write", action="store_true", help="write to the hot pages instead of reading them")


def main(args: argparse.Namespace) -> int:
    """Play the workload. Raise UsageError for values that make no sense, DamosdError when content was lost."""
    options = _options(args)
    # One thread is enough, and what a monitor does to its target then shows in that one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with _StopSignals() as signals:
        # Only now, so that SIGTERM during the import ends cleanly as well; numpy takes a tenth of a second.
        from damosd.workload.run import run  # noqa: PLC0415

        output = _Output()
        damaged = run(options, output.emit, lambda timeout_s: output.closed or signals.wait(timeout_s))
    if damaged:
        raise DamosdError(f"{damaged} of {options.pages} pages do not hold what was written to them")
    return 0


def _options(args: argparse.Namespace) -> Options:
    def parsed(option: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(getattr(args, option))
        except units.UnitError as error:
            raise UsageError(f"--{option}: {error}") from error

    def seconds(text: str) -> int:
        return units.parse_time_us(text, "s")

    return Options(
        pattern=Pattern(args.pattern),
        size_bytes=parsed("size", units.parse_size),
        hot=parsed("hot", units.parse_fraction),
        pause_us=parsed("pause", seconds),
        phase_us=None if args.phase is None else parsed("phase", seconds),
        steps=args.steps,
        duration_us=None if args.duration is None else parsed("duration", seconds),
        seed=args.seed,
        kind=Kind(args.kind),
        thp=Thp(args.thp),
        write=args.write,
    )


class _StopSignals:
    """While entered, SIGINT and SIGTERM end a wait and every later one, and nothing else."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> Self:
        # The byte that Python writes for a signal stays in the pipe. A sleep would go on after a signal, and would
        # not notice one that another thread took.
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._old_wakeup_fd = signal.set_wakeup_fd(self._write_fd)
        self._old_handlers = [signal.signal(number, lambda *_: None) for number in self._SIGNALS]
        return self

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a signal comes or `timeout_s` is over, and return whether one has come."""
        return bool(select.select([self._read_fd], [], [], timeout_s)[0])

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self._SIGNALS, self._old_handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)


class _Output:
    """JSON lines on stdout, until the reader goes away."""

    def __init__(self) -> None:
        self.closed = False

    def emit(self, event: dict[str, Any]) -> None:
        """Print one event and flush it; nothing once the reader has gone."""
        if self.closed:
            return
        try:
            print(json.dumps(event), flush=True)
        except BrokenPipeError:
            self.closed = True
            # What could not be written is still buffered, and would raise again when Python flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
