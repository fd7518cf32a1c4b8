# SPDX-License-Identifier: GPL-2.0-only
# What `damosd/__init__.py` loads when it is used, for type checkers.
from damosd.config.load import load_scheme_files as load_scheme_files
from damosd.core.attrs import Attrs as Attrs
from damosd.core.attrs import Resolution as Resolution
from damosd.core.intervals import IntervalsGoal as IntervalsGoal
from damosd.core.overhead import Overhead as Overhead
from damosd.core.snapshot import Snapshot as Snapshot
from damosd.daemon.metrics import SystemMetrics as SystemMetrics
from damosd.daemon.session import Hooks as Hooks
from damosd.daemon.session import Lasting as Lasting
from damosd.daemon.session import Session as Session
from damosd.damos.backoff import GuardStatus as GuardStatus
from damosd.damos.engine import Engine as Engine
from damosd.damos.engine import Plan as Plan
from damosd.damos.engine import Round as Round
from damosd.damos.explain import Explanation as Explanation
from damosd.damos.explain import Reason as Reason
from damosd.damos.guard import Guard as Guard
from damosd.damos.scheme import (
    AccessPattern as AccessPattern,
)
from damosd.damos.scheme import (
    AccessUnit as AccessUnit,
)
from damosd.damos.scheme import (
    Action as Action,
)
from damosd.damos.scheme import (
    AgeUnit as AgeUnit,
)
from damosd.damos.scheme import (
    Bounds as Bounds,
)
from damosd.damos.scheme import (
    Dest as Dest,
)
from damosd.damos.scheme import (
    Filter as Filter,
)
from damosd.damos.scheme import (
    FilterType as FilterType,
)
from damosd.damos.scheme import (
    Goal as Goal,
)
from damosd.damos.scheme import (
    GoalMetric as GoalMetric,
)
from damosd.damos.scheme import (
    Quota as Quota,
)
from damosd.damos.scheme import (
    Scheme as Scheme,
)
from damosd.damos.scheme import (
    Tuner as Tuner,
)
from damosd.damos.scheme import (
    WatermarkMetric as WatermarkMetric,
)
from damosd.damos.scheme import (
    Watermarks as Watermarks,
)
from damosd.damos.scheme import (
    Weights as Weights,
)
from damosd.errors import DamosdError as DamosdError

__version__: str
