# SPDX-License-Identifier: GPL-2.0-only
"""Whether this machine can do what a scheme asks for: the one place that answers for every action.

Only what the machine lacks counts, such as a second NUMA node or a system call of a newer kernel. Privileges may differ
from one who asks to one who runs, and what may come later, such as swap or a cgroup, makes a scheme wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.damos.scheme import Action
from damosd.errors import UnavailableError
from damosd.linux import madvise, numa, process_vm, thp
from damosd.linux.madvise import Advice

if TYPE_CHECKING:
    from damosd.damos.scheme import Scheme

_ADVICE = {
    Action.PAGEOUT: Advice.PAGEOUT,
    Action.COLD: Advice.COLD,
    Action.WILLNEED: Advice.WILLNEED,
    Action.COLLAPSE: Advice.COLLAPSE,
    Action.LRU_DEPRIO: Advice.COLD,
}
_OF_HUGE_PAGES = frozenset({Action.HUGEPAGE, Action.NOHUGEPAGE, Action.COLLAPSE})
_MIGRATIONS = frozenset({Action.MIGRATE_HOT, Action.MIGRATE_COLD})


def check(scheme: Scheme) -> None:
    """Raise UnavailableError when this machine can never do what the scheme is for."""
    action = scheme.action
    if action in _MIGRATIONS:
        numa.check_nodes({dest.nid for dest in scheme.dests})
    if action in _OF_HUGE_PAGES and not thp.mode():
        raise UnavailableError(
            f"action {action!s} needs transparent huge pages, which this kernel does not have",
            hint="it takes a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
        )
    if action in _ADVICE and not madvise.knows(_ADVICE[action]):
        raise UnavailableError(
            f"action {action!s} needs MADV_{_ADVICE[action].name} on other processes, which this kernel does not have",
            hint="it takes Linux 5.10, for collapse Linux 6.1",
        )
    if action is Action.LRU_PRIO and not process_vm.exists():
        raise UnavailableError(
            f"action {action!s} needs process_vm_readv, which this kernel does not have",
            hint="it takes a kernel with CONFIG_CROSS_MEMORY_ATTACH",
        )
