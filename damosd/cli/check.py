# SPDX-License-Identifier: GPL-2.0-only
"""`damosd check`: tell everything that is wrong with the configuration, before anything runs by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.cli.configuration import (
    SCHEMA,
    add_root,
    as_json,
    conflict_json,
    judge,
    load,
    refusal_json,
    refusal_lines,
)
from damosd.cli.output import say
from damosd.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from damosd.cli.configuration import Verdict
    from damosd.config.found import Configuration

_DESCRIPTION = """\
Read scheme files and tell everything that is wrong with them, each mistake as FILE:LINE:COLUMN. Without a FILE, the
whole configuration of this machine: /etc/damosd/damosd.yaml, /etc/damosd/schemes.d and so on, which nobody but root may
be able to write.

Told as well, but no mistakes: schemes that this machine, or damosd at all, cannot run; and pairs of schemes that undo
each other, such as hugepage and nohugepage on the same memory. The exit code is 0 without mistakes, 78 with some.
"""

_EXAMPLES = """\
examples:
  damosd check
  damosd check schemes/*.yaml
  damosd check --json my.yaml
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a scheme file: YAML, JSON or .damos")
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Return 0, or 78 where there are mistakes."""
    configuration = load(args.root, args.files)
    verdict = judge(configuration)
    if args.json:
        say(json.dumps(_report(configuration, verdict), indent=2))
    else:
        say("\n".join(_lines(configuration, verdict)))
    return ConfigError.exit_code if configuration.problems else 0


def _report(configuration: Configuration, verdict: Verdict) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "ok": not configuration.problems,
        "main": str(configuration.main) if configuration.main else None,
        "targets": list(configuration.target_names),
        "files": [str(one.path) for one in configuration.files if not one.masked],
        "schemes": [entry.scheme.name for entry in configuration.merged.enabled],
        "mistakes": [as_json(problem) for problem in configuration.problems],
        "warnings": [as_json(warning) for warning in configuration.warnings],
        "refusals": [refusal_json(refusal) for refusal in verdict.refusals],
        "conflicts": [conflict_json(conflict) for conflict in verdict.conflicts],
        "hint": configuration.hint,
    }


def _lines(configuration: Configuration, verdict: Verdict) -> list[str]:
    lines = [str(problem) for problem in configuration.problems]
    if configuration.problems and configuration.hint:
        lines.append(f"hint: {configuration.hint}")
    lines += [f"warning: {warning}" for warning in configuration.warnings]
    lines += [f"warning: {conflict}" for conflict in verdict.conflicts]
    lines += refusal_lines(verdict.refusals)
    nr_files = sum(not one.masked for one in configuration.files) + (configuration.main is not None)
    nr_schemes = len(configuration.merged.enabled)
    counts = f"{_count(nr_files, 'file')}, {_count(nr_schemes, 'scheme')}"
    return [*lines, f"{counts}: {_count(len(configuration.problems), 'mistake') if configuration.problems else 'ok'}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
