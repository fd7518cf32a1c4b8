# SPDX-License-Identifier: GPL-2.0-only
"""The helper with a thread that is made up: it is never left standing, whatever goes wrong."""

from __future__ import annotations

import errno

import pytest
from support import classic_bpf as bpf

from damosd.errors import TargetGoneError
from damosd.inject import helper
from damosd.inject.code import Code
from damosd.inject.helper import Helper, judge
from damosd.inject.protocol import Call, Reply, Request
from damosd.inject.threads import Status, Thread
from damosd.inject.tracee import Registers, Stop, Stopped, TimeIsUpError

MADVISE, SIGRETURN = 28, 15
CALL = Call(4096, 4096, 14)
CODE = Code(0x7F0000001000, 0x7F0000002000, 0x7F0000001000)


class FakeThread:
    """A thread that stops at once, and of which one request fails."""

    def __init__(self, failing: str = "", error: Exception | None = None) -> None:
        self.tid = 77
        self.stopped: Stopped | None = None
        self.failing, self.error = failing, error
        self.made: list[str] = []

    def _note(self, name: str) -> None:
        self.made.append(name)
        if name == self.failing and self.error:
            raise self.error

    def interrupt(self) -> None:
        """Do nothing: it stops anyway."""
        self._note("interrupt")

    def wait(self, deadline: float) -> Stopped:
        """Stop."""
        self._note("wait")
        self.stopped = Stopped(Stop.EVENT, 5)
        return self.stopped

    def registers(self) -> Registers:
        """Return those of a thread that runs 64-bit code."""
        self._note("registers")
        found = Registers()
        found.cs, found.rsp, found.orig_rax = 0x33, 0x7FFC00010000, (1 << 64) - 1
        return found

    def restartable_sequences(self) -> int:
        """There are none."""
        self._note("restartable_sequences")
        return 0

    def dispatches_system_calls(self) -> bool:
        """It does not."""
        self._note("dispatches_system_calls")
        return False

    def signal_mask(self) -> int:
        """Return an empty one."""
        self._note("signal_mask")
        return 0

    def detach(self, signal_number: int) -> None:
        """Let it go."""
        self.stopped = None
        self._note("detach")


def serve(monkeypatch: pytest.MonkeyPatch, thread: FakeThread) -> tuple[Helper, Reply]:
    """Have a request served by a helper that knows of this thread only."""
    maps = "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n"
    monkeypatch.setattr(helper, "candidates", lambda proc: [Thread(77, "S", 7)])
    monkeypatch.setattr(helper, "_read_maps", lambda proc: maps)
    monkeypatch.setattr(helper, "_seize", lambda found: thread)
    monkeypatch.setattr(helper, "status", lambda proc, tid: Status(0, 0, 0, shadow_stack=False))
    monkeypatch.setattr(Helper, "_find_code", lambda *_: CODE)
    made = Helper()
    return made, made.serve(Request(77, (CALL,)), -1, -1)


@pytest.mark.parametrize("step", ["registers", "restartable_sequences", "dispatches_system_calls", "signal_mask"])
def test_a_thread_is_let_go_when_a_request_fails(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """For a reason that nobody has thought of."""
    thread = FakeThread(step, OSError(errno.EIO, "Input/output error"))
    made, reply = serve(monkeypatch, thread)
    assert (reply.results, reply.refused) == ((), "[Errno 5] Input/output error")
    assert thread.made[-2:] == [step, "detach"]
    assert not made.exhausted


@pytest.mark.parametrize("step", ["interrupt", "wait", "registers", "signal_mask"])
def test_a_thread_that_ends_is_the_end(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """At any request."""
    made, reply = serve(monkeypatch, FakeThread(step, TargetGoneError("thread 77 has ended")))
    assert (reply.refused, made.exhausted, reply.last) == ("it has ended", False, False)


def test_a_thread_that_does_not_stop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only our end lets it go, which the reply announces."""
    made, reply = serve(monkeypatch, FakeThread("wait", TimeIsUpError()))
    assert (reply.refused, made.exhausted, reply.last) == ("it did not stop in time", True, True)


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ([], ""),
        ([bpf.answer(MADVISE, bpf.LOG)], ""),
        ([bpf.answer(MADVISE, bpf.ERRNO | 1)], "its seccomp filter does not let madvise through (errno)"),
        ([bpf.answer(SIGRETURN, bpf.TRAP)], "its seccomp filter does not let rt_sigreturn through (trap)"),
        ([b"\0"], "a seccomp filter ends in the middle of an instruction"),
    ],
)
def test_what_filters_forbid_is_named(filters: list[bytes], reason: str) -> None:
    """The call and the way home both matter."""
    assert judge(filters, [CALL], CODE) == reason


def test_filters_may_look_at_the_advice() -> None:
    """Each kind of advice is asked for."""
    program = bpf.assemble(
        bpf.op(bpf.LD_ABS, bpf.NR), bpf.op(bpf.JEQ, MADVISE, 0, 3),
        bpf.op(bpf.LD_ABS, bpf.ARGUMENTS + 16), bpf.op(bpf.JEQ, 15, 0, 1),
        bpf.op(bpf.RET, bpf.KILL_PROCESS), bpf.op(bpf.RET, bpf.ALLOW),
    )  # fmt: skip
    assert judge([program], [CALL], CODE) == ""
    assert "kill_process" in judge([program], [CALL, CALL._replace(advice=15)], CODE)
