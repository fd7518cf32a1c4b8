# SPDX-License-Identifier: GPL-2.0-only
"""The whole configuration of a machine: the files that there are, read and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.config.costs import surprises
from damosd.config.load import load_files
from damosd.config.locate import DropIn, folders_below, locate
from damosd.config.merge import Merged, merge
from damosd.config.settings import main_below

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from damosd.config.problems import Problem
    from damosd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was found: `settings` of the main file `main`, where there is one, and the scheme files.

    With `problems`, nothing of it may be used: it is not what somebody wanted.
    """

    main: Path | None
    settings: Settings | None
    files: tuple[DropIn, ...]
    merged: Merged
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    hint: str = ""

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets of the main file."""
        return tuple(target.name for target in self.settings.selection.targets) if self.settings else ()


def find_configuration(root: Path) -> Configuration:
    """Find and read the main file and the scheme files of the system below `root`; see `locate` and `merge`.

    Only files that nobody but root and ourselves could write are read.
    """
    main = main_below(root)
    located = locate(folders_below(root))
    files = [one.path for one in located.files if not one.masked]
    loaded = load_files(files, trusted=True, main=main)
    # Which targets there are is not known when the file that names them is wrong.
    merged = merge(loaded.files, None if loaded.problems else _names(loaded.settings))
    return Configuration(
        main if loaded.settings else None,
        loaded.settings,
        located.files,
        merged,
        (*(surprises(main, loaded.settings) if loaded.settings else ()), *located.warnings, *merged.warnings),
        (*loaded.problems, *located.problems, *loaded.problems_of_files, *merged.problems),
        loaded.hint or located.hint or loaded.hint_of_files,
    )


def _names(settings: Settings | None) -> Collection[str]:
    return [target.name for target in settings.selection.targets] if settings else []


def read_configuration(paths: Sequence[Path]) -> Configuration:
    """Read just these scheme files, whoever may write them, as if they were all there are."""
    loaded = load_files(paths, trusted=False)
    merged = merge(loaded.files)
    found = tuple(map(DropIn, paths))
    problems = (*loaded.problems_of_files, *merged.problems)
    return Configuration(None, None, found, merged, merged.warnings, problems, loaded.hint_of_files)
