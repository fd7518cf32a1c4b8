# SPDX-License-Identifier: GPL-2.0-only
"""`damosd resume`: let the daemon go on after `damosd pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.cli.calling import add_asking, change

if TYPE_CHECKING:
    import argparse


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = "Go on with monitoring one target, or all, after `damosd pause`."
    parser.add_argument("target", nargs="?", metavar="TARGET", help="only this one (default: all)")
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    return change(args, f"{args.target or 'all'} resumed", "resume", target=args.target)
