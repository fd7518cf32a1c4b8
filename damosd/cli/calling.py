# SPDX-License-Identifier: GPL-2.0-only
"""What the subcommands that ask the daemon have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damosd.cli.output import say
from damosd.errors import UsageError
from damosd.units import UnitError, parse_time_us

if TYPE_CHECKING:
    import argparse

    from damosd.control.client import Client

SCHEMA = 1
"""The version of what `--json` prints."""


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Declare where the daemon's control socket is."""
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's control socket (default: $DAMOSD_SOCKET, or /run/damosd/control.sock)",
    )


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Declare where the daemon is asked, and that JSON may be printed."""
    add_socket(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def daemon(args: argparse.Namespace) -> Client:
    """Return whom to ask. Only asking raises DamosdError."""
    from damosd.control.client import Client  # noqa: PLC0415  # not for --help

    return Client(args.socket)


def change(args: argparse.Namespace, done: str, command: str, **arguments: Any) -> int:
    """Give a command that changes something, tell that it is `done`, and return the exit code."""
    with daemon(args) as client:
        client.call(command, **arguments)
    say(json.dumps({"schema": SCHEMA, "done": command, **arguments}) if args.json else done)
    return 0


def time_us(text: str | None, option: str) -> int | None:
    """Return the time that an option gives in microseconds, a bare number's too. Raise UsageError for what is none."""
    if text is None:
        return None
    try:
        return parse_time_us(text)
    except UnitError as error:
        raise UsageError(f"{option}: {error}") from error
