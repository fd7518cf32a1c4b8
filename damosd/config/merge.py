# SPDX-License-Identifier: GPL-2.0-only
"""What the files of a machine come to together: which schemes count, and which two say the same name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from damosd.config.entries import Entry, Origin, PidTarget, Refusal, SchemeFile


@dataclass(frozen=True, slots=True)
class Merged:
    """The schemes of all files, in order, whether enabled or not. Of one name there is one.

    `replaced`: by the name of a scheme, where the definitions are in whose place it came.
    """

    entries: tuple[Entry, ...]
    targets: tuple[PidTarget, ...]
    refusals: tuple[Refusal, ...]
    replaced: dict[str, tuple[Origin, ...]]
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]

    @property
    def enabled(self) -> tuple[Entry, ...]:
        """The schemes to run."""
        return tuple(entry for entry in self.entries if entry.enabled)


def merge(files: Iterable[SchemeFile], target_names: Collection[str] | None = None) -> Merged:
    """Put together what is in `files`, in their order.

    A second scheme of a name is a problem, unless it says that it overrides the first, whose place it then takes as a
    whole: nothing of the first is left. So is a second target of a name. With `target_names`, those of the main file, a
    target that has one of these names, and a scheme for a target that is neither there nor in `files`, are problems as
    well.
    """
    files = list(files)
    entries: dict[str, Entry] = {}
    replaced: dict[str, tuple[Origin, ...]] = {}
    targets: dict[str, PidTarget] = {}
    warnings = [warning for file in files for warning in file.warnings]
    problems: list[Problem] = []
    for file in files:
        for entry in file.entries:
            name = entry.scheme.name
            if name not in entries:
                if entry.override:
                    message = f"there is no scheme {name!r} before this one that it could override"
                    warnings.append(_at(entry.origin, message))
            elif entry.override:
                replaced[name] = (*replaced.get(name, ()), entries[name].origin)
            else:
                message = (
                    f"the scheme name {name!r} is taken by {entries[name].origin}: write 'override: true' to replace it"
                )
                problems.append(_at(entry.origin, message))
                continue
            entries[name] = entry
        for target in file.targets:
            if target.name in targets:
                message = f"the target name {target.name!r} is taken by {targets[target.name].origin}: rename a file"
                problems.append(_at(target.origin, message))
            elif target.name in (target_names or ()):
                message = f"the main file has a target {target.name!r} as well: rename one of them"
                problems.append(_at(target.origin, message))
            targets.setdefault(target.name, target)
    if target_names is not None:
        problems += _unknown_targets(entries.values(), {*target_names, *targets})
    refusals = tuple(refusal for file in files for refusal in file.refusals)
    return Merged(
        tuple(entries.values()), tuple(targets.values()), refusals, replaced, tuple(warnings), tuple(problems)
    )


def _unknown_targets(entries: Iterable[Entry], known: Collection[str]) -> Iterator[Problem]:
    for entry in entries:
        for name in entry.targets:
            if name not in known:
                there = ", ".join(sorted(known)) or "none"
                yield _at(entry.origin, f"there is no target {name!r}; the targets are: {there}")


def _at(origin: Origin, message: str) -> Problem:
    return Problem(origin.path, origin.mark, message)
