# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a file, place by place, and the error that carries it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from damosd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Mark(NamedTuple):
    """A place in a text; both count characters from 1, as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file. `mark` is None when it concerns the file as a whole."""

    path: Path
    mark: Mark | None
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.mark.line}:{self.mark.column}" if self.mark else str(self.path)
        return f"{place}: {self.message}"


class ConfigFileError(ConfigError):
    """A file cannot be used; the message has one line for each of its `problems`, in the file's order."""

    def __init__(self, problems: Iterable[Problem], *, hint: str = "") -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.path, problem.mark or Mark(0, 0))))
        super().__init__("\n".join(map(str, self.problems)), hint=hint)

    def __reduce__(self) -> tuple[object, ...]:
        """Let it be pickled: it is made of problems, not of its message."""
        return partial(type(self), hint=self.hint), (self.problems,)
