# SPDX-License-Identifier: GPL-2.0-only
"""`damosd reload`: let the daemon read its configuration again, and tell what came of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from damosd.cli.calling import SCHEMA, add_asking, daemon
from damosd.cli.output import say
from damosd.errors import ConfigError
from damosd.report.names import printable

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Read the configuration again. It is taken over as a whole, or with a mistake in it not at all: then every mistake is
told, all goes on as before, and the exit code is 78. What `enable`, `disable`, `quota` and `tune` have changed, and
`pause`, is as the files say from then on.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    add_asking(parser)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    from damosd.control.decode import reloaded  # noqa: PLC0415  # not for --help

    with daemon(args) as client:
        outcome = reloaded(client.call("reload"))
    if args.json:
        say(json.dumps({"schema": SCHEMA, **asdict(outcome)}))
    for what, texts in (("mistake", outcome.problems), ("warning", outcome.warnings), ("refused", outcome.refusals)):
        for text in texts:
            print(f"damosd: {what}: {printable(text)}", file=sys.stderr)
    if not outcome.ok:
        print("damosd: the configuration was not taken over, all goes on as before", file=sys.stderr)
        return ConfigError.exit_code
    if not args.json:
        say("the configuration was read again and is in force")
    return 0
