# SPDX-License-Identifier: GPL-2.0-only
"""`damosd stop`: end the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.cli.calling import add_asking, change

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Ask the daemon to end, as SIGTERM does: what lasts of its schemes is put back. Where systemd has started it,
`systemctl stop damosd` does the same and waits for it.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    return change(args, "the daemon ends", "stop")
