# SPDX-License-Identifier: GPL-2.0-only
"""Which schemes a machine can run."""

from __future__ import annotations

import pytest

from damosd.daemon import availability
from damosd.damos.scheme import Action, Dest, Scheme
from damosd.errors import UnavailableError
from damosd.linux import madvise, numa, process_vm, thp


def refusal(action: Action, *dests: int) -> str:
    """Return why a scheme cannot be run here."""
    with pytest.raises(UnavailableError) as caught:
        availability.check(Scheme("one", action, dests=tuple(map(Dest, dests))))
    assert caught.value.hint
    return str(caught.value)


def test_counting_is_always_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stat` asks nothing of a machine."""
    monkeypatch.setattr(madvise, "knows", lambda _: False)
    availability.check(Scheme("one", Action.STAT))


@pytest.mark.parametrize("action", [Action.PAGEOUT, Action.COLD, Action.WILLNEED, Action.LRU_DEPRIO])
def test_advice_that_the_kernel_does_not_know(monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    """An action whose system call is missing is refused, by the name of what is missing."""
    availability.check(Scheme("one", action))
    monkeypatch.setattr(madvise, "knows", lambda _: False)
    assert refusal(action).startswith(f"action {action} needs MADV_")


@pytest.mark.parametrize("action", [Action.HUGEPAGE, Action.NOHUGEPAGE, Action.COLLAPSE])
def test_a_kernel_without_huge_pages(monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    """Neither advice on huge pages nor making them is possible without them."""
    monkeypatch.setattr(thp, "mode", lambda: "")
    assert "transparent huge pages" in refusal(action)


def test_a_kernel_that_cannot_touch_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """lru_prio goes by process_vm_readv, which a kernel may lack."""
    monkeypatch.setattr(process_vm, "exists", lambda: False)
    assert "process_vm_readv" in refusal(Action.LRU_PRIO)
    availability.check(Scheme("one", Action.LRU_DEPRIO))


def test_a_machine_without_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory cannot be moved to a node that is not there."""
    monkeypatch.setattr(numa, "nodes_with_memory", lambda *_: (0, 1))
    availability.check(Scheme("one", Action.MIGRATE_HOT, dests=(Dest(1),)))
    assert "no NUMA node 2" in refusal(Action.MIGRATE_COLD, 2)
