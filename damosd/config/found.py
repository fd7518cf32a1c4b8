# SPDX-License-Identifier: GPL-2.0-only
"""The whole configuration of a machine: the files that there are, read and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.config.load import load_files
from damosd.config.locate import FOLDERS, DropIn, locate
from damosd.config.merge import Merged, merge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from damosd.config.problems import Problem


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was found. With `problems`, nothing of it may be used: it is not what somebody wanted."""

    files: tuple[DropIn, ...]
    merged: Merged
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    hint: str = ""


def find_configuration(folders: Iterable[Path] = FOLDERS, target_names: Collection[str] | None = None) -> Configuration:
    """Find and read the scheme files in `folders`, the one that counts most first; see `locate` and `merge`.

    Only files that nobody but root and ourselves could write are read.
    """
    located = locate(folders)
    paths = [one.path for one in located.files if not one.masked]
    return _together(
        located.files, paths, target_names, trusted=True, also=(located.warnings, located.problems, located.hint)
    )


def read_configuration(paths: Sequence[Path]) -> Configuration:
    """Read just these files, whoever may write them, as if they were all there are."""
    return _together(tuple(map(DropIn, paths)), paths, None, trusted=False, also=((), (), ""))


def _together(
    files: tuple[DropIn, ...],
    paths: Sequence[Path],
    target_names: Collection[str] | None,
    *,
    trusted: bool,
    also: tuple[tuple[Problem, ...], tuple[Problem, ...], str],
) -> Configuration:
    read, problems, hint = load_files(paths, trusted=trusted)
    merged = merge(read, target_names)
    warnings, before, hint_before = also
    return Configuration(
        files,
        merged,
        (*warnings, *merged.warnings),
        (*before, *problems, *merged.problems),
        hint or hint_before,
    )
