# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's end, with helpers that fail in all ways. Nothing here traces, so it needs no privilege."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import damosd
from damosd.inject import client
from damosd.inject.client import Call, Injector
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = (Call(4096, 4096, 14),)
ROOT = str(Path(damosd.__file__).parent.parent)
GONE = "it has ended"
"""What a helper that is well says of a process that is no more."""


@pytest.fixture(autouse=True)
def _same_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper is that of the package under test."""
    monkeypatch.setenv("PYTHONPATH", ROOT)


@pytest.fixture
def gone() -> Iterator[Pidfd]:
    """A process that has ended since."""
    process = subprocess.Popen(["sleep", "100"])
    with Pidfd(process.pid) as pidfd:
        process.kill()
        process.wait()
        yield pidfd


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's time, which stands still."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def script(path: Path, text: str) -> str:
    """Write a program, and return its path."""
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def helper_that(tmp_path: Path, text: str) -> str:
    """Return a "python" that runs `text` as the helper; `peer` is its socket, `starts` how often it was started."""
    program = tmp_path / "helper.py"
    program.write_text(
        "import os, signal, socket, sys\n"
        "from damosd.inject.protocol import MAX_MESSAGE, Reply\n"
        "peer = socket.socket(fileno=int(sys.argv[-1]))\n"
        f"with open({str(tmp_path / 'starts')!r}, 'a+') as file:\n"
        "    file.write('x')\n"
        "    starts = file.tell()\n"
        f"{text}\n"
    )
    return script(tmp_path / "python", f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')


def starts(tmp_path: Path) -> int:
    """Return how often that helper was started."""
    return len((tmp_path / "starts").read_text())


def test_a_helper_serves_more_than_once(gone: Pidfd) -> None:
    """It is started when first needed, and ends with its injector."""
    injector = Injector()
    assert injector.helper_pid is None
    assert injector.run(gone, CALLS).refused == GONE
    helper = injector.helper_pid
    assert helper
    assert injector.run(gone, CALLS).refused == GONE
    assert injector.helper_pid == helper
    injector.close()
    assert injector.helper_pid is None
    assert not Path(f"/proc/{helper}").exists()
    injector.close()


def test_no_calls_need_no_helper(gone: Pidfd) -> None:
    """Nothing is asked, nothing refused."""
    injector = Injector(python="/nonexistent")
    assert injector.run(gone, ()) == client.Reply()


def test_a_program_that_is_not_there_is_named(gone: Pidfd) -> None:
    """With the system's reason."""
    reply = Injector(python="/nonexistent").run(gone, CALLS)
    assert reply == client.Reply(refused="the inject helper cannot be started: /nonexistent: No such file or directory")


