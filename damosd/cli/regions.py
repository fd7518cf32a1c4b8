# SPDX-License-Identifier: GPL-2.0-only
"""`damosd regions`: which memory of the daemon's targets is used now, and for how long it has been so."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from damosd.cli.calling import SCHEMA, add_asking, daemon
from damosd.cli.output import say
from damosd.report.columns import in_columns
from damosd.report.names import printable
from damosd.units import format_size, format_time_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from damosd.control.controlled import RegionsOfProcess

_DESCRIPTION = """\
Show the regions of the daemon's targets at this moment: how many of the samples of an aggregation found each accessed,
and for how long that has been so. Lines of ? are memory of which nothing is known.
"""

_EXAMPLES = """\
examples:
  damosd regions
  damosd regions cache
  damosd regions --pid 4242 --json
"""

_BAR_WIDTH = 10


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("target", nargs="?", metavar="TARGET", help="the processes of this target (default: all)")
    parser.add_argument("--pid", type=int, help="this process only")
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    from damosd.control.decode import regions  # noqa: PLC0415  # not for --help

    with daemon(args) as client:
        found = regions(client.call("regions", target=args.target, pid=args.pid))
    if args.json:
        say(json.dumps({"schema": SCHEMA, "processes": [asdict(one) for one in found]}))
    elif found:
        say("\n\n".join("\n".join(_lines(one)) for one in found))
    else:
        say("no process is monitored")
    return 0


def _lines(one: RegionsOfProcess) -> Iterator[str]:
    yield (
        f"{printable(one.target)}: {printable(one.comm)}({one.pid}), {len(one.start)} regions,"
        f" {one.max_nr_accesses} samples in {format_time_us(one.aggr_us)}"
    )
    rows = [("from", "to", "size", "accesses", "for", "")]
    for start, end, nr_accesses, age, observed in zip(
        one.start, one.end, one.nr_accesses, one.age, one.observed, strict=True
    ):
        share = nr_accesses / one.max_nr_accesses if one.max_nr_accesses else 0.0
        known = (f"{100 * share:.0f} %", format_time_us(age * one.aggr_us), _bar(share))
        rows.append(
            (f"{start:x}", f"{end:x}", format_size(end - start), *(known if observed else ("?", "?", "?" * _BAR_WIDTH)))
        )
    yield from in_columns(rows, ">>>>><")


def _bar(share: float) -> str:
    """Return how hot a region is, for the eye: what is accessed at all has at least one mark."""
    marks = min(max(round(_BAR_WIDTH * share), 1 if share else 0), _BAR_WIDTH)
    return "#" * marks + "." * (_BAR_WIDTH - marks)
