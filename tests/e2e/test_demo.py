# SPDX-License-Identifier: GPL-2.0-only
"""`make demo`, smaller: what it shows, and that nothing is left of it, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from bench.lab.zram import remove_leftovers
from damosd.linux import swap

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
needs_zram = pytest.mark.skipif(not Path("/sys/class/zram-control").exists(), reason="needs zram")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SIZE_MIB = 150
SMALL = ["--size", f"{SIZE_MIB}M", "--without", "2s", "--with", "50s"]
LOADED = "From now on"
_PATIENCE_S = 60.0


class Demo:
    """A running demo, and what it has said so far."""

    def __init__(self, directory: Path, prefix: tuple[str, ...] = (), **environment: str) -> None:
        self.directory = directory
        self.said = ""
        self.longest_silence_s = 0.0
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "bench.demo", *SMALL],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(directory), **environment},
            start_new_session=True,  # as a shell gives it a process group, which Ctrl-C then reaches as a whole
        )
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.end()

    def _read(self) -> None:
        assert self._process.stdout
        since = time.monotonic()
        while text := os.read(self._process.stdout.fileno(), 4096):
            since, now = time.monotonic(), since
            self.longest_silence_s = max(self.longest_silence_s, since - now)
            with self._more:
                self.said += text.decode()
                self._more.notify_all()

    def wait_for(self, pattern: str) -> None:
        """Wait until it has said this."""
        with self._more:
            assert self._more.wait_for(lambda: re.search(pattern, self.said), _PATIENCE_S), self.said

    def wait_until_left(self, mib: float) -> None:
        """Wait until the resident memory has fallen by so much."""

        def left() -> float:
            resident = [float(figure) for figure in re.findall(r" rss ([\d.]+) MiB ws", self.said)]
            return resident[0] - resident[-1] if resident else 0.0

        with self._more:
            assert self._more.wait_for(lambda: left() >= mib, _PATIENCE_S), self.said

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to it alone, or to its process group, as a terminal does."""
        (os.killpg if group else os.kill)(self._process.pid, number)

    def end(self) -> int:
        """Wait until it has ended, and return its exit code."""
        code = self._process.wait(60)
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()
        return code

    def processes(self) -> list[psutil.Process]:
        """Return what it has started and still runs."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def swap(self) -> list[str]:
        """Return the swap it has made, if any."""
        return re.findall(r"/dev/zram\d+", self.said)

    def left_behind(self, processes: list[psutil.Process]) -> list[object]:
        """Return what is left of it: processes, files, swap that is nobody's. Takes the swap away."""
        running = [process for process in processes if process.is_running()]
        return [*running, *self.directory.iterdir(), *remove_leftovers()]


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for temporary files, with a name short enough for sockets."""
    return tmp_path_factory.mktemp("d")


@pytest.fixture
def _no_leftovers() -> Iterator[None]:
    """Take away what a test left when it failed."""
    yield
    remove_leftovers()


def runs(process: psutil.Process) -> bool:
    """Tell whether a process runs. Where nobody waits for orphans, they stay as zombies."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_damosd(processes: list[psutil.Process]) -> None:
    """End damosd before its time, which a slow machine may need and a fast one need not wait for."""
    [damosd] = [process for process in processes if "--scheme" in process.cmdline()]
    damosd.send_signal(signal.SIGINT)


def assert_cold_memory_left(demo: Demo, code: int) -> None:
    """Check the summary. Throughput is measured by `make bench`, and may suffer from whatever else runs here."""
    faults = re.findall("NOT as it should be: (?!throughput).*", demo.said)
    assert faults == []
    assert code == (1 if "NOT as it should be" in demo.said else 0), demo.said
    found = re.search(r"resident memory of .*  (\d+) MiB -> (\d+) MiB", demo.said)
    assert found, demo.said
    assert int(found[2]) <= int(found[1]) - SIZE_MIB * 0.9 / 2
    assert "all as stored" in demo.said
    assert demo.longest_silence_s < 10


