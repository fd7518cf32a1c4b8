# SPDX-License-Identifier: GPL-2.0-only
"""What can be asked about a process: one class for each key of a selector.

Globs are those of `fnmatch`, in which `*` stands for any characters. In paths of cgroups, which are matched step by
step, it does not stand for a slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from damosd.targets.facts import Cost
from damosd.targets.selector import Question
from damosd.units import format_size

if TYPE_CHECKING:
    from damosd.targets.facts import Facts

COMM_BYTES = 15
"""What the kernel keeps of a process's name."""
UNKNOWN = "not to be seen"

_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")


def file_name(path: str) -> str:
    """Return the last step of a path."""
    return path.rpartition("/")[2]


def _is_comm(comm: str, glob: str) -> bool:
    """Compare a name with a glob; of a longer plain name the kernel keeps the beginning."""
    return fnmatchcase(comm, glob) or (len(comm) == COMM_BYTES and comm == glob[:COMM_BYTES])


@dataclass(frozen=True, slots=True)
class Pid(Question):
    """The process has this number, whichever process that is now."""

    key: ClassVar[str] = "pid"
    asking: ClassVar[Cost] = Cost.FREE
    number: int

    @property
    def text(self) -> str:
        """The number."""
        return str(self.number)

    def matches(self, facts: Facts) -> bool:
        """Compare."""
        return facts.pid == self.number

    def seen(self, facts: Facts) -> str:
        """Return the process's number."""
        return str(facts.pid)


@dataclass(frozen=True, slots=True)
class Comm(Question):
    """The process's name, as `ps -o comm` shows it, is like this glob."""

    key: ClassVar[str] = "comm"
    asking: ClassVar[Cost] = Cost.FREE
    text: str

    def matches(self, facts: Facts) -> bool:
        """Compare."""
        return _is_comm(facts.comm, self.text)

    def seen(self, facts: Facts) -> str:
        """Return the name."""
        return facts.comm


@dataclass(frozen=True, slots=True)
class Named(Question):
    """The process's name, or the file name of its program, is like this glob."""

    key: ClassVar[str] = "name"
    asking: ClassVar[Cost] = Cost.CALL
    text: str

    def matches(self, facts: Facts) -> bool:
        """Compare both; a program that may not be seen goes by the process's name alone."""
        return _is_comm(facts.comm, self.text) or fnmatchcase(file_name(facts.exe or ""), self.text)

    def seen(self, facts: Facts) -> str:
        """Return both."""
        return f"{facts.comm}, {facts.exe or UNKNOWN}"


@dataclass(frozen=True, slots=True)
class Exe(Question):
    """The path of the process's program is like this glob; without a slash it is the file name that is compared."""

    key: ClassVar[str] = "exe"
    asking: ClassVar[Cost] = Cost.CALL
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Compare."""
        if facts.exe is None:
            return None
        return fnmatchcase(facts.exe if "/" in self.text else file_name(facts.exe), self.text)

    def seen(self, facts: Facts) -> str:
        """Return the path."""
        return facts.exe or UNKNOWN


@dataclass(frozen=True, slots=True)
class Cmdline(Question):
    """The process's arguments, with a space between each two, are like this glob as a whole."""

    key: ClassVar[str] = "cmdline"
    asking: ClassVar[Cost] = Cost.FILE
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Compare."""
        return None if facts.cmdline is None else fnmatchcase(facts.cmdline, self.text)

    def seen(self, facts: Facts) -> str:
        """Return the arguments."""
        return UNKNOWN if facts.cmdline is None else facts.cmdline


@dataclass(frozen=True, slots=True)
class CmdlineRegex(Question):
    """The process's arguments, with a space between each two, hold what this regular expression describes."""

    key: ClassVar[str] = "cmdline_regex"
    asking: ClassVar[Cost] = Cost.SEARCH
    pattern: re.Pattern[str]

    @property
    def text(self) -> str:
        """The expression."""
        return self.pattern.pattern

    def matches(self, facts: Facts) -> bool | None:
        """Search."""
        return facts.finds(self.pattern)

    def seen(self, facts: Facts) -> str:
        """Return the arguments."""
        return UNKNOWN if facts.cmdline is None else facts.cmdline


@dataclass(frozen=True, slots=True)
class User(Question):
    """The process's effective user is this one, whose name is `text`, or its number."""

    key: ClassVar[str] = "user"
    asking: ClassVar[Cost] = Cost.CALL
    uid: int
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Compare."""
        return None if facts.uid is None else facts.uid == self.uid

    def seen(self, facts: Facts) -> str:
        """Return the user's number."""
        return UNKNOWN if facts.uid is None else f"uid {facts.uid}"


@dataclass(frozen=True, slots=True)
class Cgroup(Question):
    """The process is in a cgroup whose path is like this glob, or in one below; in whichever hierarchy.

    Without a slash it is the name of a systemd unit: a step of the path, wherever it is.
    """

    key: ClassVar[str] = "cgroup"
    asking: ClassVar[Cost] = Cost.FILE
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Compare with each path."""
        return None if facts.cgroups is None else any(map(self._covers, facts.cgroups))

    def _covers(self, path: str) -> bool:
        steps = path.strip("/").split("/")
        if "/" not in self.text:
            return any(fnmatchcase(step, self.text) for step in steps)
        wanted = [step for step in self.text.split("/") if step]
        return len(wanted) <= len(steps) and all(map(fnmatchcase, steps, wanted))

    def seen(self, facts: Facts) -> str:
        """Return the paths."""
        return _paths(facts)


@dataclass(frozen=True, slots=True)
class Container(Question):
    """A cgroup of the process is that of the container whose id begins so: lower case hexadecimal digits."""

    key: ClassVar[str] = "container"
    asking: ClassVar[Cost] = Cost.FILE
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Look for ids of 64 digits in the paths, as Docker, containerd, CRI-O and Podman have them."""
        if facts.cgroups is None:
            return None
        return any(found.startswith(self.text) for path in facts.cgroups for found in _CONTAINER.findall(path))

    def seen(self, facts: Facts) -> str:
        """Return the paths."""
        return _paths(facts)


@dataclass(frozen=True, slots=True)
class Pod(Question):
    """A cgroup of the process is below that of this Kubernetes pod: its uid in lower case, with or without dashes."""

    key: ClassVar[str] = "pod"
    asking: ClassVar[Cost] = Cost.FILE
    text: str

    def matches(self, facts: Facts) -> bool | None:
        """Look for `pod` and a uid in the paths; the kubelet writes underscores for dashes in names of slices."""
        if facts.cgroups is None:
            return None
        wanted = _digits(self.text)
        return any(_digits(found) == wanted for path in facts.cgroups for found in _POD.findall(path))

    def seen(self, facts: Facts) -> str:
        """Return the paths."""
        return _paths(facts)


def _digits(uid: str) -> str:
    return uid.replace("-", "").replace("_", "")


def _paths(facts: Facts) -> str:
    return UNKNOWN if facts.cgroups is None else " ".join(facts.cgroups)


@dataclass(frozen=True, slots=True)
class MinRss(Question):
    """The process's resident set is at least this large. A target that shrinks stays one."""

    key: ClassVar[str] = "min_rss_bytes"
    asking: ClassVar[Cost] = Cost.FREE
    size_bytes: int

    @property
    def text(self) -> str:
        """The size."""
        return format_size(self.size_bytes)

    def matches(self, facts: Facts) -> bool:
        """Compare."""
        return facts.rss_bytes >= self.size_bytes

    def seen(self, facts: Facts) -> str:
        """Return the size."""
        return format_size(facts.rss_bytes)
