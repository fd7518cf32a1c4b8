# SPDX-License-Identifier: GPL-2.0-only
"""A file whose server takes what is written to it and never says so, as one behind a network that is gone.

It speaks FUSE: <linux/fuse.h> has the structures.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import stat
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MODE = stat.S_IFREG | 0o644
_PAGE = 4096
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _INIT, _BATCH_FORGET = 2, 3, 4, 14, 15, 16, 26, 42
_NO_SUCH_CALL = -38
_REQUEST, _REPLY = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.pack("<QII6Q10I", 3600, 0, 0, 1, _PAGE, 8, *[0] * 6, _MODE, 1, 0, 0, 0, _PAGE, 0)
_LIMIT_S = 60.0


class Unanswered:
    """Such a file at `path`, which has one page, until it is left or `answer` is called.

    `written` is set once somebody waits. After a minute its server goes by itself: who waits by mistake does not do so
    for ever. Skips the test where there is no FUSE, and before Linux 6.16: it copied what was written, and waited for
    nobody.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = threading.Event()
        self._gone = threading.Event()
        if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 16):
            pytest.skip("needs Linux 6.16")
        path.touch()
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            pytest.skip(f"needs FUSE: {error}")
        options = f"fd={self._fd},rootmode={_MODE:o},user_id=0,group_id=0"
        if _libc.mount(b"unanswered", os.fsencode(path), b"fuse", 0, options.encode()):
            os.close(self._fd)
            pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert path.stat().st_size == _PAGE  # which the kernel has to ask for once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer()

    def answer(self) -> None:
        """Let the server go: whoever waits hears that it failed."""
        self._gone.set()
        self._thread.join()
        _libc.umount2(os.fsencode(self.path), _MNT_DETACH)

    def _serve(self) -> None:
        end = time.monotonic() + _LIMIT_S
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while not self._gone.is_set() and time.monotonic() < end:
            if poller.poll(20):
                self._take(os.read(self._fd, 1 << 20))
        os.close(self._fd)

    def _take(self, request: bytes) -> None:
        _, call, number, *_ = _REQUEST.unpack_from(request)
        if call in (_FORGET, _BATCH_FORGET):
            return
        if call == _WRITE:
            self.written.set()
            return
        answers = {
            _INIT: struct.pack("<4I2H2I2H2I12H", 7, 31, 0, 0, 0, 0, _PAGE, 1, *[0] * 16),
            _GETATTR: _ATTRIBUTES,
            _SETATTR: _ATTRIBUTES,
            _OPEN: bytes(16),
            _READ: bytes(_PAGE),
        }
        answer = answers.get(call, b"")
        error = 0 if call in answers else _NO_SUCH_CALL
        os.write(self._fd, _REPLY.pack(_REPLY.size + len(answer), error, number) + answer)
