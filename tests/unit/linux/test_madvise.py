# SPDX-License-Identifier: GPL-2.0-only
"""Which advice the kernel takes on other processes."""

from __future__ import annotations

import pytest

from damosd.linux import process_vm
from damosd.linux.madvise import Advice, knows


@pytest.mark.parametrize("advice", Advice)
def test_advice_of_ours_is_known(advice: Advice) -> None:
    """All that actions use is there since Linux 6.1, and nothing has to be allowed to find that out."""
    assert knows(advice)


def test_advice_that_no_kernel_has_is_not_known() -> None:
    """The answer is the kernel's, not ours."""
    assert not knows(9999)


def test_process_vm_readv_is_found() -> None:
    """A kernel that has the call says so without any process being read."""
    assert process_vm.exists()
