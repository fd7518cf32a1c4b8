# SPDX-License-Identifier: GPL-2.0-only
"""Tests on the machine's own kernel: marked `kernel`, skipped with a reason where they cannot run."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.lab.huge_pages import khugepaged_off, thp_mode
from bench.lab.zram import ZramSwap, zram_swap
from damosd.access import accessed_bit
from damosd.linux import swap, thp
from damosd.ops import vaddr_pages
from kernel.joined import ATTRS, Joined
from kernel.page_watch import PageWatch
from kernel.rounds import Rounds
from kernel.victims import MIB, Victim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this directory, and leave them out for whoever is not root."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def new_victim() -> Iterator[Callable[[], Victim]]:
    """Return a function that starts victims, which end with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Victim())


@pytest.fixture
def huge_pages_for_who_asks() -> Iterator[None]:
    """Set the system's mode of huge pages to `madvise` for a test, where there are any."""
    if not thp.mode():
        pytest.skip("needs transparent huge pages")
    if thp.mode() == "madvise":
        yield
        return
    with thp_mode("madvise"):
        yield


@pytest.fixture
def no_khugepaged(huge_pages_for_who_asks: None) -> Iterator[None]:
    """Let nobody but us make huge pages of small ones, and these only for who asks."""
    del huge_pages_for_who_asks
    with khugepaged_off():
        yield


@pytest.fixture
def victim(new_victim: Callable[[], Victim]) -> Victim:
    """A victim."""
    return new_victim()


@pytest.fixture
def another(new_victim: Callable[[], Victim]) -> Victim:
    """A second victim."""
    return new_victim()


@pytest.fixture
def idle() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that sleeps."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file whose pages are clean."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(os.urandom(4 * MIB))
        file.flush()
        os.fsync(file.fileno())
    return path


@pytest.fixture
def rounds_on() -> Iterator[Callable[..., Rounds]]:
    """Return a function that checks accesses to pages (int64 addresses) of victims, each given as a pair."""
    with ExitStack() as stack:

        def begin(*pages: tuple[Victim, np.ndarray], **sizes: int) -> Rounds:
            return stack.enter_context(Rounds(pages, **sizes))

        yield begin


@pytest.fixture(params=list(ATTRS))
def joined(request: pytest.FixtureRequest) -> Iterator[Joined]:
    """A watch on nobody, of both kinds."""
    joined = Joined(request.param)
    yield joined
    joined.watching.monitor.stop()
    joined.watching.close()
    for pidfd in joined.pidfds:
        pidfd.close()


@pytest.fixture
def zram() -> Iterator[ZramSwap]:
    """Swap of our own, for the length of a test: others need to be without."""
    with zram_swap("512M") as device:
        yield device


@pytest.fixture
def no_swap() -> None:
    """Skip where the machine has swap: whether there is any cannot be changed for one process alone."""
    if swap.active():
        pytest.skip("needs a machine without swap")


@pytest.fixture
def watch_pages() -> Iterator[Callable[..., PageWatch]]:
    """Return a function that monitors all pages of victims until the test ends."""
    with ExitStack() as stack:
        yield lambda *victims, **options: stack.enter_context(PageWatch([one.pid for one in victims], **options))


@pytest.fixture
def shared_pages_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page monitor use clear_refs whenever it would help, whatever that costs."""
    monkeypatch.setattr(vaddr_pages, "SHARED_AGING_CPU", 1e9)


@pytest.fixture
def no_clearing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing use clear_refs."""
    monkeypatch.setattr(accessed_bit.AccessedBit, "_age_shared", lambda *_: None)
    monkeypatch.setattr(vaddr_pages.VaddrPages, "make_all_old", lambda *_: False)
