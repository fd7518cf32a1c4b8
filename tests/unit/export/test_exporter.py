# SPDX-License-Identifier: GPL-2.0-only
"""The exporter as the daemon has it, and the file that it writes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from support import daemon_status as made_up

from damosd.config.settings import MetricsSettings
from damosd.errors import PrivilegeError, UnavailableError
from damosd.export import figures, textfile
from damosd.export.exporter import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LISTEN = ("127.0.0.1", 0)
OFTEN_US = 10_000


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def fail(message: str) -> None:
    """Take a failure for one of the test."""
    raise AssertionError(message)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is to be."""
    return tmp_path / "damosd.prom"


@pytest.fixture
def exporter(path: Path) -> Iterator[Exporter]:
    """Return one that exports in both ways."""
    exporter = Exporter(MetricsSettings(LISTEN, path, OFTEN_US), fail)
    yield exporter
    exporter.close()


def fetched(exporter: Exporter) -> str:
    """Return what is served."""
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


def test_both_ways(exporter: Exporter, path: Path) -> None:
    """The file is readable for all, holds what is served, and is brought up to date."""
    exporter.update(made_up.daemon())
    wait_for(path.exists)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text() == fetched(exporter)
    exporter.update(made_up.daemon(nr_doubts=77))
    wait_for(lambda: "damosd_doubtful_processes 77\n" in path.read_text())
    assert [one.name for one in path.parent.iterdir()] in ([path.name], [path.name, f".{path.name}.new"])


def test_closing_leaves_nothing(exporter: Exporter, path: Path) -> None:
    """At the end no thread is left, and no file whose figures are of the past."""
    exporter.update(made_up.daemon())
    wait_for(path.exists)
    exporter.close()
    assert list(path.parent.iterdir()) == []
    assert not {"metrics", "textfile"} & {one.name for one in threading.enumerate()}
    exporter.close()


def test_nothing_is_exported_by_default() -> None:
    """Then no thread runs, nothing is listened on, and a status costs nothing."""
    before = threading.enumerate()
    exporter = Exporter(MetricsSettings(), fail)
    exporter.update(made_up.daemon())
    assert exporter.port is None
    assert threading.enumerate() == before
    exporter.close()


def test_no_file_of_old_figures(exporter: Exporter, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that tells nothing any more has no file, until it tells something again."""
    exporter.update(made_up.daemon())
    wait_for(path.exists)
    monkeypatch.setattr(textfile, "STALE_S", -1.0)
    wait_for(lambda: not path.exists())
    monkeypatch.setattr(textfile, "STALE_S", figures.STALE_S)
    wait_for(path.exists)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is not made, since node_exporter would not look there, and no server is left behind."""
    before = threading.enumerate()
    with pytest.raises(UnavailableError, match=r"nowhere/damosd\.prom is not there") as caught:
        Exporter(MetricsSettings(LISTEN, tmp_path / "nowhere" / "damosd.prom"), fail)
    assert "mkdir" in caught.value.hint
    assert threading.enumerate() == before


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything is written."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PrivilegeError, match="may not be written to") as caught:
        Exporter(MetricsSettings(textfile=tmp_path / "damosd.prom"), fail)
    assert "ReadWritePaths" in caught.value.hint


def test_a_failure_is_told_once(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that goes away is told once, however often it is tried, and again only after it was there."""
    told: list[str] = []
    tries: list[str] = []
    really = textfile.replace

    def replace(path: Path, content: str) -> None:
        tries.append(content)
        really(path, content)

    monkeypatch.setattr(textfile, "replace", replace)
    folder = tmp_path / "in"
    folder.mkdir()
    exporter = Exporter(MetricsSettings(textfile=folder / path.name, interval_us=OFTEN_US), told.append)
    exporter.update(made_up.daemon())
    wait_for((folder / path.name).exists)
    for times in (1, 2):
        folder.rename(tmp_path / "away")
        wait_for(lambda times=times: len(told) == times)  # type: ignore[misc]
        tries.clear()
        wait_for(lambda: len(tries) > 3)
        (tmp_path / "away").rename(folder)
        (folder / path.name).unlink(missing_ok=True)
        wait_for((folder / path.name).exists)
    exporter.close()
    assert told == [f"{folder / path.name} cannot be written: No such file or directory"] * 2


def test_a_link_in_the_way_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Neither the file nor what it is made of goes through somebody's symbolic link."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    path.with_name(f".{path.name}.new").symlink_to(victim)
    textfile.replace(path, "figures")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("precious", "figures", False)


def test_a_change_keeps_what_was_counted(exporter: Exporter, path: Path, tmp_path: Path) -> None:
    """Other settings are taken over while all goes on; what has another place leaves the old one."""
    exporter.update(made_up.daemon(made_up.target(nr_steps=100)))
    wait_for(path.exists)
    port, other = exporter.port, tmp_path / "other.prom"
    exporter.change(MetricsSettings(LISTEN, other, OFTEN_US))
    assert exporter.port == port
    wait_for(other.exists)
    assert not path.exists()
    exporter.update(made_up.daemon(made_up.target(nr_steps=10)))
    assert 'damosd_steps_total{target="cache"} 110\n' in fetched(exporter)
    exporter.change(MetricsSettings(textfile=other, interval_us=2 * OFTEN_US))
    assert exporter.port is None
    wait_for(other.exists)
    exporter.change(MetricsSettings())
    assert not other.exists()


def test_a_change_that_fails_changes_nothing(exporter: Exporter, path: Path, tmp_path: Path) -> None:
    """Neither an address that is taken nor a missing folder ends what works."""
    exporter.update(made_up.daemon())
    before = fetched(exporter)
    for settings in (
        MetricsSettings(("127.0.0.1", exporter.port or 0), path.with_name("other.prom")),
        MetricsSettings(("127.0.0.2", 0), tmp_path / "nowhere" / path.name),
    ):
        with pytest.raises(UnavailableError):
            exporter.change(settings)
        assert fetched(exporter) == before
        wait_for(path.exists)
    assert not path.with_name("other.prom").exists()


def test_the_process_can_end_without_closing(path: Path) -> None:
    """Threads of the exporter keep no process alive, not even with somebody connected."""
    program = (
        "import socket, threading; from pathlib import Path; from damosd.export import http\n"
        "from damosd.config.settings import MetricsSettings; from damosd.export.exporter import Exporter\n"
        "http._PATIENCE_S = 1000\n"
        f"exporter = Exporter(MetricsSettings(('127.0.0.1', 0), Path({str(path)!r})), print)\n"
        "client = socket.create_connection(('127.0.0.1', exporter.port))\n"
        "while not any('process_request' in one.name for one in threading.enumerate()): pass\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
