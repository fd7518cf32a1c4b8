# SPDX-License-Identifier: GPL-2.0-only
"""`damosd wss`: the exact working set of a process, by mapping."""

from __future__ import annotations

import itertools
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from damosd.cli.output import say
from damosd.cli.pids import called, refuse_ourselves
from damosd.errors import UsageError
from damosd.units import UnitError, format_time_us, parse_time_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

_DESCRIPTION = """\
Measure how much memory a process accesses: every page, in each of some windows of time that end together. That takes
as long as the longest one. It changes nothing but how old the kernel takes pages to be; see docs/wss.md.
"""

_EXAMPLES = """\
examples:
  damosd wss --pid 4242
  damosd wss --comm redis-server --windows 100ms,1s --json
"""

_DEFAULT = "1s,10s,60s"
_SHORTEST_US = 10_000


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--pid", type=int, help="the process")
    target.add_argument("--comm", metavar="NAME", help="the only process of this name, as `ps -o comm` shows it")
    parser.add_argument(
        "--windows", default=_DEFAULT, metavar="TIME,...", help=f"the windows, the shortest first (default {_DEFAULT})"
    )
    parser.add_argument("--all", action="store_true", help="show every mapping by itself, with addresses")
    parser.add_argument("--json", action="store_true", help="print one JSON object, in bytes, instead of a table")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    windows_us = _windows(args.windows)
    pid = _only_one(args)
    # numpy would start a thread per CPU for linear algebra that nothing here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from damosd.daemon.wss import measure  # noqa: PLC0415  # loads numpy
    from damosd.report.wss import as_json, lines  # noqa: PLC0415  # not for --help

    with _progress() as on_wait:
        measured = measure(pid, windows_us, on_wait)
    if args.json:
        say(json.dumps(as_json(measured)))
    elif sys.stdout and sys.stdout.isatty():  # there is none when it was closed
        from rich.console import Console  # noqa: PLC0415  # only a terminal shows a table

        from damosd.report.wss_table import wss_table  # noqa: PLC0415  # loads rich

        Console().print(wss_table(measured, every=args.all))
    else:
        say("\n".join(lines(measured, every=args.all)))
    return 0


def _windows(text: str) -> list[int]:
    """Return the windows in microseconds. A bare number is seconds."""
    hint = f"the usual ones are {_DEFAULT}"
    try:
        windows_us = [parse_time_us(part, "s") for part in text.split(",")]
    except UnitError as error:
        raise UsageError(f"--windows: {error}", hint=hint) from error
    if windows_us[0] < _SHORTEST_US:
        raise UsageError(f"--windows: {format_time_us(windows_us[0])} is too short to make everything old", hint=hint)
    if any(after <= before for before, after in itertools.pairwise(windows_us)):
        raise UsageError(f"--windows: {text!r} does not begin with the shortest, or names one twice", hint=hint)
    from damosd.core.pages.windows import MAX_WINDOWS  # noqa: PLC0415  # loads numpy

    if len(windows_us) > MAX_WINDOWS:
        raise UsageError(f"--windows: {len(windows_us)} are too many, {MAX_WINDOWS} at most", hint=hint)
    return windows_us


def _only_one(args: argparse.Namespace) -> int:
    if args.comm is None:
        refuse_ourselves([args.pid])
        return int(args.pid)
    found = called(args.comm)
    if len(found) > 1:
        pids = " ".join(map(str, sorted(found)))
        raise UsageError(f"several processes are called {args.comm!r}: {pids}", hint="give one of them with --pid")
    return found[0]


@contextmanager
def _progress() -> Iterator[Callable[[float, float], None] | None]:
    """Show on stderr how much of the time has passed, where that is a terminal."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  # only a terminal shows it
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415  # loads rich

    bar = Progress(
        TextColumn("measuring"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )
    with bar:
        task = bar.add_task("")

        def on_wait(passed_s: float, total_s: float) -> None:
            bar.update(task, completed=passed_s, total=total_s, refresh=True)

        yield on_wait
