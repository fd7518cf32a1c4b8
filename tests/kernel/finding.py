# SPDX-License-Identifier: GPL-2.0-only
"""Discovery at work on programs that only one test runs, told by the folder that they are in."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from damosd.daemon.discovery.discovery import Discovery
from damosd.linux.process_table import ProcessFiles
from damosd.targets.questions import Exe
from damosd.targets.selection import Selection, Target
from kernel.programs import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from damosd.daemon.discovery.changes import Doubt, End, Match

NOBODY = 65534
_NEVER_AGAIN_S = 1e6


class Programs:
    """A folder with copies of programs that everybody may run; what runs there ends when this is left."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="damosd-tests-")))
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def ours(self) -> Exe:
        """What selects these programs."""
        return Exe(f"{self.folder}/*")

    def copy(self, program: str, name: str = "", mode: int = 0o755) -> Path:
        """Return a copy of a program."""
        path = self.folder / (name or program)
        if not path.exists():
            shutil.copyfile(shutil.which(program) or program, path)
            path.chmod(mode)
        return path

    def run(self, *words: str | Path, name: str = "", uid: int = 0) -> subprocess.Popen[str]:
        """Run something; its first argument may be another name than its program's."""
        process = subprocess.Popen(
            [name or str(words[0]), *map(str, words[1:])],
            executable=str(words[0]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            user=uid,
        )
        self._stack.callback(_end, process)
        return process

    def sleep(self, **options: object) -> subprocess.Popen[str]:
        """Run a program that does nothing."""
        return self.run(self.copy("sleep"), "600", **options)  # type: ignore[arg-type]

    def shell(self, script: str, uid: int = 0) -> subprocess.Popen[str]:
        """Run a script that can wait for `go`: `read`. The programs beside it are in `$HERE`."""
        return self.run(self.copy("bash", "shell"), "-c", f"HERE={self.folder}; {script}", uid=uid)


def go(process: subprocess.Popen[str]) -> None:
    """Let a script that waits go on."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdin
    process.stdin.close()


@dataclass
class Finder:
    """Discovery, and all that it has told. `events`: it is told of what happens, and scans but once."""

    selection: Selection
    events: bool
    appeared: list[Match] = field(default_factory=list)
    gone: list[tuple[int, End]] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.discovery = Discovery(self.selection, _NEVER_AGAIN_S, events=self.events, own=frozenset())
        self.step()
        return self

    def __exit__(self, *_: object) -> None:
        self.discovery.close()

    def step(self) -> None:
        """Take what there is to tell."""
        if not self.events:
            self.discovery.next_scan = 0.0
        changes = self.discovery.update()
        self.gone += [(one.match.pid, one.end) for one in changes.gone]
        self.appeared += changes.appeared
        self.doubts += changes.doubts
        for match in self.discovery.matches():
            assert match.pidfd.fd >= 0

    def settle(self) -> None:
        """Let it see all there is to see."""
        for _ in range(12):
            self.discovery.wait(0.06)
            self.step()

    def scan(self) -> None:
        """Let it look at everything at least once, also at what no event tells."""
        for _ in range(12):
            self.discovery.next_scan = 0.0
            self.step()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Go on until `condition` holds."""

        def holds() -> bool:
            self.step()
            return condition()

        until(holds, what)

    def until_matches(self, *processes: subprocess.Popen[str] | int) -> None:
        """Go on until these are all matches there are."""
        pids = {one if isinstance(one, int) else one.pid for one in processes}
        self.until(lambda: self.pids == pids, f"matches are {pids}")

    @property
    def pids(self) -> set[int]:
        """The processes that match now."""
        return {match.pid for match in self.discovery.matches()}

    def match(self, process: subprocess.Popen[str]) -> Match:
        """Return the match of a process."""
        return next(match for match in self.discovery.matches() if match.pid == process.pid)


class Locked:
    """Processes whose command lines cannot be read, as if their memory maps were locked, until they are let go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._locks: dict[int, threading.Event] = {}
        self.waiting: list[int] = []
        read = ProcessFiles.cmdline

        def cmdline(files: ProcessFiles, limit: int) -> str | None:
            if lock := self._locks.get(files.pid):
                self.waiting.append(files.pid)
                lock.wait()
                self.waiting.remove(files.pid)
            return read(files, limit)

        patch.setattr(ProcessFiles, "cmdline", cmdline)

    def lock(self, pid: int) -> None:
        """Let nobody read that of one process."""
        self._locks[pid] = threading.Event()

    def unlock(self) -> None:
        """Let all be read, and all go on that wait."""
        while self._locks:
            self._locks.popitem()[1].set()
        until(lambda: not self.waiting, "nobody waits")


def only(selector: object, **options: object) -> Selection:
    """Return a selection of one target."""
    return Selection((Target("ours", selector, **options),))  # type: ignore[arg-type]


def children(pid: int) -> list[int]:
    """Return the children of a process's first thread."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def fds() -> int:
    """Return how many descriptors we have open."""
    return len(list(Path("/proc/self/fd").iterdir()))
