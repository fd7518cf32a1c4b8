# SPDX-License-Identifier: GPL-2.0-only
"""`damosd tune`: change how the daemon monitors a target, while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.cli.calling import add_asking, change, time_us
from damosd.errors import UsageError

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Change how a target is monitored. What is known of its memory stays, ages in the time that they stand for. It lasts
until the configuration is read again.
"""

_EXAMPLES = """\
examples:
  damosd tune cache --sample 20ms --aggr 400ms
  damosd tune batch --max-regions 200
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("target", metavar="TARGET", help="its name in the configuration")
    parser.add_argument("--sample", metavar="TIME", help="check accesses every")
    parser.add_argument("--aggr", metavar="TIME", help="publish and reset counts every")
    parser.add_argument("--update", metavar="TIME", help="read mappings again every")
    parser.add_argument("--min-regions", type=int, metavar="N", help="regions at least")
    parser.add_argument("--max-regions", type=int, metavar="N", help="regions at most")
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    asked = {
        "sample_us": time_us(args.sample, "--sample"),
        "aggr_us": time_us(args.aggr, "--aggr"),
        "update_us": time_us(args.update, "--update"),
        "min_nr_regions": args.min_regions,
        "max_nr_regions": args.max_regions,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        raise UsageError("nothing is to be changed", hint="see `damosd tune --help`, for example --sample 10ms")
    return change(args, f"{args.target} is monitored as asked", "tune", target=args.target, **asked)
