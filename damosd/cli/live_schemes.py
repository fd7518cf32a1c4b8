# SPDX-License-Identifier: GPL-2.0-only
"""What `damosd schemes` asks of the daemon: which schemes run, and changes of theirs that last until a reload."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from damosd.cli.calling import SCHEMA, add_asking, change, daemon, time_us
from damosd.cli.output import say
from damosd.errors import UsageError
from damosd.units import UnitError, format_time_us, parse_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_LIMITS = "a limit of 0 is none"


def set_argparsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommands, with the function that runs each as `run`."""
    live = commands.add_parser("live", help="show what the schemes of the daemon have done until now")
    _finish(live, _live)
    for name, doing in (("enable", "let a scheme of the daemon run"), ("disable", "let a scheme of the daemon rest")):
        command = commands.add_parser(name, help=doing, description=f"{doing.capitalize()}, until a reload.")
        command.add_argument("name", metavar="NAME", help="as `damosd schemes live` shows it")
        _finish(command, _enable)
    quota = commands.add_parser(
        "quota", help="change how much a scheme of the daemon may do", description=f"Until a reload; {_LIMITS}."
    )
    quota.add_argument("name", metavar="NAME", help="as `damosd schemes live` shows it")
    quota.add_argument("--size", metavar="SIZE", help="so many bytes in each window")
    quota.add_argument("--time", metavar="TIME", help="so much time in each window, in whole milliseconds")
    quota.add_argument("--reset", metavar="TIME", help="how long a window is, in whole milliseconds")
    _finish(quota, _quota)
    feed = commands.add_parser("feed", help="tell a scheme of the daemon the present value of its user_input goal")
    feed.add_argument("name", metavar="NAME", help="as `damosd schemes live` shows it")
    feed.add_argument("value", type=int, metavar="VALUE", help="the value now, as the goal's target counts")
    feed.add_argument("--goal", type=int, metavar="N", help="which of its goals, from 0 (default: the only one)")
    _finish(feed, _feed)


def _finish(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    add_asking(parser)
    parser.set_defaults(run=run)


def _live(args: argparse.Namespace) -> int:
    from damosd.control.decode import daemon_status  # noqa: PLC0415  # not for --help
    from damosd.report.daemon_text import scheme_lines, scheme_state  # noqa: PLC0415  # not for --help

    with daemon(args) as client:
        status = daemon_status(client.call("status"))
    if not args.json:
        say("\n".join(scheme_lines(status)))
        return 0
    schemes = [
        {"target": target.name, "now": scheme_state(status, target, scheme), **asdict(scheme)}
        for target in status.targets
        for scheme in target.status.schemes
    ]
    say(json.dumps({"schema": SCHEMA, "schemes": schemes, "disabled": list(status.disabled)}))
    return 0


def _enable(args: argparse.Namespace) -> int:
    return change(args, f"{args.name} is {args.schemes_command}d", args.schemes_command, scheme=args.name)


def _quota(args: argparse.Namespace) -> int:
    asked = {
        "sz_bytes": _size(args.size),
        "time_ms": _whole_ms(args.time, "--time"),
        "reset_interval_ms": _whole_ms(args.reset, "--reset"),
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        raise UsageError("no limit is given", hint="give --size, --time or --reset")
    return change(args, f"{args.name} has the quota", "set_quota", scheme=args.name, **asked)


def _feed(args: argparse.Namespace) -> int:
    which = {} if args.goal is None else {"goal": args.goal}
    return change(args, f"{args.name} was told {args.value}", "feed", scheme=args.name, value=args.value, **which)


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except UnitError as error:
        raise UsageError(f"--size: {error}") from error


def _whole_ms(text: str | None, option: str) -> int | None:
    asked_us = time_us(text, option)
    if asked_us is None:
        return None
    if asked_us % 1000:
        raise UsageError(f"{option}: {format_time_us(asked_us)} is not a whole number of milliseconds")
    return asked_us // 1000