def test_a_library_that_cannot_be_imported_is_named(
    gone: Pidfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper itself tells."""
    (tmp_path / "ptrace").mkdir()
    (tmp_path / "ptrace/__init__.py").write_text("raise ImportError('no ptrace here')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    injector = Injector()
    assert injector.run(gone, CALLS).refused == "the inject helper cannot start: no ptrace here"
    assert injector.helper_pid is None


def test_the_directory_we_are_in_is_no_place_for_code(
    gone: Pidfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may be in a directory where anybody can put a file."""
    (tmp_path / "damosd").mkdir()
    (tmp_path / "damosd/__init__.py").write_text("raise SystemExit(66)\n")
    (tmp_path / "json.py").write_text("raise SystemExit(66)\n")
    monkeypatch.chdir(tmp_path)
    injector = Injector()
    assert injector.run(gone, CALLS).refused == GONE
    injector.close()


def test_a_helper_that_dies_at_its_start(gone: Pidfd, tmp_path: Path) -> None:
    """Its exit code is told."""
    injector = Injector(python=script(tmp_path / "python", "#!/bin/sh\nexit 3\n"))
    assert injector.run(gone, CALLS).refused == "the inject helper has died at its start: exit code 3"


def test_a_helper_that_says_nothing(gone: Pidfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and the reason is time."""
    monkeypatch.setattr(client, "_START_S", 0.01)
    injector = Injector(python=helper_that(tmp_path, "signal.pause()"))
    assert injector.run(gone, CALLS).refused == "the inject helper has died at its start: timed out"
    assert injector.helper_pid is None


def test_a_helper_that_dies_of_a_request(gone: Pidfd, tmp_path: Path) -> None:
    """The signal is told as a negative exit code."""
    dies = "peer.send(Reply().encode()); peer.recv(MAX_MESSAGE); os.kill(os.getpid(), signal.SIGKILL)"
    injector = Injector(python=helper_that(tmp_path, dies))
    assert injector.run(gone, CALLS).refused.startswith("the inject helper has died: ")
    assert injector.helper_pid is None


def test_a_helper_is_started_ever_more_slowly(gone: Pidfd, tmp_path: Path, clock: list[float]) -> None:
    """0.1 s after the first death, then twice as long each time, and never more than half a minute."""
    injector = Injector(python=helper_that(tmp_path, "raise SystemExit(1)"))
    first = injector.run(gone, CALLS).refused
    assert starts(tmp_path) == 1
    waits = []
    for count in range(2, 12):
        began = clock[0]
        while starts(tmp_path) < count:
            clock[0] += 0.05
            assert injector.run(gone, CALLS).refused == first  # meanwhile, the reason is told again
        waits.append(clock[0] - began)
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30], abs=0.11)


def test_a_helper_that_is_well_again_ends_the_waiting(gone: Pidfd, tmp_path: Path, clock: list[float]) -> None:
    """The next death is the first one again."""
    text = (
        "if starts < 4: raise SystemExit(1)\n"
        "peer.send(Reply().encode()); peer.recv(MAX_MESSAGE); peer.send(Reply((0,)).encode()); raise SystemExit(1)"
    )
    injector = Injector(python=helper_that(tmp_path, text))
    for _ in range(3):
        assert injector.run(gone, CALLS).refused
        clock[0] += 60
    assert injector.run(gone, CALLS) == client.Reply((0,))
    assert injector.run(gone, CALLS).refused
    before = starts(tmp_path)
    clock[0] += 0.11
    assert injector.run(gone, CALLS) == client.Reply((0,))
    assert starts(tmp_path) == before + 1
    injector.close()


def test_a_helper_that_was_killed_is_replaced(gone: Pidfd, clock: list[float]) -> None:
    """At the first request after it was seen, and some time."""
    injector = Injector()
    injector.run(gone, CALLS)
    helper = injector.helper_pid
    assert helper
    os.kill(helper, 9)
    os.waitid(os.P_PID, helper, os.WEXITED | os.WNOWAIT)
    assert injector.run(gone, CALLS).refused.startswith("the inject helper has died: ")
    clock[0] += 0.11
    assert injector.run(gone, CALLS).refused == GONE
    assert injector.helper_pid != helper
    injector.close()


def test_a_helper_that_had_to_give_up_a_thread_is_replaced_at_once(gone: Pidfd, tmp_path: Path) -> None:
    """It has said that it ends: that is no failure."""
    text = "peer.send(Reply().encode()); peer.recv(MAX_MESSAGE); peer.send(Reply((0,), 'late', 7, True).encode())"
    injector = Injector(python=helper_that(tmp_path, text))
    for count in (1, 2, 3):
        assert injector.run(gone, CALLS * 2) == client.Reply((0,), "late", 7)
        assert starts(tmp_path) == count
        assert injector.helper_pid is None


def test_batches_follow_each_other_until_one_is_refused(gone: Pidfd, tmp_path: Path) -> None:
    """Results of all come together; the longest time counts."""
    text = (
        "peer.send(Reply().encode())\n"
        "for held in (30, 90, 50):\n"
        "    count = peer.recv(MAX_MESSAGE).count(b'4096, 4096')\n"
        "    peer.send(Reply((0,) * count, 'enough' if held == 50 else '', held).encode())\n"
        "peer.recv(1)"
    )
    injector = Injector(python=helper_that(tmp_path, text))
    reply = injector.run(gone, CALLS * 100)
    assert reply == client.Reply((0,) * 48, "enough", 90)
    injector.close()


def test_a_helper_ends_when_we_are_killed(gone: Pidfd) -> None:
    """Nobody is left behind."""
    child = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            """
import os
from damosd.inject.client import *
from damosd.linux.pidfd import Pidfd
injector = Injector()
with Pidfd(os.getpid()) as me:
    injector.run(me, [Call(0, 4096, 14)])
print(injector.helper_pid, flush=True)
os.kill(os.getpid(), 9)
""",
        ],
        stdout=subprocess.PIPE,
    )
    helper, _ = child.communicate()
    limit = time.monotonic() + 10
    while Path(f"/proc/{int(helper)}/exe").exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
