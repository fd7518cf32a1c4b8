# SPDX-License-Identifier: GPL-2.0-only
"""What the daemon answers, as the dataclasses it was made of. What a newer daemon tells besides is left out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from damosd.control.controlled import Explained, RegionsOfProcess, Reloaded
from damosd.damos.backoff import GuardStatus, Phase
from damosd.errors import ControlError
from damosd.report.daemon import ConfigurationStatus, DaemonStatus, NamedStatus
from damosd.report.status import SchemeOnTarget, SchemeStatus, Status, TargetCost, TargetStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")


def daemon_status(result: Any) -> DaemonStatus:
    """Return the result of `status`. Raise ControlError when it is none."""
    with _answer_of("status"):
        return _made(
            DaemonStatus,
            result,
            configuration=_made(ConfigurationStatus, result["configuration"]),
            targets=tuple(_made(NamedStatus, one, status=_status(one["status"])) for one in result["targets"]),
        )


def regions(result: Any) -> list[RegionsOfProcess]:
    """Return the result of `regions`. Raise ControlError when it is none."""
    with _answer_of("regions"):
        return [_made(RegionsOfProcess, one) for one in result]


def explained(result: Any) -> list[Explained]:
    """Return the result of `explain`. Raise ControlError when it is none."""
    with _answer_of("explain"):
        return [_made(Explained, one) for one in result]


def reloaded(result: Any) -> Reloaded:
    """Return the result of `reload`. Raise ControlError when it is none."""
    with _answer_of("reload"):
        return _made(Reloaded, result)


def _status(content: dict[str, Any]) -> Status:
    return _made(
        Status,
        content,
        targets=tuple(
            _made(TargetStatus, one, cost=_optional(TargetCost, one.get("cost"))) for one in content["targets"]
        ),
        schemes=tuple(_scheme(one) for one in content["schemes"]),
    )


def _scheme(content: dict[str, Any]) -> SchemeStatus:
    guard = content.get("guard")
    return _made(
        SchemeStatus,
        content,
        targets=tuple(_made(SchemeOnTarget, one) for one in content["targets"]),
        guard=guard and _made(GuardStatus, guard, phase=Phase(guard["phase"])),
    )


def _optional(kind: Callable[..., _T], content: dict[str, Any] | None) -> _T | None:
    return None if content is None else _made(kind, content)


def _made(kind: Any, content: dict[str, Any], **parts: Any) -> Any:
    """Make a dataclass of the fields that it knows; `parts` are those that were made before."""
    known = {name: content[name] for name in kind.__slots__ if name in content and name not in parts}
    texts = {name: tuple(value) for name, value in known.items() if kind.__annotations__[name] == "tuple[str, ...]"}
    return kind(**known | texts | parts)


@contextmanager
def _answer_of(command: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ControlError(
            f"the daemon's answer to {command} cannot be understood: {error!r}",
            hint="are the daemon and this program of the same version? `damosd --version`, `damosd status --json`",
        ) from error
