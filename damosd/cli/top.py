# SPDX-License-Identifier: GPL-2.0-only
"""`damosd top`: a daemon that runs, on the whole screen."""

from __future__ import annotations

import os
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.cli.output import say
from damosd.errors import UnavailableError, UsageError
from damosd.units import UnitError, format_time_us, parse_time_us

if TYPE_CHECKING:
    import argparse

    from damosd.top.source import Source

_DESCRIPTION = """\
Show a daemon that runs: its targets, its schemes, and which memory of a process is used. Press ? for the keys. What
would change something asks first. See docs/top.md.
"""

_EXAMPLES = """\
examples:
  damosd top
  damosd top --cold 5m
  damosd top --once
"""

_SHORTEST_US = 100_000
_ALL_PROCESSES = 1 << 16


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's control socket (default: $DAMOSD_SOCKET, or /run/damosd/control.sock)",
    )
    parser.add_argument(
        "--interval", default="1s", metavar="TIME", help="how often to look (default 1s, at least 100ms)"
    )
    parser.add_argument(
        "--cold", default="30s", metavar="TIME", help="after what time without access memory is cold (default 30s)"
    )
    parser.add_argument("--once", action="store_true", help="print one screen as text, after two looks")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    interval_us, cold_us = _time_us("--interval", args.interval), _time_us("--cold", args.cold)
    if interval_us < _SHORTEST_US:
        raise UsageError(f"--interval: {args.interval} is too short", hint=f"at least {format_time_us(_SHORTEST_US)}")
    if not args.once:
        _check_screen()
    # numpy would start a thread per CPU for linear algebra that nothing here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from damosd.top.daemon import Daemon  # noqa: PLC0415  # loads numpy

    source = Daemon(args.socket)
    if args.once:
        _print(source, interval_us / 1e6, cold_us / 1e6)
        return 0
    source.status()  # who has no daemon, or may not ask it, needs no screen to be told so
    from damosd.top.app import Top  # noqa: PLC0415  # loads textual

    top = Top(source, interval_us / 1e6, cold_us / 1e6)
    top.run()
    return top.return_code or 0


def _time_us(option: str, text: str) -> int:
    try:
        return parse_time_us(text, "s")
    except UnitError as error:
        raise UsageError(f"{option}: {error}") from error


def _check_screen() -> None:
    """Raise what is in the way of a full-screen view."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise UsageError("there is no terminal to draw on", hint="`damosd top --once` prints one screen as text")
    if find_spec("textual") is None:
        raise UnavailableError(
            "the full-screen view needs textual, which is not installed",
            hint="`pip install 'damosd[top]'`; `damosd top --once` does without",
        )


def _print(source: Source, interval_s: float, cold_s: float) -> None:
    from damosd.top.feed import Look  # noqa: PLC0415  # loads numpy
    from damosd.top.once import screen  # noqa: PLC0415  # loads rich

    look = Look(source, cold_s)
    look.take(None, 0)
    time.sleep(interval_s)  # rates need two looks
    moment = look.take(None, _ALL_PROCESSES)
    source.close()
    say("\n".join(screen(moment, shutil.get_terminal_size().columns, cold_s)))
