# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's end of the inject helper: starts it on demand, and again, ever more slowly, when it dies."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from damosd.inject.protocol import MAX_CALLS, MAX_MESSAGE, Call, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.linux.pidfd import Pidfd

__all__ = ["Call", "Injector", "Reply"]

_START_S = 5.0
_ANSWER_S = 2.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 30.0


class Injector:
    """Makes madvise calls in other processes by a helper process of its own.

    `unprotected`: also in processes that might not survive the helper's death, see `helper`.
    """

    def __init__(self, *, unprotected: bool = False, python: str = sys.executable) -> None:
        self._unprotected = unprotected
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._wait_s = _FIRST_WAIT_S
        self._not_before = 0.0
        self._trouble = ""

    @property
    def helper_pid(self) -> int | None:
        """The helper's process, when there is one."""
        return self._process.pid if self._process else None

    def run(self, pidfd: Pidfd, calls: Sequence[Call]) -> Reply:
        """Make `calls` in the process, as many in one stop as is good for it; go on after those that fail.

        What cannot be done is told in the reply, whatever the reason.
        """
        results: list[int] = []
        held_us, refused = 0, ""
        while len(results) < len(calls) and not refused:
            batch = tuple(calls[len(results) : len(results) + MAX_CALLS])
            reply = self._ask(pidfd, Request(pidfd.pid, batch, self._unprotected))
            results += reply.results
            held_us = max(held_us, reply.held_us)
            refused = reply.refused or ("" if reply.results else "the inject helper made no call")
        return Reply(tuple(results), refused, held_us)

    def close(self) -> None:
        """End the helper, after what it is doing."""
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:
            try:
                self._process.wait(_ANSWER_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # its targets survive that
                self._process.wait()
            self._process = None

    def _ask(self, pidfd: Pidfd, request: Request) -> Reply:
        if self._socket is None and not self._start():
            return Reply(refused=self._trouble)
        assert self._socket
        try:
            socket.send_fds(self._socket, [request.encode()], [pidfd.fd, pidfd.directory])
            reply = self._receive(_ANSWER_S)
        except OSError as error:
            self._failed(f"the inject helper has died: {error}")
            return Reply(refused=self._trouble)
        self._wait_s = _FIRST_WAIT_S
        if reply.last:  # it has let go of a thread that would not stop, which is no failure
            self.close()
        return reply

    def _start(self) -> bool:
        """Start the helper unless it is too soon after it has died; tell whether it runs."""
        if time.monotonic() < self._not_before:
            return False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [self._python, "-P", "-m", "damosd.inject", str(theirs.fileno())],  # no code from where we are
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for us; it ends when we do
                )
            except OSError as error:
                ours.close()
                self._failed(f"the inject helper cannot be started: {self._python}: {error.strerror}")
                return False
        self._socket = ours
        try:
            hello = self._receive(_START_S)
        except OSError as error:
            self._failed(f"the inject helper has died at its start: {error}")
            return False
        if hello.refused:
            self._failed(hello.refused)
            return False
        return True

    def _receive(self, timeout_s: float) -> Reply:
        """Return the helper's next message. Raises OSError when there is none, and none will come."""
        assert self._socket
        self._socket.settimeout(timeout_s)
        message = self._socket.recv(MAX_MESSAGE)
        if not message:
            code = self._process.wait() if self._process else 0
            raise ConnectionResetError(f"exit code {code}")
        return Reply.decode(message)

    def _failed(self, trouble: str) -> None:
        if self._process:
            self._process.kill()
        self.close()
        self._trouble = trouble
        self._not_before = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
