# SPDX-License-Identifier: GPL-2.0-only
"""Read files in a child process.

What reading takes, pydantic and the parsers with 10 MB of memory, ends with the child, and so would a parser that went
astray. The caller is left with plain dataclasses.
"""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

from damosd.errors import DamosdError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from damosd.damos.scheme import Scheme


def load_scheme_files(paths: Sequence[Path]) -> list[Scheme]:
    """Read the schemes of all files, in order.

    Raise ConfigFileError with the mistakes of all files. Call it before threads are started.
    """
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(paths, write_fd)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise DamosdError(f"reading {', '.join(map(str, paths))} ended with status {status}")
    outcome = pickle.loads(answer)  # noqa: S301  # from our own child
    if isinstance(outcome, DamosdError):
        raise outcome
    schemes: list[Scheme] = outcome
    return schemes


def _answer(paths: Sequence[Path], write_fd: int) -> None:
    """In the child: write what reading came to, and end without running what the parent is to run at its exit."""
    status = 1
    try:
        with os.fdopen(write_fd, "wb") as pipe:
            pickle.dump(_read(paths), pipe)
        status = 0
    finally:
        os._exit(status)


def _read(paths: Sequence[Path]) -> list[Scheme] | DamosdError:
    from damosd.config.problems import ConfigFileError, Problem  # noqa: PLC0415  # only the child needs them
    from damosd.config.schemefile import load_scheme_file  # noqa: PLC0415

    schemes: list[Scheme] = []
    problems: list[Problem] = []
    hint = ""
    origins: dict[str, Path] = {}
    for path in paths:
        try:
            loaded = load_scheme_file(path)
        except ConfigFileError as error:
            problems += error.problems
            hint = error.hint
            continue
        problems += [
            Problem(path, None, f"the scheme name {scheme.name!r} is taken by {origins[scheme.name]}")
            for scheme in loaded
            if scheme.name in origins
        ]
        origins.update((scheme.name, path) for scheme in loaded)
        schemes += loaded
    return ConfigFileError(problems, hint=hint) if problems else schemes
