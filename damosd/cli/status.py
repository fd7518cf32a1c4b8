# SPDX-License-Identifier: GPL-2.0-only
"""`damosd status`: what the daemon does now."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from damosd.cli.calling import SCHEMA, add_asking, daemon, time_us
from damosd.cli.output import say
from damosd.errors import UsageError
from damosd.units import format_time_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_DESCRIPTION = """\
Show the daemon's targets, their processes, and what its schemes have done to them. See docs/control.md.
"""

_EXAMPLES = """\
examples:
  damosd status
  damosd status --watch --interval 5s
  damosd status --json | jq '.targets[].status.schemes[] | {name, sz_applied}'
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C; with --json, one object a line")
    parser.add_argument("--interval", metavar="TIME", help="with --watch, how often (default 1s)")
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    interval_ms = _interval_ms(args)
    with ExitStack() as stack:
        client = stack.enter_context(daemon(args))
        show = _sink(args, stack)
        if not args.watch:
            show(client.call("status"))
            return 0
        with suppress(KeyboardInterrupt):
            for event in client.stream("status", interval_ms=interval_ms):
                show(event.result)
    return 0


def _interval_ms(args: argparse.Namespace) -> int:
    from damosd.control.commands import SHORTEST_STREAM_MS  # noqa: PLC0415  # not for --help

    interval_us = time_us(args.interval, "--interval")
    if interval_us is None:
        return 1000
    if not args.watch:
        raise UsageError("--interval is for --watch", hint="see `damosd status --help`")
    if interval_us < SHORTEST_STREAM_MS * 1000:
        shortest = format_time_us(SHORTEST_STREAM_MS * 1000)
        raise UsageError(f"--interval: {format_time_us(interval_us)} is too short", hint=f"the shortest is {shortest}")
    return interval_us // 1000


def _sink(args: argparse.Namespace, stack: ExitStack) -> Callable[[Any], None]:
    """Return what shows a result, as the options and the terminal ask."""
    if args.json:
        return lambda result: say(json.dumps({"schema": SCHEMA, **result}))

    from damosd.control.decode import daemon_status  # noqa: PLC0415  # not for --help
    from damosd.report.daemon_text import daemon_lines  # noqa: PLC0415  # not for --help

    def text(result: Any) -> str:
        return "\n".join(daemon_lines(daemon_status(result)))

    if not args.watch:
        return lambda result: say(text(result))
    if not (sys.stdout and sys.stdout.isatty()):  # there is none when it was closed
        return lambda result: say(f"{text(result)}\n")

    from rich.live import Live  # noqa: PLC0415  # only a terminal shows it
    from rich.text import Text  # noqa: PLC0415  # loads rich

    live = stack.enter_context(Live(auto_refresh=False))
    return lambda result: live.update(Text(text(result), no_wrap=True, overflow="ellipsis"), refresh=True)
