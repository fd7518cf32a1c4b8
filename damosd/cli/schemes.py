# SPDX-License-Identifier: GPL-2.0-only
"""`damosd schemes`: list and show the schemes of this machine, convert files, and change what the daemon runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from damosd.cli import convert, live_schemes
from damosd.cli.configuration import SCHEMA, add_root, judge, load
from damosd.cli.output import say
from damosd.errors import ConfigError, UsageError
from damosd.units import nearest

if TYPE_CHECKING:
    import argparse

    from damosd.config.entries import Entry
    from damosd.config.found import Configuration


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = "List the schemes of this machine, show one, convert scheme files, or change those that run."
    commands = parser.add_subparsers(dest="schemes_command", metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="list all schemes that there are, and whether they are run")
    add_root(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    show = commands.add_parser("show", help="show one scheme as YAML, with all that it says")
    show.add_argument("name", metavar="NAME", help="as `damosd schemes list` shows it")
    add_root(show)
    show.add_argument("--json", action="store_true", help="print one JSON object")
    convert.set_argparser(commands.add_parser("convert", help="write scheme files in another format"))
    live_schemes.set_argparsers(commands)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    if args.schemes_command == "convert":
        return convert.main(args)
    if "run" in args:
        return int(args.run(args))
    configuration = load(args.root)
    if configuration.problems:
        raise ConfigError("\n".join(map(str, configuration.problems)), hint=configuration.hint)
    if args.schemes_command == "show":
        say(_shown(configuration, args.name, as_json=args.json))
    elif args.json:
        say(json.dumps({"schema": SCHEMA, "schemes": _rows(configuration)}, indent=2))
    else:
        say("\n".join(_table(_rows(configuration))))
    return 0


def _shown(configuration: Configuration, name: str, *, as_json: bool) -> str:
    from damosd.config.write import as_data, to_yaml  # noqa: PLC0415  # loads yaml

    entries: dict[str, Entry] = {entry.scheme.name: entry for entry in configuration.merged.entries}
    if name not in entries:
        guess = nearest(name, entries)
        hint = f"did you mean {guess!r}?" if guess else "`damosd schemes list` shows those that there are"
        raise UsageError(f"there is no scheme {name!r}", hint=hint)
    if as_json:
        origin = str(entries[name].origin)
        return json.dumps({"schema": SCHEMA, "origin": origin, "scheme": as_data(entries[name])}, indent=2)
    return f"# {entries[name].origin}\n{to_yaml([entries[name]]).rstrip()}"


def _rows(configuration: Configuration) -> list[dict[str, object]]:
    verdict = judge(configuration)
    reasons = {refusal.scheme: refusal.reason for refusal in verdict.refusals}
    rows: list[dict[str, object]] = []
    for entry in configuration.merged.entries:
        reason = reasons.get(entry.scheme.name, "")
        rows.append(
            {
                "name": entry.scheme.name,
                "action": str(entry.scheme.action),
                "state": "refused" if reason else "enabled" if entry.enabled else "disabled",
                "targets": list(entry.targets),
                "reason": reason,
                "origin": str(entry.origin),
            }
        )
    left_out: dict[str, object] = {"action": "", "state": "refused", "targets": []}
    return rows + [
        {"name": one.scheme, **left_out, "reason": one.reason, "origin": str(one.origin)}
        for one in configuration.merged.refusals
        if one.scheme
    ]


def _table(rows: list[dict[str, object]]) -> list[str]:
    """Return the rows in columns: name, action, state, where it is defined; and why it is refused."""
    if not rows:
        return ["there is no scheme: `damosd check --help` tells where files are looked for"]
    keys = ("name", "action", "state")
    widths = [max(len(str(row[key])) for row in rows) for key in keys]
    lines = []
    for row in rows:
        words = [f"{row[key]!s:<{width}}" for key, width in zip(keys, widths, strict=True)]
        lines.append("  ".join([*words, str(row["origin"]), *([f"({row['reason']})"] if row["reason"] else [])]))
    return lines
