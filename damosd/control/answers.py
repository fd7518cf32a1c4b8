# SPDX-License-Identifier: GPL-2.0-only
"""What is answered: whether a request may be carried out, what comes of it, and what a stream tells.

Everything that keeps a request from being carried out is a RequestError.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from damosd.control.access import GROUP, Right
from damosd.control.commands import COMMANDS, Command, command_called
from damosd.control.encoding import Encoding
from damosd.control.protocol import Kind, RequestError
from damosd.errors import ConfigError, DamosdError, PrivilegeError, UsageError
from damosd.units import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from damosd.control.controlled import Controlled
    from damosd.control.protocol import Request
    from damosd.linux.peer import Peer
    from damosd.report.daemon import DaemonStatus

FRESH_S = 0.1
"""A status this old is told again: many who ask, or ask often, cost as much as one."""


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told: `on_change` of every change that was made, with who asked; `on_failure` of errors in the daemon."""

    on_change: Callable[[Peer, str, Mapping[str, Any]], None] = _nothing
    on_failure: Callable[[str, Exception], None] = _nothing


def checked(request: Request, right: Right) -> tuple[Command, dict[str, Any]]:
    """Return the command, and a value for each of its arguments, for somebody who may do `right`."""
    command = command_called(request.command)
    given = command.arguments.check(command.name, request.arguments)
    check_right(command, given, right)
    return command, given


def check_right(command: Command, given: Mapping[str, Any], right: Right) -> None:
    """Refuse what needs more than `right`."""
    # To subscribe to something needs what asking for it needs.
    needed = max(command.right, COMMANDS[given["what"]].right) if "what" in given else command.right
    if right >= needed:
        return
    what = f"subscribe to {given['what']}" if "what" in given else command.name
    others = ", others where the daemon is configured so" if needed is Right.READ else ""
    raise RequestError(Kind.PRIVILEGE, f"you may not {what}", hint=f"root and members of group {GROUP} may{others}")


class Answers:
    """Carries commands out, on `controlled`."""

    def __init__(self, controlled: Controlled, hooks: Hooks, clock: Callable[[], float]) -> None:
        self._controlled = controlled
        self._hooks = hooks
        self._clock = clock
        self._status: DaemonStatus | None = None
        self._status_encoding = Encoding(None)
        self._status_at = 0.0

    def result(self, command: Command, given: Mapping[str, Any], peer: Peer) -> Encoding:
        """Carry out one that was `checked`, and return its result."""
        if command.name == "status":
            return self.snapshot("status", None)
        assert command.call is not None, command.name
        with self._translated(command.name):
            if command.changes:
                self._status = None
            encoding = Encoding(command.call(self._controlled, given))
            if command.changes:
                self._hooks.on_change(peer, command.name, given)
                encoding.finish()  # the daemon may end now
            return encoding

    def advance(self, command: str, encoding: Encoding) -> None:
        """Go on with the result of a command."""
        with self._translated(command):
            encoding.advance()

    def snapshot(self, what: str, target: str | None) -> Encoding:
        """Return the status or the regions of this moment, of all targets or of one."""
        with self._translated(what):
            if what == "regions":
                return Encoding(self._controlled.regions(target, None))
            status = self._fresh_status()
            return self._status_encoding if target is None else Encoding(_only(status, target))

    def _fresh_status(self) -> DaemonStatus:
        now = self._clock()
        if self._status is None or now - self._status_at >= FRESH_S:
            self._status = self._controlled.status()
            self._status_encoding = Encoding(self._status)
            self._status_at = now
        return self._status

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except DamosdError as error:
            raise RequestError(_kind(error), str(error), hint=error.hint) from error
        except Exception as error:  # monitoring goes on whatever a question runs into
            self._hooks.on_failure(what, error)
            raise RequestError(
                Kind.INTERNAL, f"the daemon failed at {what}: {type(error).__name__}", hint="its log tells more"
            ) from error


def _kind(error: DamosdError) -> Kind:
    if isinstance(error, UsageError):
        return Kind.USAGE
    if isinstance(error, ConfigError):
        return Kind.CONFIG
    return Kind.PRIVILEGE if isinstance(error, PrivilegeError) else Kind.INTERNAL


def _only(status: DaemonStatus, target: str) -> DaemonStatus:
    targets = tuple(one for one in status.targets if one.name == target)
    if not targets:
        guess = nearest(target, (one.name for one in status.targets))
        hint = f"did you mean {guess!r}?" if guess else "`damosd status` shows those that there are"
        raise UsageError(f"there is no target {shown(target)}", hint=hint)
    return replace(status, targets=targets)
