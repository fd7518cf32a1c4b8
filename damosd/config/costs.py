# SPDX-License-Identifier: GPL-2.0-only
"""What a configuration costs that its author may not expect: told before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.config.problems import Problem
from damosd.core.attrs import Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from damosd.config.settings import Settings

_MANY_SAMPLES = 1000
"""A second: at 0.2 to 0.3 ms each (docs/performance.md), a fifth of one CPU or more."""


def surprises(main: Path, settings: Settings) -> Iterator[Problem]:
    """Yield warnings about the main file. Each target samples its regions by itself, in a thread of its own."""
    rates = [1e6 / one.attrs.sample_us for one in settings.monitoring.values() if one.resolution is Resolution.REGION]
    rate = round(sum(rates))
    if len(rates) > 1 and rate > _MANY_SAMPLES:
        yield Problem(
            main,
            None,
            f"{len(rates)} targets sample regions {rate:,} times a second, each by itself, which takes"
            f" {rate // 50} % of one CPU or more: let processes that are treated alike be one target,"
            " or take longer intervals or `resolution: auto`",
        )