@needs_redis
@needs_zram
@pytest.mark.usefixtures("_no_leftovers")
def test_cold_memory_of_redis_leaves_and_its_content_stays(directory: Path) -> None:
    """The demo's whole point; afterwards the machine is as before."""
    with Demo(directory) as demo:
        demo.wait_until_left(SIZE_MIB * 0.9 / 2 + 1)
        processes = demo.processes()
        names = {process.name() for process in processes}
        end_damosd(processes)
        code = demo.end()
    assert {"redis-server", "redis-benchmark"} < names
    assert_cold_memory_left(demo, code)
    assert demo.left_behind(processes) == []


@needs_redis
@needs_zram
@pytest.mark.usefixtures("_no_leftovers")
def test_ctrl_c_while_memory_leaves_cleans_up(directory: Path) -> None:
    """With Redis half paged out, and pressed twice."""
    with Demo(directory) as demo:
        demo.wait_until_left(1)
        processes = demo.processes()
        demo.signal(signal.SIGINT, group=True)
        with contextlib.suppress(ProcessLookupError):
            demo.signal(signal.SIGINT, group=True)
        code = demo.end()
    assert code == 130
    assert "Traceback" not in demo.said
    assert demo.left_behind(processes) == []


@needs_redis
@pytest.mark.usefixtures("_no_leftovers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_demo_alone_cleans_up(directory: Path, number: signal.Signals) -> None:
    """It ends what it has started by itself."""
    with Demo(directory) as demo:
        demo.wait_for(LOADED)
        processes = demo.processes()
        demo.signal(number)
        code = demo.end()
    assert code == 128 + number
    assert "Traceback" not in demo.said
    assert demo.left_behind(processes) == []


@needs_redis
@pytest.mark.usefixtures("_no_leftovers")
def test_what_it_started_dies_with_it(directory: Path) -> None:
    """At SIGKILL it can do nothing, but the kernel ends its processes, and its swap is known by its label."""
    with Demo(directory) as demo:
        demo.wait_for(LOADED)
        processes = demo.processes()
        demo.signal(signal.SIGKILL)
        demo.end()
    assert processes
    deadline = time.monotonic() + 5
    while any(map(runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, processes))
    assert set(demo.swap()) <= set(remove_leftovers())


def test_without_redis_a_mapped_file_does(directory: Path) -> None:
    """Says so, needs no swap, and shows the same."""
    with Demo(directory, PATH="/nowhere") as demo:
        demo.wait_until_left(SIZE_MIB * 0.9 / 2 + 1)
        processes = demo.processes()
        end_damosd(processes)
        code = demo.end()
    assert "redis-server is not installed (apt-get install redis-server)" in " ".join(demo.said.split())
    assert demo.swap() == []
    assert_cold_memory_left(demo, code)
    assert demo.left_behind(processes) == []


@needs_redis
@needs_zram
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_without_swap_and_zram_a_mapped_file_does(directory: Path) -> None:
    """Says so; here zram's control files are covered up."""
    if swap.active():
        pytest.skip("this machine has swap")
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/class/zram-control && exec "$0" "$@"')
    with Demo(directory, hidden) as demo:
        demo.wait_for(LOADED)
        processes = demo.processes()
        demo.signal(signal.SIGINT)
        code = demo.end()
    assert code == 130
    assert "this kernel has no zram" in demo.said
    assert "damosd workload hot-cold --kind file" in " ".join(demo.said.split())
    assert demo.left_behind(processes) == []


def test_without_privilege_it_says_so(directory: Path) -> None:
    """Instead of failing half-way."""
    with Demo(directory, ("setpriv", "--reuid=65534", "--clear-groups")) as demo:
        code = demo.end()
    assert code == 4
    assert "only root" in demo.said
    assert "Traceback" not in demo.said


def test_a_size_that_is_none_is_told(directory: Path) -> None:
    """A usage error, and nothing started."""
    with Demo(directory, ("sh", "-c", 'exec "$0" "$@" --size lots')) as demo:
        code = demo.end()
    assert code == 2
    assert "lots" in demo.said
