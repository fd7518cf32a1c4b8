# SPDX-License-Identifier: GPL-2.0-only
"""The commands: which arguments each takes, who may give it, and what of a daemon it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from damosd import __version__
from damosd.control.access import Right
from damosd.control.arguments import Argument, Arguments, Name, OneOf, Whole
from damosd.control.protocol import Kind, RequestError
from damosd.units import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from damosd.control.controlled import Controlled

_MAX_PID = 2**22  # PID_MAX_LIMIT
_MAX_REGIONS = 10_000_000
SHORTEST_STREAM_MS = 100
_LONGEST_STREAM_MS = 24 * 3_600_000

_TARGET = Argument("target", Name())
_PID = Argument("pid", Whole(1, _MAX_PID))
_SCHEME = Argument("scheme", Name())
_THE_SCHEME = Argument("scheme", Name(), required=True)
_LIMITS = ("time_ms", "sz_bytes", "reset_interval_ms")
_INTERVALS = ("sample_us", "aggr_us", "update_us")
_NUMBERS = ("min_nr_regions", "max_nr_regions")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `call` carries it out, but for those that are about a stream. `changes`: it is not only a question.

    It needs `right`, and takes `arguments`.
    """

    name: str
    right: Right
    changes: bool
    arguments: Arguments
    call: Callable[[Controlled, Mapping[str, Any]], object] | None = None


def _question(name: str, right: Right, call: Callable[[Controlled, Any], object], *arguments: Argument) -> Command:
    return Command(name, right, changes=False, arguments=Arguments(arguments), call=call)


def _change(
    name: str, call: Callable[[Controlled, Any], object], *arguments: Argument, some_of: tuple[str, ...] = ()
) -> Command:
    return Command(name, Right.ALL, changes=True, arguments=Arguments(arguments, some_of), call=call)


_ALL = (
    _question("ping", Right.READ, lambda _daemon, _given: {"damosd": __version__, "pid": os.getpid()}),
    _question("status", Right.READ, lambda daemon, _given: daemon.status()),
    _question("regions", Right.ALL, lambda daemon, given: daemon.regions(**given), _TARGET, _PID),
    _question("explain", Right.ALL, lambda daemon, given: daemon.explain(**given), _TARGET, _PID, _SCHEME),
    _change("enable", lambda daemon, given: daemon.enable(given["scheme"], enabled=True), _THE_SCHEME),
    _change("disable", lambda daemon, given: daemon.enable(given["scheme"], enabled=False), _THE_SCHEME),
    _change(
        "set_quota",
        lambda daemon, given: daemon.set_quota(**given),
        _THE_SCHEME,
        *(Argument(name, Whole()) for name in _LIMITS),
        some_of=_LIMITS,
    ),
    _change(
        "feed",
        lambda daemon, given: daemon.feed(**given),
        _THE_SCHEME,
        Argument("value", Whole(), required=True),
        Argument("goal", Whole(most=1000)),
    ),
    _change(
        "tune",
        lambda daemon, given: daemon.tune(**given),
        Argument("target", Name(), required=True),
        *(Argument(name, Whole(least=1)) for name in _INTERVALS),
        *(Argument(name, Whole(1, _MAX_REGIONS)) for name in _NUMBERS),
        some_of=_INTERVALS + _NUMBERS,
    ),
    _change("pause", lambda daemon, given: daemon.pause(**given), _TARGET),
    _change("resume", lambda daemon, given: daemon.resume(**given), _TARGET),
    _change("reload", lambda daemon, _given: daemon.reload()),
    _change("stop", lambda daemon, _given: daemon.stop()),
    Command(
        "subscribe",
        Right.READ,  # for regions, more
        changes=False,
        arguments=Arguments(
            (
                Argument("what", OneOf(("status", "regions")), required=True),
                _TARGET,
                Argument("interval_ms", Whole(SHORTEST_STREAM_MS, _LONGEST_STREAM_MS), required=True),
            )
        ),
    ),
    Command("unsubscribe", Right.READ, changes=False, arguments=Arguments()),
)

COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}


def command_called(name: str) -> Command:
    """Return the command of this name. Raise RequestError where there is none."""
    command = COMMANDS.get(name)
    if command is None:
        guess = nearest(name[:64], COMMANDS)
        hint = f"did you mean {guess!r}?" if guess else f"there are {', '.join(COMMANDS)}"
        raise RequestError(Kind.USAGE, f"there is no command {shown(name)}", hint=hint)
    return command
