# SPDX-License-Identifier: GPL-2.0-only
"""`damosd schemes convert`: write scheme files in another format, and nothing less than was in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.cli.configuration import load
from damosd.cli.output import say
from damosd.errors import ConfigError, DamosdError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from damosd.config.found import Configuration

_FORMATS = ("yaml", "json", "damos")

_DESCRIPTION = """\
Read scheme files of any format and write their schemes in one. The old one-line text (damos) has no words for much of
what schemes can say: what it cannot hold is told, and nothing is written then, unless --lossy says so. Comments of
files are not kept by any format.
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a scheme file: YAML, JSON or .damos")
    parser.add_argument(
        "--to", choices=_FORMATS, help="the format to write (default: as the name behind -o ends, else yaml)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a new file instead of to stdout")
    parser.add_argument("--lossy", action="store_true", help="leave out what the format cannot hold")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    to = args.to or _format_of(args.output)
    configuration = load(Path("/"), args.files)
    if configuration.problems:
        raise ConfigError("\n".join(map(str, configuration.problems)), hint=configuration.hint)
    from damosd.config.write import to_json, to_yaml  # noqa: PLC0415  # loads yaml
    from damosd.config.writedamos import to_damos  # noqa: PLC0415

    losses = list(_losses(configuration, to))
    if losses and not args.lossy:
        raise DamosdError("\n".join(losses), hint="nothing was written; --lossy writes it without that")
    for loss in losses:
        print(f"damosd: {loss}", file=sys.stderr)
    text = {"yaml": to_yaml, "json": to_json, "damos": to_damos}[to](configuration.merged.entries)
    if args.output:
        _write_new(args.output, text)
    else:
        say(text.rstrip("\n"))
    return 0


def _format_of(path: Path | None) -> str:
    ending = path.suffix.lstrip(".") if path else "yaml"
    ending = {"yml": "yaml"}.get(ending, ending)
    if ending not in _FORMATS:
        raise UsageError(f"--output: {path} ends in none of .{', .'.join(_FORMATS)}", hint="tell the format with --to")
    return ending


def _losses(configuration: Configuration, to: str) -> Iterator[str]:
    """Yield what will not be in the output."""
    from damosd.config.writedamos import lost  # noqa: PLC0415  # loads yaml

    merged = configuration.merged
    for refusal in merged.refusals:
        yield str(refusal)
    for target in merged.targets:
        pids = ", ".join(map(str, target.pids))
        yield f"{target.origin}: target {target.name!r} is left out, with its intervals and regions: pids {pids}"
    for warning in merged.warnings:
        yield str(warning)
    if to == "damos":
        for entry in merged.entries:
            if keys := lost(entry):
                yield f"{entry.origin}: scheme {entry.scheme.name!r}: one-line text cannot hold {'; '.join(keys)}"


def _write_new(path: Path, text: str) -> None:
    """Write a file that was not there before. Raises DamosdError."""
    try:
        with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint="remove it, or choose another name") from error
    except OSError as error:
        raise DamosdError(f"{path} cannot be written: {error.strerror}") from error
