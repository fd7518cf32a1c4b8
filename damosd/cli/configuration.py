# SPDX-License-Identifier: GPL-2.0-only
"""What `check`, `config` and `schemes` have in common: finding the files, and what this machine makes of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from damosd.config.entries import Refusal
    from damosd.config.found import Configuration
    from damosd.config.problems import Problem
    from damosd.damos.conflicts import Conflict

SCHEMA = 1
"""The version of what `--json` prints."""


def add_root(parser: argparse.ArgumentParser) -> None:
    """Declare where the system is whose files are meant."""
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="look for files below DIR, such as a mounted image"
    )


def load(root: Path, files: Sequence[Path] = ()) -> Configuration:
    """Read `files`, or without any all that there are on the system below `root`."""
    from damosd.config.found import find_configuration, read_configuration  # noqa: PLC0415  # not for --help

    return read_configuration(files) if files else find_configuration(root)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What this machine makes of a configuration: which schemes it cannot run, and which undo each other."""

    refusals: tuple[Refusal, ...]
    conflicts: tuple[Conflict, ...]


def judge(configuration: Configuration) -> Verdict:
    """Find out what this machine makes of the enabled schemes. Refused ones are in no conflict."""
    from damosd.config.entries import Refusal  # noqa: PLC0415  # not for --help
    from damosd.core.attrs import Attrs  # noqa: PLC0415  # not for --help
    from damosd.daemon.availability import check  # noqa: PLC0415  # loads numpy
    from damosd.damos.conflicts import Aimed, conflicts  # noqa: PLC0415  # not for --help
    from damosd.errors import UnavailableError  # noqa: PLC0415  # not for --help

    refusals, aimed = list(configuration.merged.refusals), []
    for entry in configuration.merged.enabled:
        try:
            check(entry.scheme)
        except UnavailableError as error:
            refusals.append(Refusal(entry.scheme.name, str(error), error.hint, entry.origin))
        else:
            aimed.append(Aimed(entry.scheme, entry.targets))
    return Verdict(tuple(refusals), tuple(conflicts(aimed, Attrs())))


def as_json(problem: Problem) -> dict[str, Any]:
    """Return a problem, or a warning, for `--json`."""
    line, column = problem.mark or (None, None)
    return {"file": str(problem.path), "line": line, "column": column, "message": problem.message}


def refusal_json(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal for `--json`."""
    place = {"file": str(refusal.origin.path), "line": refusal.origin.mark.line, "column": refusal.origin.mark.column}
    return place | {"scheme": refusal.scheme, "message": refusal.reason, "hint": refusal.hint}


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict for `--json`."""
    return asdict(conflict) | {"message": str(conflict)}


def refusal_lines(refusals: Sequence[Refusal]) -> Iterator[str]:
    """Yield what people are told of schemes that are left out."""
    for refusal in refusals:
        yield f"refused: {refusal}"
        if refusal.hint:
            yield f"  hint: {refusal.hint}"
