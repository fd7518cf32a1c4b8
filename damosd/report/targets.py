# SPDX-License-Identifier: GPL-2.0-only
"""Which processes are targets, and why: as lines and as plain data. Names that processes chose are made harmless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from damosd.report.names import cut, printable, valid
from damosd.report.text import mib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.targets.selector import Reasoning

SCHEMA = 1
"""The version of what `--json` prints."""

_CMDLINE_WIDTH = 60
_Row = tuple[str, str, str, str, str, str]
_MARKS = {True: "yes", False: "no ", None: " ? "}


@dataclass(frozen=True, slots=True)
class Matched:
    """A process that is a target; `user` is a name or a number, `followed` that it is one as somebody's descendant."""

    target: str
    pid: int
    user: str
    rss_bytes: int
    comm: str
    cmdline: str
    followed: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What one target's selectors say about a process."""

    name: str
    selector: Reasoning
    exclude: tuple[Reasoning, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a process is the target `target`, or none when that is empty; `forbidden` tells why it never can be one."""

    pid: int
    comm: str
    target: str
    followed: bool
    forbidden: str
    never: Reasoning
    targets: tuple[Judged, ...]


def matched_json(names: Sequence[str], matched: Sequence[Matched]) -> dict[str, Any]:
    """Return the object for all targets, those without processes as well."""
    return {
        "schema": SCHEMA,
        "targets": [
            {"name": name, "processes": [process_json(one) for one in matched if one.target == name]} for name in names
        ],
    }


def process_json(one: Matched) -> dict[str, Any]:
    """Return the object for one process."""
    return {
        "pid": one.pid,
        "user": one.user,
        "rss_bytes": one.rss_bytes,
        "comm": valid(one.comm),
        "cmdline": valid(one.cmdline),
        "followed": one.followed,
    }


def matched_lines(names: Sequence[str], matched: Sequence[Matched]) -> list[str]:
    """Return a table of all processes, and a line for each target without any."""
    rows: list[_Row] = [("target", "pid", "user", "RSS", "name", "command line")]
    for name in names:
        rows += [_row(one) for one in matched if one.target == name] or [(printable(name), "-", "", "", "", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [_aligned(row, widths).rstrip() for row in rows]


def _row(one: Matched) -> _Row:
    pid, cmdline = f"{one.pid}{'+' if one.followed else ''}", cut(one.cmdline, _CMDLINE_WIDTH)
    return printable(one.target), pid, one.user, mib(one.rss_bytes), printable(one.comm), cmdline


def _aligned(row: _Row, widths: list[int]) -> str:
    target, pid, user, rss, name, cmdline = row
    return "  ".join(
        (
            target.ljust(widths[0]),
            pid.rjust(widths[1]),
            user.ljust(widths[2]),
            rss.rjust(widths[3]),
            name.ljust(widths[4]),
            cmdline,
        )
    )


def why_json(why: Why) -> dict[str, Any]:
    """Return the object for one process."""
    return {
        "schema": SCHEMA,
        "pid": why.pid,
        "comm": valid(why.comm),
        "target": why.target or None,
        "followed": why.followed,
        "forbidden": why.forbidden or None,
        "never": _reasoning_json(why.never),
        "targets": [
            {
                "name": one.name,
                "selector": _reasoning_json(one.selector),
                "exclude": [_reasoning_json(part) for part in one.exclude],
            }
            for one in why.targets
        ],
    }


def _reasoning_json(one: Reasoning) -> dict[str, Any]:
    entry: dict[str, Any] = {"asked": one.text, "outcome": one.outcome}
    if one.parts:
        entry["parts"] = [_reasoning_json(part) for part in one.parts]
    else:
        entry["seen"] = valid(one.seen)
    return entry


def why_lines(why: Why) -> list[str]:
    """Return the verdict, and what every part of every selector says. `?` is what cannot be told."""
    lines = [f"process {why.pid} ({printable(why.comm)}) is {_verdict(why)}"]
    if why.forbidden:
        return lines
    if why.never.outcome is not False:
        lines += ["", "never", *_reasoning_lines(why.never, 1)]
    for one in why.targets:
        lines += ["", f"target {printable(one.name)}", *_reasoning_lines(one.selector, 1)]
        for part in one.exclude:
            lines += ["  exclude", *_reasoning_lines(part, 2)]
    return lines


def _verdict(why: Why) -> str:
    if why.target:
        return f"a target: {printable(why.target)}" + (", as it descends from one" if why.followed else "")
    if why.forbidden:
        return f"no target: {why.forbidden}"
    return "no target: it must be left alone" if why.never.outcome is not False else "no target"


def _reasoning_lines(one: Reasoning, depth: int) -> Iterator[str]:
    seen = f"  ({cut(one.seen, _CMDLINE_WIDTH)})" if not one.parts and one.seen else ""
    yield f"{'  ' * depth}{_MARKS[one.outcome]}  {printable(one.text)}{seen}"
    for part in one.parts:
        yield from _reasoning_lines(part, depth + 1)
