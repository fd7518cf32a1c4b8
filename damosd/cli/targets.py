# SPDX-License-Identifier: GPL-2.0-only
"""`damosd targets`: which processes the configuration makes targets, and why one is, or is not."""

from __future__ import annotations

import json
import math
import pwd
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.cli.output import say
from damosd.config.settings import DEFAULT_PATH
from damosd.errors import TargetGoneError, UsageError
from damosd.units import UnitError, format_time_us, parse_time_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from damosd.config.settings import Settings
    from damosd.daemon.discovery.changes import Changes, Match
    from damosd.daemon.discovery.discovery import Discovery
    from damosd.report.targets import Matched, Why

_DESCRIPTION = """\
Show which processes are targets now, as `targets` and `never` of the configuration choose them. Nothing is monitored,
and no process is changed. A + behind a pid marks a process that is a target because it descends from one.
See docs/targets.md.
"""

_EXAMPLES = """\
examples:
  damosd targets --config damosd.yaml
  damosd targets --why 4242
  damosd targets --follow --json
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=f"the main file (default {DEFAULT_PATH})"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--why", type=int, metavar="PID", help="explain why a process is a target, or is not")
    what.add_argument("--follow", action="store_true", help="go on, and tell what appears and what is gone")
    parser.add_argument("--duration", metavar="TIME", help="with --follow, stop after this time (default: at Ctrl-C)")
    parser.add_argument("--json", action="store_true", help="print JSON; with --follow, one object a line")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    duration_s = _duration_s(args)
    from damosd.config.mainfile import load_main_file  # noqa: PLC0415  # loads pydantic
    from damosd.daemon.discovery.discovery import Discovery  # noqa: PLC0415  # not for --help

    settings = load_main_file(args.config)
    if not settings.selection.targets:
        print(f"damosd: {args.config} names no targets", file=sys.stderr)
    interval_s = settings.discovery_interval_us / 1e6
    with Discovery(settings.selection, interval_s, events=args.follow) as discovery:
        if args.follow:
            return _follow(discovery, duration_s, as_json=args.json)
        changes = discovery.update()
        _tell_doubts(changes)
        if args.why is not None:
            return _explain(discovery, settings, args.why, as_json=args.json)
        return _show(discovery, settings, as_json=args.json)


def _duration_s(args: argparse.Namespace) -> float:
    if args.duration is None:
        return math.inf
    if not args.follow:
        raise UsageError("--duration is for --follow", hint="see `damosd targets --help`")
    try:
        return parse_time_us(args.duration, "s") / 1e6
    except UnitError as error:
        raise UsageError(f"--duration: {error}") from error


def _show(discovery: Discovery, settings: Settings, *, as_json: bool) -> int:
    from damosd.report.targets import matched_json, matched_lines  # noqa: PLC0415  # not for --help

    names = [target.name for target in settings.selection.targets]
    matched = sorted(_matched(discovery, discovery.matches()), key=lambda one: one.pid)
    say(json.dumps(matched_json(names, matched)) if as_json else "\n".join(matched_lines(names, matched)))
    return 0


def _matched(discovery: Discovery, matches: Iterable[Match]) -> list[Matched]:
    """Describe matches, but those that have ended since."""
    found = []
    for match in matches:
        with suppress(TargetGoneError):
            found.append(_described(discovery, match))
    return found


def _described(discovery: Discovery, match: Match) -> Matched:
    from damosd.daemon.discovery.facts import ProcessFacts  # noqa: PLC0415  # not for --help
    from damosd.linux.process_table import ProcessFiles  # noqa: PLC0415  # not for --help
    from damosd.report.targets import Matched  # noqa: PLC0415  # not for --help

    files = ProcessFiles(match.pid, match.pidfd.directory)
    facts = ProcessFacts(files, files.stat(), discovery.patience)
    return Matched(
        target=match.target,
        pid=match.pid,
        user=_user_name(facts.uid),
        rss_bytes=facts.rss_bytes,
        comm=facts.comm,
        cmdline=facts.cmdline or "",
        followed=match.followed,
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _explain(discovery: Discovery, settings: Settings, pid: int, *, as_json: bool) -> int:
    from damosd.report.targets import why_json, why_lines  # noqa: PLC0415  # not for --help

    why = _why(discovery, settings, pid)
    say(json.dumps(why_json(why)) if as_json else "\n".join(why_lines(why)))
    return 0


def _why(discovery: Discovery, settings: Settings, pid: int) -> Why:
    """Judge one process. Raises TargetGoneError."""
    from damosd.daemon.discovery.facts import ProcessFacts  # noqa: PLC0415  # not for --help
    from damosd.linux.pidfd import Pidfd  # noqa: PLC0415  # not for --help
    from damosd.linux.process_table import ProcessFiles  # noqa: PLC0415  # not for --help
    from damosd.report.targets import Judged, Why  # noqa: PLC0415  # not for --help
    from damosd.targets.selection import forbidden  # noqa: PLC0415  # not for --help

    match = next((one for one in discovery.matches() if one.pid == pid), None)
    with Pidfd(pid) as pidfd:
        files = ProcessFiles(pid, pidfd.directory)
        facts = ProcessFacts(files, files.stat(), discovery.patience)
        return Why(
            pid=pid,
            comm=facts.comm,
            target=match.target if match else "",
            followed=match.followed if match else False,
            forbidden=forbidden(facts, discovery.own),
            never=settings.selection.reason_never(facts),
            targets=tuple(
                Judged(one.name, one.selector.reason(facts), tuple(part.reason(facts) for part in one.exclude))
                for one in settings.selection.targets
            ),
        )


def _follow(discovery: Discovery, duration_s: float, *, as_json: bool) -> int:
    if discovery.no_events:
        interval = format_time_us(round(1e6 * discovery.interval_s))
        print(f"damosd: {discovery.no_events}: processes are looked for every {interval}", file=sys.stderr)
    stopped: list[int] = []
    before = {number: signal.signal(number, lambda *_: stopped.append(1)) for number in (signal.SIGINT, signal.SIGTERM)}
    end = time.monotonic() + duration_s
    try:
        while not stopped and time.monotonic() < end:
            _tell(discovery, discovery.update(), as_json=as_json)
            discovery.wait(min(end - time.monotonic(), 0.5))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _tell(discovery: Discovery, changes: Changes, *, as_json: bool) -> None:
    from damosd.report.names import printable, valid  # noqa: PLC0415  # not for --help
    from damosd.report.targets import process_json  # noqa: PLC0415  # not for --help

    for gone in changes.gone:
        match = gone.match
        if as_json:
            event = {"event": "gone", "target": match.target, "pid": match.pid, "comm": valid(match.comm)}
            say(json.dumps(event | {"reason": gone.end.name.lower()}))
        else:
            say(f"- {printable(match.target)} {match.pid} ({printable(match.comm)}) {gone.end}")
    for one in _matched(discovery, changes.appeared):
        if as_json:
            say(json.dumps({"event": "appeared", "target": one.target, **process_json(one)}))
        else:
            words = ", descends from a target" if one.followed else ""
            say(f"+ {printable(one.target)} {one.pid} ({printable(one.comm)}) of {one.user}{words}")
    _tell_doubts(changes)


def _tell_doubts(changes: Changes) -> None:
    from damosd.report.names import printable  # noqa: PLC0415  # not for --help

    for doubt in changes.doubts:
        print(f"damosd: process {doubt.pid} ({printable(doubt.comm)}): {doubt.reason}", file=sys.stderr)
