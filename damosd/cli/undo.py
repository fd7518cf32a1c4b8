# SPDX-License-Identifier: GPL-2.0-only
"""`damosd undo`: put back what was changed for good by a damosd that was killed or told to keep it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from damosd.units import format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from damosd.daemon.undo import Undone

_DESCRIPTION = """\
Put back what schemes have changed for good in processes that still run (advice on huge pages), when the damosd that did
it was killed. `damosd run` does the same when it starts. What a damosd that still runs has changed is left to it.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    add_state(parser)


def add_state(parser: argparse._ActionsContainer) -> None:
    """Declare where what was changed is kept."""
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where it is kept what they were (default: $STATE_DIRECTORY, or /var/lib/damosd)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    import structlog  # noqa: PLC0415  # these take most of the start-up time

    from damosd.cli.logs import configure  # noqa: PLC0415  # it loads structlog
    from damosd.daemon.journal import Journal, default_folder  # noqa: PLC0415  # not for --help
    from damosd.daemon.undo import undo_leftovers  # noqa: PLC0415  # it loads numpy

    configure(verbose=False)
    failed = log_undone(structlog.get_logger(), undo_leftovers(Journal(args.state or default_folder())))
    return 1 if failed else 0


def log_undone(log: Any, undone: Iterable[Undone]) -> bool:
    """Tell what was put back, process by process; return whether anything failed."""
    failed = False
    for one in undone:
        if one.failure:
            failed = True
            log.warning("what was changed could not be put back", pid=one.pid, reason=one.failure)
        else:
            log.info("put back what was changed", pid=one.pid, size=format_size(one.size_bytes))
    return failed
