# SPDX-License-Identifier: GPL-2.0-only
"""When a monitor calls back, and what becomes of it when a callback fails or stops it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.operations import FakeOperations, FakeSchemes, counted_page, run

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.core.snapshot import Snapshot

ATTRS = Attrs(sample_us=5000, aggr_us=15_000)
NAMES = ("before_start", "after_sampling", "after_aggregation", "before_terminate")


class CallbackError(Exception):
    """What goes wrong in a callback."""


def _monitor(callbacks: Callbacks, attrs: Attrs = ATTRS) -> tuple[Monitor, FakeOperations]:
    operations = FakeOperations([counted_page(2, 1, window=3)])
    schemes = FakeSchemes(2)
    return Monitor(attrs, operations, np.random.default_rng(1), schemes=schemes, callbacks=callbacks), operations


def _also(calls: list[str], then: dict[str, Callable[[], object]]) -> Callbacks:
    """Return callbacks that note their names in `calls` and do something after that."""

    def call(name: str, *_snapshot: Snapshot) -> None:
        calls.append(name)
        then.get(name, lambda: None)()

    return Callbacks(**{name: partial(call, name) for name in NAMES})


def _fail() -> None:
    raise CallbackError


def test_order() -> None:
    """Callbacks come in the order of what they are named after."""
    calls: list[str] = []
    monitor, operations = _monitor(_also(calls, {"before_start": lambda: calls.append(f"{len(operations.updates)}")}))
    monitor.start()
    run(monitor, operations, 4)
    monitor.stop()
    assert calls == [
        *("before_start", "0"),  # nothing was read yet
        *("after_sampling", "after_sampling", "after_sampling", "after_aggregation", "after_sampling"),
        "before_terminate",
    ]


def test_after_aggregation_is_given_the_snapshot() -> None:
    """After an aggregation the callback gets all of its counts, before they are reset."""
    published: list[Snapshot] = []
    monitor, operations = _monitor(Callbacks(after_aggregation=published.append))
    monitor.start()
    run(monitor, operations, 6)
    assert [(one.passed, one.nr_accesses.tolist()) for one in published] == [(3, [2]), (6, [1])]


def test_after_sampling_sees_the_sample() -> None:
    """After each sample a snapshot counts it."""
    seen: list[int] = []
    monitor, operations = _monitor(Callbacks(after_sampling=lambda: seen.extend(monitor.snapshot().nr_accesses)))
    monitor.start()
    run(monitor, operations, 6)
    # then the moving sum: 1 + 2 * 0.6666, 1 + 2 * 0.3333, 1, each product rounded down
    assert seen == [1, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_stops_the_monitor(name: str) -> None:
    """The error of a callback comes out, and the monitor is stopped and its targets let go, once."""
    calls: list[str] = []
    monitor, operations = _monitor(_also(calls, {name: _fail}))

    def whole_run() -> None:
        monitor.start()
        run(monitor, operations, 6)
        monitor.stop()

    with pytest.raises(CallbackError):
        whole_run()
    assert not monitor.running
    assert operations.cleanups == 1
    assert calls.count("before_terminate") == 1
    assert calls[-1] == "before_terminate"
    assert name in calls[-2:]
    monitor.stop()
    assert operations.cleanups == 1


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_callback_may_stop_the_monitor(name: str) -> None:
    """When a callback stops the monitor nothing is called nor done any more, by the callback's step or later."""
    calls: list[str] = []
    then: dict[str, Callable[[], object]] = {}
    monitor, operations = _monitor(_also(calls, then))
    then[name] = monitor.stop
    monitor.start()
    run(monitor, operations, 6)
    assert calls[-2:] == [name, "before_terminate"]
    assert operations.cleanups == 1


def test_a_callback_may_stop_at_a_stop() -> None:
    """When a callback stops the monitor in a step that would apply schemes and read mappings, it does neither."""
    operations = FakeOperations([counted_page()])
    schemes = FakeSchemes(3)
    callbacks = Callbacks(after_sampling=lambda: monitor.stop() if monitor.passed == 3 else None)
    attrs = replace(ATTRS, update_us=15_000)
    monitor = Monitor(attrs, operations, np.random.default_rng(1), schemes=schemes, callbacks=callbacks)
    monitor.start()
    run(monitor, operations, 6)
    assert not schemes.seen
    assert operations.updates == [0]


def test_a_callback_may_stop_when_a_target_changes() -> None:
    """When a callback stops the monitor in a step in which a target has changed, the target is not looked at."""
    operations = FakeOperations([counted_page()])
    callbacks = Callbacks(after_sampling=lambda: monitor.stop() if monitor.passed == 7 else None)
    monitor = Monitor(Attrs(), operations, np.random.default_rng(1), callbacks=callbacks)
    monitor.start()
    run(monitor, operations, 6)
    operations.exec(0, [])
    run(monitor, operations, 1)
    assert not monitor.running
    assert operations.updates == [0]


def test_attributes_may_change_in_a_callback() -> None:
    """New attributes that come after an aggregation hold for the next one, whose length is the new one."""
    operations = FakeOperations([counted_page(20, 20, 20, number=1)])
    published: list[Snapshot] = []

    def halve(snapshot: Snapshot) -> None:
        published.append(snapshot)
        if len(published) == 1:
            monitor.set_attrs(Attrs(aggr_us=50_000))

    monitor = Monitor(Attrs(), operations, np.random.default_rng(1), callbacks=Callbacks(after_aggregation=halve))
    monitor.start()
    run(monitor, operations, 40)
    assert [one.passed for one in published] == [20, 30, 40]
    assert [one.nr_accesses.tolist() for one in published] == [[20], [10], [10]]
    assert [one.age.tolist() for one in published] == [[0], [1], [2]]


@pytest.mark.parametrize("tick", range(1, 8))
def test_attributes_may_change_after_any_sample(tick: int) -> None:
    """Attributes changed in whatever step begin an aggregation of their length in that step."""
    operations = FakeOperations([counted_page(*9 * [3], window=3)])
    published: list[Snapshot] = []

    def change() -> None:
        if monitor.passed == tick:
            monitor.set_attrs(Attrs(sample_us=5000, aggr_us=20_000))

    callbacks = Callbacks(after_sampling=change, after_aggregation=published.append)
    monitor = Monitor(ATTRS, operations, np.random.default_rng(1), callbacks=callbacks)
    monitor.start()
    run(monitor, operations, 20)
    expected = [*range(3, tick + 1, 3), *range(tick + 4, 21, 4)]
    assert [one.passed for one in published] == expected
    assert [one.nr_accesses.tolist() for one in published] == [[3 if passed < tick else 4] for passed in expected] or (
        tick % 3 == 0
    )
