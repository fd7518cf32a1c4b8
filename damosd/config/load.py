# SPDX-License-Identifier: GPL-2.0-only
"""Read files in a child process.

What reading takes, pydantic and the parsers with 10 MB of memory, ends with the child, and so would a parser that went
astray. The caller is left with plain dataclasses.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from damosd.config.locate import is_drop_in
from damosd.config.settings import drop_ins_of
from damosd.errors import DamosdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from damosd.config.entries import SchemeFile
    from damosd.config.problems import Problem
    from damosd.config.settings import Settings
    from damosd.damos.scheme import Scheme

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: `settings` of the main file, if there is one, and scheme files; and what is wrong with either."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    hint: str
    files: tuple[SchemeFile, ...]
    problems_of_files: tuple[Problem, ...]
    hint_of_files: str


def load_scheme_files(paths: Sequence[Path]) -> list[Scheme]:
    """Read the schemes of all files, in order, but for those that a file says are not enabled.

    Raise ConfigFileError with the mistakes of all files, and with what is well written but nothing that damosd does.
    Call it before threads are started.
    """
    return _in_child(partial(_only_schemes, paths), f"reading {', '.join(map(str, paths))}")


def load_files(paths: Sequence[Path], *, trusted: bool, main: Path | None = None) -> Loaded:
    """Read all scheme files, and the main file `main` with the drop-ins beside it, if there are any.

    With `trusted`, files that somebody else than root and ourselves could write are wrong.
    """
    return _in_child(partial(_all, paths, main, trusted=trusted), f"reading {len(paths)} files")


def _in_child(function: Callable[[], _T], doing: str) -> _T:
    """Return what `function` returns, or raise the DamosdError that it raises."""
    try:
        read_fd, write_fd = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(read_fd)
            os.close(write_fd)
            raise
    except OSError as error:
        raise DamosdError(f"{doing} takes a process of its own, which cannot be: {error.strerror}") from error
    if child == 0:
        _answer(function, write_fd)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise DamosdError(f"{doing} ended with status {status}")
    outcome = pickle.loads(answer)  # noqa: S301  # from our own child
    if isinstance(outcome, DamosdError):
        raise outcome
    result: _T = outcome
    return result


def _answer(function: Callable[[], object], write_fd: int) -> None:
    """In the child: write what came of `function`, and end without running what the parent is to run at its exit."""
    status = 1
    try:
        try:
            outcome = function()
        except DamosdError as error:
            outcome = error
        with os.fdopen(write_fd, "wb") as pipe:
            pickle.dump(outcome, pipe)
        status = 0
    finally:
        os._exit(status)


def _all(paths: Sequence[Path], main: Path | None, *, trusted: bool) -> Loaded:
    settings, problems, hint = _main(main) if main else (None, [], "")
    files, problems_of_files, hint_of_files = _each(paths, trusted=trusted)
    return Loaded(settings, tuple(problems), hint, tuple(files), tuple(problems_of_files), hint_of_files)


def _main(path: Path) -> tuple[Settings | None, list[Problem], str]:
    from damosd.config.mainfile import read_main_files  # noqa: PLC0415  # only the child needs them
    from damosd.config.problems import ConfigFileError  # noqa: PLC0415
    from damosd.config.source import read_trusted, trusted_names  # noqa: PLC0415

    folder = drop_ins_of(path)
    try:
        names = [name for name in sorted(trusted_names(folder) or []) if is_drop_in(name)]
        paths = [*([path] if path.exists() else []), *(folder / name for name in names)]
        if not paths:
            return None, [], ""
        return read_main_files([(one, read_trusted(one)) for one in paths]), [], ""
    except ConfigFileError as error:
        return None, list(error.problems), error.hint


def _each(paths: Iterable[Path], *, trusted: bool) -> tuple[list[SchemeFile], list[Problem], str]:
    from damosd.config.problems import ConfigFileError  # noqa: PLC0415  # only the child needs them
    from damosd.config.schemefile import read_scheme_file  # noqa: PLC0415
    from damosd.config.source import read, read_trusted  # noqa: PLC0415

    files: list[SchemeFile] = []
    problems: list[Problem] = []
    hint = ""
    for path in paths:
        try:
            files.append(read_scheme_file(path, read_trusted(path) if trusted else read(path)))
        except ConfigFileError as error:
            problems += error.problems
            hint = error.hint
    return files, problems, hint


def _only_schemes(paths: Sequence[Path]) -> list[Scheme]:
    from damosd.config.merge import merge  # noqa: PLC0415  # only the child needs them
    from damosd.config.problems import ConfigFileError, Problem  # noqa: PLC0415

    files, problems, hint = _each(paths, trusted=False)
    merged = merge(files)
    problems += merged.problems
    problems += [Problem(one.origin.path, one.origin.mark, one.reason) for one in merged.refusals]
    if problems:
        raise ConfigFileError(problems, hint=hint or "docs/schemes.md explains what scheme files can say")
    return [entry.scheme for entry in merged.enabled]
