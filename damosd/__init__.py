# SPDX-License-Identifier: GPL-2.0-only
"""DAMON and DAMOS for any Linux process, from user space.

The names here are all that is needed to write a policy in Python; see docs/library.md. They are loaded when they are
used first, so that the command line starts fast.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "config.load": ("load_scheme_files",),
    "core.attrs": ("Attrs", "Resolution"),
    "core.intervals": ("IntervalsGoal",),
    "core.overhead": ("Overhead",),
    "core.snapshot": ("Snapshot",),
    "daemon.metrics": ("SystemMetrics",),
    "daemon.session": ("Hooks", "Lasting", "Session"),
    "damos.engine": ("Engine", "Plan", "Round"),
    "damos.backoff": ("GuardStatus",),
    "damos.explain": ("Explanation", "Reason"),
    "damos.guard": ("Guard",),
    "damos.scheme": (
        "AccessPattern",
        "AccessUnit",
        "Action",
        "AgeUnit",
        "Bounds",
        "Dest",
        "Filter",
        "FilterType",
        "Goal",
        "GoalMetric",
        "Quota",
        "Scheme",
        "Tuner",
        "WatermarkMetric",
        "Watermarks",
        "Weights",
    ),
    "errors": ("DamosdError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name when it is asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"damosd.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    """List what can be had, loaded or not."""
    return sorted({*globals(), *_HOME_OF})
