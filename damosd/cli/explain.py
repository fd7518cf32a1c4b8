# SPDX-License-Identifier: GPL-2.0-only
"""`damosd explain`: why the daemon's schemes acted on memory, or did not."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from damosd.cli.calling import SCHEMA, add_asking, daemon, time_us
from damosd.cli.output import say
from damosd.report.names import printable

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Tell why schemes acted on the memory of targets when they were applied last, or did not: how much memory each reason
concerns.
"""

_AGAIN_S = 0.3
_NOTHING = "no scheme was applied meanwhile: `damosd status` tells whether any runs, and on which processes"

_EXAMPLES = """\
examples:
  damosd explain cache
  damosd explain --pid 4242 --scheme prcl
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("target", nargs="?", metavar="TARGET", help="the processes of this target (default: all)")
    parser.add_argument("--pid", type=int, help="this process only")
    parser.add_argument("--scheme", metavar="NAME", help="this scheme only")
    parser.add_argument(
        "--wait", default="10 s", metavar="TIME", help="wait until schemes were applied once more (default 10 s)"
    )
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    from damosd.control.decode import explained  # noqa: PLC0415  # not for --help

    end = time.monotonic() + (time_us(args.wait, "--wait") or 0) / 1e6
    with daemon(args) as client:
        while True:
            told = explained(client.call("explain", target=args.target, pid=args.pid, scheme=args.scheme))
            if told or time.monotonic() >= end:
                break
            time.sleep(_AGAIN_S)
    if args.json:
        say(json.dumps({"schema": SCHEMA, "explained": [asdict(one) for one in told]}))
        return 0
    lines = []
    for one in told:
        where = f"process {one.pid}" if one.pid else "all processes"
        lines.append(f"{printable(one.scheme)} on {printable(one.target)}, {where}")
        lines += [f"  {printable(line.strip())}" for line in one.lines]
    say("\n".join(lines or [_NOTHING]))
    return 0
