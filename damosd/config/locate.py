# SPDX-License-Identifier: GPL-2.0-only
"""Which scheme files there are on a machine, found as systemd finds its own (`standard-conf`).

A file in an earlier folder replaces those of the same name in later ones. A link to /dev/null, or an empty file, masks
them: there is no file of that name then. What remains is in the order of the names, whatever the folder.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.config.problems import ConfigFileError, Problem
from damosd.config.source import trusted_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDERS = tuple(Path(base, "damosd/schemes.d") for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
"""Where scheme files are looked for; a file in an earlier one replaces its namesakes in later ones."""

_ENDINGS = (".yaml", ".yml", ".json", ".damos")
_LEFT_BY_EDITORS_AND_PACKAGES = re.compile(r"\..*|README.*|.*~|.*\.(dpkg|rpm)[-a-z]*")


@dataclass(frozen=True, slots=True)
class DropIn:
    """A scheme file that was found; `replaces` are its namesakes, which are not read. `masked`: nor is it itself."""

    path: Path
    replaces: tuple[Path, ...] = ()
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Located:
    """All that was found, in the order in which it counts; `problems` are folders that cannot be trusted."""

    files: tuple[DropIn, ...]
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    hint: str = ""


def folders_below(root: Path) -> tuple[Path, ...]:
    """Return `FOLDERS` of a system whose root folder is `root`."""
    return tuple(root / folder.relative_to("/") for folder in FOLDERS)


def locate(folders: Iterable[Path] = FOLDERS) -> Located:
    """Find the scheme files of `folders`, the one that counts most first. A folder that is not there has none."""
    found: dict[str, list[Path]] = {}
    warnings: list[Problem] = []
    problems: list[Problem] = []
    hint = ""
    for folder in folders:
        try:
            names = sorted(trusted_names(folder) or [])
        except ConfigFileError as error:
            problems += error.problems
            hint = error.hint
            continue
        for name in names:
            if _LEFT_BY_EDITORS_AND_PACKAGES.fullmatch(name):
                continue
            if name.endswith(_ENDINGS):
                found.setdefault(name, []).append(folder / name)
            else:
                warnings.append(Problem(folder / name, None, f"is not read: its name ends in none of {_endings()}"))
    files = tuple(DropIn(first, tuple(others), _masks(first)) for _, (first, *others) in sorted(found.items()))
    return Located(files, (*warnings, *_odd_names(files)), tuple(problems), hint)


def is_drop_in(name: str) -> bool:
    """Tell whether a file beside the main file is read, by its name."""
    return name.endswith(".yaml") and not _LEFT_BY_EDITORS_AND_PACKAGES.fullmatch(name)


def _endings() -> str:
    return ", ".join(ending for ending in _ENDINGS if ending != ".yml")


def _odd_names(files: Iterable[DropIn]) -> Iterator[Problem]:
    for one in files:
        if one.path.suffix == ".yml" and not one.masked:
            yield Problem(
                one.path, None, "is read, but the usual ending is .yaml, and only equal names replace each other"
            )


def _masks(path: Path) -> bool:
    """Tell whether a file stands for nothing."""
    try:
        status = path.stat()
    except OSError:
        return False  # reading it tells why
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == Path(os.devnull).stat().st_rdev
    return stat.S_ISREG(status.st_mode) and not status.st_size
