# SPDX-License-Identifier: GPL-2.0-only
"""What is made of the kernel's answers to move_pages, with a function in the kernel's place."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from damosd.errors import PrivilegeError, TargetGoneError, UnavailableError
from damosd.linux import move_pages
from damosd.linux.move_pages import MAX_PAGES, UNTRIED, NodeRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.linux.pidfd import Pidfd

PAGE = 4096


class Held:
    """A process that ends after it was looked at some times."""

    pid = 7

    def __init__(self, looks: int = 1 << 30) -> None:
        self.looks = looks

    def ended(self) -> bool:
        """Tell whether it has ended."""
        self.looks -= 1
        return self.looks < 0


ALIVE = cast("Pidfd", Held())
Answer = tuple[int, dict[int, int]]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[int], list[int] | None], Answer]], None]:
    """Return a function that puts another in the kernel's place.

    That is given the addresses and, if they are to be moved, the nodes; it returns the result, minus an errno when it
    fails, and the statuses that it wrote, by place.
    """

    def install(answer: Callable[[list[int], list[int] | None], Answer]) -> None:
        def syscall(number: int, pid: int, count: int, pages: int, nodes: int | None, status: int, flags: int) -> int:
            assert (number, pid) == (279, 7)
            assert flags == (0 if nodes is None else 2)
            wanted = None if nodes is None else list((ctypes.c_int * count).from_address(nodes))
            result, written = answer(list((ctypes.c_long * count).from_address(pages)), wanted)
            statuses = (ctypes.c_int * count).from_address(status)
            for place, value in written.items():
                statuses[place] = value
            ctypes.set_errno(-result if result < 0 else 0)
            return max(result, -1)

        monkeypatch.setattr(move_pages, "_syscall", syscall)

    return install


def pages(count: int) -> np.ndarray:
    """Return the addresses of that many pages."""
    return np.arange(1, count + 1, dtype=np.int64) * PAGE


def test_calls_are_bounded(kernel: Callable[..., None]) -> None:
    """More pages than one call takes are asked about in several, in order."""
    sizes = []

    def answer(addresses: list[int], nodes: list[int] | None) -> Answer:
        sizes.append(len(addresses))
        return 0, {place: address // PAGE % 7 for place, address in enumerate(addresses)}

    kernel(answer)
    count = 2 * MAX_PAGES + 5
    assert move_pages.where(ALIVE, pages(count)).tolist() == [number % 7 for number in range(1, count + 1)]
    assert sizes == [MAX_PAGES, MAX_PAGES, 5]
    assert move_pages.where(ALIVE, pages(0)).tolist() == []


def test_what_the_kernel_says_nothing_about_is_untried(kernel: Callable[..., None]) -> None:
    """It ends a call early when pages could not be moved, and returns how many are left."""
    kernel(lambda addresses, nodes: (2, {0: 1, 1: -errno.EACCES}))
    assert move_pages.move(ALIVE, pages(4), 1).tolist() == [1, -errno.EACCES, UNTRIED, UNTRIED]


def test_the_node_is_told_for_every_page(kernel: Callable[..., None]) -> None:
    """One for each."""

    def answer(addresses: list[int], nodes: list[int] | None) -> Answer:
        assert nodes == [5] * len(addresses)
        return 0, dict.fromkeys(range(len(addresses)), 5)

    kernel(answer)
    assert move_pages.move(ALIVE, pages(MAX_PAGES + 1), 5).tolist() == [5] * (MAX_PAGES + 1)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ESRCH, TargetGoneError),
        (errno.EPERM, PrivilegeError),
        (errno.ENOSYS, UnavailableError),
        (errno.ENODEV, NodeRefusedError),
        (errno.EACCES, NodeRefusedError),
    ],
)
def test_refusals_of_all_pages_are_errors(kernel: Callable[..., None], code: int, error: type[Exception]) -> None:
    """What concerns the process or the node is told as such, with what mends it."""
    kernel(lambda addresses, nodes: (-code, {}))
    with pytest.raises(error) as caught:
        move_pages.move(ALIVE, pages(1), 1)
    assert code == errno.ESRCH or caught.value.hint  # type: ignore[attr-defined]


def test_other_refusals_are_of_the_pages(kernel: Callable[..., None]) -> None:
    """No memory now may be memory later."""
    kernel(lambda addresses, nodes: (-errno.ENOMEM, {0: 1}))
    assert move_pages.move(ALIVE, pages(3), 1).tolist() == [1, -errno.ENOMEM, -errno.ENOMEM]


@pytest.mark.parametrize("looks", [0, 1])
def test_a_number_that_may_be_another_process_s(kernel: Callable[..., None], looks: int) -> None:
    """When the process has ended before the call or meanwhile, nothing that came back counts."""
    kernel(lambda addresses, nodes: (0, {0: 1}))
    with pytest.raises(TargetGoneError):
        move_pages.where(cast("Pidfd", Held(looks)), pages(1))
