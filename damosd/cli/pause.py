# SPDX-License-Identifier: GPL-2.0-only
"""`damosd pause`: let the daemon leave a target alone for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.cli.calling import add_asking, change

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Stop monitoring, and with it all schemes, for one target or all, until `damosd resume` or `damosd reload`. What schemes
have done stays.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.add_argument("target", nargs="?", metavar="TARGET", help="only this one (default: all)")
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    return change(args, f"{args.target or 'all'} paused", "pause", target=args.target)
