# SPDX-License-Identifier: GPL-2.0-only
"""All targets of a configuration, and the processes that never are one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

from damosd.targets.questions import Named, file_name
from damosd.targets.selector import Any, Reasoning

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from damosd.targets.facts import Facts
    from damosd.targets.selector import Selector

NEVER_NAMES = ("damosd", "systemd", "systemd-*", "sshd", "sshd-*", "dbus-*")
"""Programs without which nobody can log in any more, or the system cannot be managed: never targets."""
BUILT_IN_NEVER = Any(tuple(map(Named, NEVER_NAMES)))
_BUILT_IN = re.compile("|".join(map(translate, NEVER_NAMES)))  # the same in a tenth of the time, for every look


@dataclass(frozen=True, slots=True)
class Target:
    """What a configuration calls a target: all processes that `selector` matches and none of `exclude` does.

    `follow_children`: and their children, and so on, unless `exclude` matches them.
    """

    name: str
    selector: Selector
    exclude: tuple[Selector, ...] = ()
    follow_children: bool = False

    def takes(self, facts: Facts, *, followed: bool = False) -> bool:
        """Tell whether a process is one of them; `followed`: it descends from one. Raises TargetGoneError."""
        if not followed and self.selector.matches(facts) is not True:
            return False
        return all(one.matches(facts) is False for one in self.exclude)

    def may_take(self, facts: Facts, *, followed: bool = False) -> bool:
        """Tell whether it would take a process if what is not known of it were so. Raises TargetGoneError."""
        if not followed and self.selector.matches(facts) is False:
            return False
        return not any(one.matches(facts) is True for one in self.exclude)


@dataclass(frozen=True, slots=True)
class Selection:
    """The `targets` in their order, of which the first that takes a process has it, and who is `never` one.

    The built-in list holds whatever `never` says.
    """

    targets: tuple[Target, ...]
    never: tuple[Selector, ...] = ()

    def choose(self, facts: Facts, own: AbstractSet[int], followed: AbstractSet[str] = frozenset()) -> Target | None:
        """Return the target that a process belongs to, if any.

        `own` are pids of damosd itself, `followed` the names of targets whose processes it descends from. Raises
        TargetGoneError.
        """
        if forbidden(facts, own):
            return None
        for target in self.targets:
            if target.takes(facts, followed=target.name in followed):
                return None if self.spares(facts) else target
        return None

    def possible(
        self, facts: Facts, own: AbstractSet[int], followed: AbstractSet[str] = frozenset()
    ) -> tuple[Target, ...]:
        """Return the targets that may have a process, for all that is known of it: `choose` returns one, or none.

        Raises TargetGoneError.
        """
        found: list[Target] = []
        if forbidden(facts, own) or self.reason_never(facts).outcome is True:
            return ()
        for target in self.targets:
            by_descent = target.name in followed
            if target.may_take(facts, followed=by_descent):
                found.append(target)
            if target.takes(facts, followed=by_descent):
                break
        return tuple(found)

    def spares(self, facts: Facts) -> bool:
        """Tell whether a process must be left alone, as far as can be seen. Raises TargetGoneError."""
        if _BUILT_IN.match(facts.comm) or _BUILT_IN.match(file_name(facts.exe or "")):
            return True
        return any(one.matches(facts) is not False for one in self.never)

    def reason_never(self, facts: Facts) -> Reasoning:
        """Judge a process by the built-in list and by `never`, and tell why. Raises TargetGoneError."""
        return Any((BUILT_IN_NEVER, *self.never)).reason(facts)


def forbidden(facts: Facts, own: AbstractSet[int]) -> str:
    """Tell why a process can be nobody's target, empty when it can."""
    if facts.pid == 1:
        return "it is the first process, on which all others depend"
    if facts.pid in own or facts.ppid in own:
        return "it is damosd itself, or was started by it"
    if facts.kernel_thread:
        return "it is a part of the kernel, without memory of its own"
    return ""
