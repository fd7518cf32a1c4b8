# SPDX-License-Identifier: GPL-2.0-only
"""What is said of pages when the kernel hides something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from damosd.access.pages import Pages
from damosd.errors import PrivilegeError
from damosd.linux import pagemap

if TYPE_CHECKING:
    from damosd.access.pagetable import PageTables, Space


def test_hidden_frame_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_SYS_ADMIN they read as 0; no page is then taken for what frame 0 is."""
    monkeypatch.setattr(pagemap, "read_pages", lambda _proc, numbers: np.full(len(numbers), pagemap.PRESENT))
    space = SimpleNamespace(pidfd=SimpleNamespace(proc="", pid=1, ended=lambda: False))
    pages = Pages(cast("PageTables", None), cast("Space", space), np.array([[0, 8192]]))
    assert pages.anon().all()
    for ask in (pages.active, lambda wanted: pages.in_cgroup(1, wanted)):
        with pytest.raises(PrivilegeError, match="hidden") as caught:
            ask(np.array([False, True]))
        assert caught.value.hint
        assert not ask(np.array([False, False])).any()
