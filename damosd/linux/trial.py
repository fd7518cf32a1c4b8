# SPDX-License-Identifier: GPL-2.0-only
"""Where an interface can be tried without leaving a trace: memory of its own, or a child process."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import select
import signal
import time
import warnings
from typing import TYPE_CHECKING

from damosd.linux.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT_S = 10.0


@contextlib.contextmanager
def fresh_memory(size_bytes: int) -> Iterator[tuple[mmap.mmap, int]]:
    """Map private anonymous memory for a while: the mapping and its address in bytes. No page is there yet."""
    with mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        yield memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))


def in_child(name: str, probe: Callable[[], Feature], timeout_s: float = TIMEOUT_S) -> Feature:
    """Run `probe` in a child process, so that whatever it does, to memory or by crashing, ends with the child.

    Never raises: an exception, a crash or no answer in time is a feature `name` that does not work.
    """
    read_fd, write_fd = os.pipe()
    with warnings.catch_warnings():
        # Python warns of locks that other threads may hold, such as numpy's. The child waits for none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(write_fd, name, probe)
    os.close(write_fd)
    answer = _read(read_fd, timeout_s)
    os.close(read_fd)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if answer is None:
        return Feature(name, works=False, detail=f"no answer within {timeout_s:g} s")
    if not answer:
        return Feature(name, works=False, detail=f"the trial ended with status {os.waitstatus_to_exitcode(status)}")
    return Feature(**json.loads(answer))


def _answer(write_fd: int, name: str, probe: Callable[[], Feature]) -> None:
    """Send what `probe` returns, and end this process."""
    try:
        try:
            feature = probe()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to hear of it
            hint = getattr(error, "hint", "")
            feature = Feature(name, works=False, detail=f"{type(error).__name__}: {error}", hint=hint)
        os.write(write_fd, json.dumps(dataclasses.asdict(feature)).encode())
    finally:
        os._exit(0)


def _read(fd: int, timeout_s: float) -> bytes | None:
    """Read `fd` to its end; None when that does not come within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    answer = b""
    while select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]:
        part = os.read(fd, 1 << 16)
        if not part:
            return answer
        answer += part
    return None
