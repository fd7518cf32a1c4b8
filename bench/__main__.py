# SPDX-License-Identifier: GPL-2.0-only
"""`make bench`: all measurements, or those whose names are given, as one table."""

from __future__ import annotations

import sys

from bench import accuracy, cost, engine, ethp, guard, injection, reclaim
from bench.discovery import discovery
from bench.neighbours import neighbours
from bench.pages import aging, budget, compare, growth, kernel, pressure
from bench.pages import cost as page_cost
from bench.report import machine, table
from bench.service import service

_MEASUREMENTS = {
    "accuracy": accuracy.hot_cold,
    "zigzag": accuracy.zigzag,
    "cpu": cost.cpu,
    "calls": cost.system_calls,
    "throughput": cost.throughput,
    "footprint": cost.footprint,
    "prcl": reclaim.prcl,
    "guard": guard.guard,
    "planning": engine.planning,
    "discovery": discovery,
    "daemon": service,
    "neighbours": neighbours,
    "ethp": ethp.ethp,
    "injection": injection.injection,
    "pages": compare.pages,
    "pagecost": page_cost.pagecost,
    "pagegrowth": growth.pagegrowth,
    "pagebudget": budget.pagebudget,
    "aging": aging.aging,
    "pressure": pressure.pressure,
    "kdamond": kernel.kdamond,
}


def main() -> int:
    """Measure and print."""
    names = sys.argv[1:] or list(_MEASUREMENTS)
    unknown = set(names) - set(_MEASUREMENTS)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_MEASUREMENTS)}", file=sys.stderr)
        return 2
    rows = []
    print(machine(), flush=True)
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += _MEASUREMENTS[name]()
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
