# SPDX-License-Identifier: GPL-2.0-only
"""How much there is to do, and where to cut, on targets whose memory is made up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from damosd.actions.base import Outcome
from damosd.daemon import effects as effects_module
from damosd.daemon.effects import Effects
from damosd.damos.scheme import Action, Dest, Filter, FilterType, Scheme
from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux import cgroup, numa

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damosd.access.pagetable import PageTables
    from damosd.actions.thp import Advisor
    from damosd.ops.vaddr import Vaddr

PAGE = 4096
OUT = Scheme("out", Action.PAGEOUT)
NO = np.zeros(1, bool)


def effects_on(monkeypatch: pytest.MonkeyPatch, to_do: Callable[[int, int], int]) -> Effects:
    """Return effects where `to_do` tells the bytes to do between two addresses."""

    def do(
        _self: Effects, _scheme: Scheme, _target: int, ranges: np.ndarray, _settled: Any, *, dry_run: bool
    ) -> Outcome:
        assert dry_run
        amounts = np.array([to_do(start, end) for start, end in ranges.tolist()], np.int64)
        return Outcome(amounts, amounts)

    monkeypatch.setattr(Effects, "_do", do)
    nothing: Any = None
    effects = Effects(nothing, nothing, dry_run=False)
    effects._actions[Action.PAGEOUT, (), ""] = nothing
    return effects


@pytest.mark.parametrize("wanted", range(1, 40, 3))
def test_a_cut_leaves_as_much_as_was_wanted(monkeypatch: pytest.MonkeyPatch, wanted: int) -> None:
    """Every third page is to do: the part before the cut has exactly the wanted pages, and one page more would not."""
    effects = effects_on(monkeypatch, lambda start, end: sum(PAGE for page in range(start, end, PAGE) if not page % 3))
    span = (6 * PAGE, 150 * PAGE)
    cut = effects.cut(OUT, 0, span, wanted * PAGE, settled=False)
    amounts = [int(effects.measure(OUT, NO * 1, np.array([[span[0], end]]), NO)[0]) for end in (cut, cut + PAGE)]
    assert amounts == [wanted * PAGE, (wanted + 1) * PAGE]


@pytest.mark.parametrize("error", [PrivilegeError("no"), UnavailableError("no")])
def test_what_cannot_be_found_out_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Planning goes on; it is the doing that fails and is told."""

    def refuse(_start: int, _end: int) -> int:
        raise error

    effects = effects_on(monkeypatch, refuse)
    assert effects.measure(OUT, np.zeros(2, int), np.array([[0, PAGE], [PAGE, 3 * PAGE]]), np.zeros(2, bool)).sum() == 0


def test_counting_needs_no_memory() -> None:
    """For stat all of a region is to do."""
    nothing: Any = None
    effects, count = Effects(nothing, nothing, dry_run=False), Scheme("count", Action.STAT)
    assert effects.measure(count, np.zeros(1, int), np.array([[0, 5 * PAGE]]), NO).tolist() == [5 * PAGE]
    assert effects.cut(count, 0, (PAGE, 9 * PAGE), 2 * PAGE, settled=False) == 3 * PAGE


def test_a_cgroup_is_waited_for_without_reading_the_mounts_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A scheme is refused, round after round, until its cgroup is there."""
    found = iter([cgroup.Hierarchies(tmp_path, None)])
    monkeypatch.setattr(cgroup, "hierarchies", lambda: next(found))
    nothing: Any = None
    effects = Effects(nothing, nothing, dry_run=False)
    monkeypatch.setattr(effects, "_tables", object())
    scheme = Scheme("out", Action.PAGEOUT, filters=(Filter(FilterType.MEMCG, memcg_path="/a"),))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"there is no cgroup {tmp_path}/a"):
            effects.check(scheme)
    (tmp_path / "a").mkdir()
    effects.check(scheme)


def test_a_cgroup_needs_a_hierarchy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none has the memory controller the scheme is refused, with how to mount one."""
    monkeypatch.setattr(cgroup, "hierarchies", lambda: cgroup.Hierarchies(None, None))
    nothing: Any = None
    scheme = Scheme("out", Action.PAGEOUT, filters=(Filter(FilterType.MEMCG, memcg_path="/a"),))
    with pytest.raises(UnavailableError, match="no hierarchy of cgroups"):
        Effects(nothing, nothing, dry_run=False).check(scheme)


def test_schemes_share_an_action_only_with_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one scheme migrates to is nothing to another, also when one comes later; the nodes are looked for first."""
    made: list[Any] = []
    checked: list[set[int]] = []
    monkeypatch.setattr(effects_module, "make", lambda action, _tables, dests, _leaves: made.append((action, dests)))
    monkeypatch.setattr(numa, "check_nodes", checked.append)
    effects = Effects(cast("Vaddr", None), cast("Advisor", None), dry_run=False)
    effects._tables = cast("PageTables", object())
    away = Scheme("away", Action.MIGRATE_COLD, dests=(Dest(1),))
    spread = Scheme("spread", Action.MIGRATE_COLD, dests=(Dest(1, 3), Dest(2)))
    effects.get_ready([away, replace(away, name="also"), OUT])
    effects.get_ready([away, spread])
    assert sorted(made) == [("migrate_cold", [(1, 1)]), ("migrate_cold", [(1, 3), (2, 1)]), ("pageout", [])]
    assert checked == [{1}, {1, 2}]


def test_nothing_begins_without_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes that cannot work here are refused as a whole."""

    def refuse(_nodes: set[int]) -> None:
        raise UnavailableError("only one")

    monkeypatch.setattr(numa, "check_nodes", refuse)
    effects = Effects(cast("Vaddr", None), cast("Advisor", None), dry_run=False)
    with pytest.raises(UnavailableError):
        effects.get_ready([OUT, Scheme("away", Action.MIGRATE_COLD, dests=(Dest(1),))])
    assert not effects._actions
