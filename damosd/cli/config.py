# SPDX-License-Identifier: GPL-2.0-only
"""`damosd config show`: which configuration there is on this machine, and which file says it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from damosd.cli.configuration import SCHEMA, add_root, as_json, judge, load, refusal_json, refusal_lines
from damosd.cli.output import say
from damosd.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from damosd.cli.configuration import Verdict
    from damosd.config.entries import Entry
    from damosd.config.found import Configuration

_DESCRIPTION = """\
Show the configuration of this machine: the main file as it is written, in comments, and what the scheme files come to:
the schemes that count, in their order, as one YAML file. With --origin also which file each comes from, in whose place
it came, and which files are masked or replaced.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = "Look at the configuration that the daemon would run by."
    commands = parser.add_subparsers(dest="config_command", metavar="COMMAND", required=True)
    show = commands.add_parser("show", help="show the main file and the schemes that count", description=_DESCRIPTION)
    show.add_argument("--origin", action="store_true", help="tell which file says it")
    add_root(show)
    show.add_argument("--json", action="store_true", help="print one JSON object, always with origins")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises ConfigError where a mistake keeps everything from being used."""
    configuration = load(args.root)
    if configuration.problems:
        raise ConfigError("\n".join(map(str, configuration.problems)), hint=configuration.hint)
    verdict = judge(configuration)
    if args.json:
        say(json.dumps(_report(configuration, verdict), indent=2))
    else:
        say("\n".join(_lines(configuration, verdict, origin=args.origin)))
    return 0


def _report(configuration: Configuration, verdict: Verdict) -> dict[str, object]:
    from damosd.config.write import as_data  # noqa: PLC0415  # loads yaml

    merged = configuration.merged
    main = configuration.main
    return {
        "schema": SCHEMA,
        "main": {"file": str(main), "targets": list(configuration.target_names)} if main else None,
        "files": [
            {"file": str(one.path), "masked": one.masked, "replaces": list(map(str, one.replaces))}
            for one in configuration.files
        ],
        "schemes": [
            {
                "origin": str(entry.origin),
                "replaces": list(map(str, merged.replaced.get(entry.scheme.name, ()))),
                "scheme": as_data(entry),
            }
            for entry in merged.entries
        ],
        "targets": [{"name": one.name, "pids": list(one.pids), "origin": str(one.origin)} for one in merged.targets],
        "warnings": [as_json(warning) for warning in configuration.warnings],
        "refusals": [refusal_json(refusal) for refusal in verdict.refusals],
    }


def _lines(configuration: Configuration, verdict: Verdict, *, origin: bool) -> list[str]:
    from damosd.config.write import to_yaml  # noqa: PLC0415  # loads yaml

    merged = configuration.merged
    lines = []
    if configuration.main:
        written = configuration.main.read_text(errors="replace").splitlines()
        lines += [f"# {configuration.main}:", *(f"#   {line}".rstrip() for line in written)]
    lines += [f"# {line}" for line in _file_lines(configuration)] if origin else []
    lines += [f"# target {one.name}: pids {', '.join(map(str, one.pids))}, {one.origin}" for one in merged.targets]
    lines += [f"# warning: {warning}" for warning in configuration.warnings]
    lines += [f"# {line}" for line in refusal_lines(verdict.refusals)]
    if not merged.entries:
        return [*lines, "# there is no scheme"]
    head, *_ = to_yaml(()).partition("schemes")
    lines += [*head.splitlines(), "schemes:"]
    for entry in merged.entries:
        if origin:
            lines += [f"# {line}" for line in _origin_lines(configuration, entry)]
        lines += to_yaml([entry]).partition("schemes:\n")[2].splitlines()
    return lines


def _file_lines(configuration: Configuration) -> list[str]:
    lines = []
    for one in configuration.files:
        lines.append(f"{one.path}{' is masked: nothing is read from files of this name' if one.masked else ''}")
        lines += [f"  in the place of {path}" for path in one.replaces]
    return lines


def _origin_lines(configuration: Configuration, entry: Entry) -> list[str]:
    replaced = configuration.merged.replaced.get(entry.scheme.name, ())
    return [str(entry.origin), *(f"  in the place of {one}" for one in replaced)]
