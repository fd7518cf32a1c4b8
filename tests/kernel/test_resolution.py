# SPDX-License-Identifier: GPL-2.0-only
"""`--resolution`: every page looked at in a whole run, and the change between pages and regions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from damosd.core.attrs import Attrs, Resolution
from damosd.core.monitor import Callbacks
from damosd.core.overhead import Overhead
from damosd.core.pages.monitor import PageMonitor
from damosd.daemon import watching
from damosd.daemon.watching import Watching
from kernel.kdamond import spared
from kernel.test_run import events, run
from kernel.victims import MIB, Victim

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.core.snapshot import Snapshot

STAT = """
action: stat
access_pattern:
  nr_accesses: {max: 0}
  age: {min: 1 s}
"""


class NoSchemes:
    """Runs none."""

    def next_due(self) -> int:
        """Return never."""
        return 1 << 60

    def apply(self, snapshot: Snapshot) -> Any:
        """Do not get here."""
        raise AssertionError(snapshot)

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew."""
        self.rescheduled = passed, attrs


@pytest.fixture
def touched(victim: Victim) -> Any:
    """Return 64 MiB of a victim of which the first 16 MiB are touched in every sampling interval of regions."""
    area = victim.map(64 * MIB)
    area.fill()
    stop = threading.Event()

    def touch() -> None:
        while not stop.is_set():
            area.part(0, 16 * MIB).read()
            time.sleep(0.005)

    toucher = threading.Thread(target=touch)
    toucher.start()
    yield area
    stop.set()
    toucher.join()


def bytes_in(snapshot: Snapshot, area: Any, *, accessed: bool, age: int = 0) -> int:
    """Return how much of an area was accessed or not, for at least so many intervals."""
    start, end = snapshot.start.clip(area.start, area.end), snapshot.end.clip(area.start, area.end)
    which = ((snapshot.nr_accesses > 0) == accessed) & (snapshot.age >= age)
    return int((end - start)[which].sum())


def step(watching_: Watching, seconds: float) -> None:
    """Let it watch for some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(watching_.monitor.interval_us / 1e6)
        watching_.monitor.step()


@spared
def test_auto_goes_to_regions_and_back_and_knows_what_it_knew(touched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When looking at every page does not fit any more, and when it fits again; ages and accesses stay."""
    monkeypatch.setattr(watching, "_EVERY_S", 0)
    told: list[Resolution] = []
    watch = Watching(
        [touched.victim.pid],
        Attrs(sample_us=200_000, aggr_us=200_000),
        Resolution.AUTO,
        overhead=Overhead(1, 1, 1),
        on_change=lambda resolution, _why: told.append(resolution),
    )
    schemes = NoSchemes()
    watch.begin(schemes, Callbacks())
    watch.monitor.start()
    try:
        assert isinstance(watch.monitor, PageMonitor)
        step(watch, 2)
        assert not watch.reconsider()
        assert bytes_in(watch.monitor.snapshot(), touched, accessed=False, age=5) == 48 * MIB
        spent_ns = watch.costs()[0].total.read_ns
        watch._overhead = Overhead(1e-9, 1, 1e-9)
        assert watch.reconsider()
        assert not isinstance(watch.monitor, PageMonitor)
        assert schemes.rescheduled[1].sample_us == 10_000
        step(watch, 0.6)
        assert bytes_in(watch.monitor.snapshot(), touched, accessed=False, age=7) > 40 * MIB
        assert bytes_in(watch.monitor.snapshot(), touched, accessed=True) > 12 * MIB
        assert not watch.reconsider()
        watch._overhead = Overhead(1, 1, 1)
        assert watch.reconsider()
        step(watch, 0.5)
        assert bytes_in(watch.monitor.snapshot(), touched, accessed=False, age=8) > 40 * MIB
        assert bytes_in(watch.monitor.snapshot(), touched, accessed=True) == 16 * MIB
        assert told == [Resolution.REGION, Resolution.PAGE]
        assert watch.costs()[0].total.read_ns > spent_ns > 0
    finally:
        watch.monitor.stop()
        watch.close()


def test_a_run_that_looks_at_every_page(touched: Any, tmp_path: Path) -> None:
    """It ends with exact figures, what they have cost, and what a scheme found, to the page."""
    scheme = tmp_path / "stat.yaml"
    scheme.write_text(STAT)
    outcome = run(
        *("--pid", touched.victim.pid, "--resolution", "page", "--aggr", "250ms", "--overhead", "50%,50%"),
        *("--scheme", scheme, "--duration", "3s", "--json"),
    )
    assert outcome.returncode == 0, outcome.stderr
    last = events(outcome)[-1]["last"]
    (target,) = last["targets"]
    assert 16 * MIB <= target["working_set_bytes"] < 40 * MIB
    cost = target["cost"]
    assert min(cost[part] for part in ("read_ms", "compute_ms", "age_ms", "target_ms")) > 0
    assert (cost["every"], cost["limited"]) == (1, "")
    (stat,) = last["schemes"]
    assert stat["last_tried_bytes"] >= 48 * MIB


def test_what_the_overhead_limits_is_logged(touched: Any) -> None:
    """And it is in the status, with the reason."""
    options = ("--resolution", "page", "--aggr", "100ms", "--overhead", "0.1%,50%", "--duration", "3s", "--json")
    outcome = run("--pid", touched.victim.pid, *options)
    cost = events(outcome)[-1]["last"]["targets"][0]["cost"]
    assert events(outcome)[-1]["last"]["resolution"] == "page"
    assert cost["every"] > 1
    assert "ms of CPU time" in cost["limited"]
    assert f"event=overhead pid={touched.victim.pid}" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--overhead", "nothing"], "--overhead"),
        (["--overhead", "0%"], "above 0 %"),
        (["--overhead", "1%,2%,3%,4%"], "CPU,SLOWDOWN,ALL"),
        (["--sample", "10ms", "--aggr", "1s"], "too many"),
        (["--intervals-goal"], "not tuned"),
        (["--resolution", "region", "--overhead", "1%"], "every page"),
    ],
)
def test_what_makes_no_sense_for_pages(victim: Victim, options: list[str], wrong: str) -> None:
    """Said before anything is done, with what to give instead; nor an overhead for regions, which keep to none."""
    outcome = run("--pid", victim.pid, "--resolution", "page", *options)
    assert outcome.returncode == 2
    assert wrong in outcome.stderr
    assert "hint" in outcome.stderr
