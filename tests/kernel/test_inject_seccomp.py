# SPDX-License-Identifier: GPL-2.0-only
"""What the interpreter of seccomp filters tells is what the kernel does."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import classic_bpf as bpf
from support.classic_bpf import Instruction, assemble, op

from damosd.inject.seccomp import Verdict, judge

CALL = 110  # getppid, which takes no notice of arguments
PR_SET_NO_NEW_PRIVS, SECCOMP, SET_MODE_FILTER = 38, 317, 1
REJECTED, NO_ERROR, OTHER_ERROR, ENOSYS = 200, 201, 202, 38
SLOTS = 3
HALF = st.sampled_from([0, 1, 2, 31, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]) | st.integers(0, 0xFFFFFFFF)
VERDICTS = st.sampled_from(
    [
        *(bpf.KILL_PROCESS, bpf.KILL_THREAD, bpf.TRAP, bpf.ERRNO | 5, bpf.ERRNO | 77, bpf.ERRNO, bpf.ALLOW, bpf.ALLOW),
        *(bpf.ALLOW | 99, bpf.TRACE, bpf.USER_NOTIF, 0x00010000, 0xFFFFFFFF, 0x7FFE0000),
    ]
)
OPERATIONS = (bpf.ADD, bpf.SUB, bpf.MUL, bpf.OR, bpf.AND, bpf.XOR, bpf.DIV, bpf.LSH, bpf.RSH, bpf.NEG)
TESTS = (bpf.JEQ, bpf.JGT, bpf.JGE, bpf.JSET)
LOADS = [bpf.NR, bpf.ARCH, *range(bpf.ARGUMENTS, bpf.ARGUMENTS + 48, 4)]


@st.composite
def instructions(draw: st.DrawFn, left: int) -> Instruction:
    """Return an instruction that `left` others follow, of which two are answers."""
    kind = draw(st.integers(0, 7))
    match kind:
        case 0 | 1:
            return op(bpf.LD_ABS, draw(st.sampled_from(LOADS)))
        case 2:
            return draw(
                st.sampled_from(
                    [op(bpf.TAX), op(bpf.TXA), op(bpf.LD_LEN), op(bpf.LDX_LEN)]
                    + [op(code, slot) for code in (bpf.ST, bpf.STX, bpf.LD_MEM, bpf.LDX_MEM) for slot in range(SLOTS)]
                )
            )
        case 3:
            return op(draw(st.sampled_from([bpf.LD_IMM, bpf.LDX_IMM])), draw(HALF))
        case 4:
            code = draw(st.sampled_from(OPERATIONS))
            k = draw(HALF)
            if code in (bpf.LSH, bpf.RSH):
                k &= 31
            return op(code, k or int(code == bpf.DIV))
        case 5:
            return op(draw(st.sampled_from(OPERATIONS[:-1])) | bpf.BY_X)
        case _:
            code = draw(st.sampled_from(TESTS)) | draw(st.sampled_from([0, bpf.BY_X]))
            steps = st.integers(0, min(left - 1, 255))
            return op(code, draw(HALF), draw(steps), draw(steps))


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """Return a filter that lets all calls but one through."""
    size = draw(st.integers(0, 20))
    return assemble(
        *(op(bpf.LD_ABS, bpf.NR), op(bpf.JEQ, CALL, 1, 0), op(bpf.RET, bpf.ALLOW)),
        *(op(bpf.ST, slot) for slot in range(SLOTS)),
        *(draw(instructions(left)) for left in range(size + 1, 1, -1)),
        op(bpf.RET, draw(VERDICTS)),
        draw(st.sampled_from([op(bpf.RET_A), op(bpf.RET, bpf.ALLOW)])),
    )


def what_happens(filters: list[bytes], arguments: list[int]) -> int:
    """Make the call in a child under `filters`; return its exit code, or the negative signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            libc.signal(signal.SIGSYS, ctypes.cast(libc._exit, ctypes.c_void_p))  # with the signal's number
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            for program in filters:
                text = ctypes.create_string_buffer(program, len(program))
                whole = struct.pack("<H6xQ", len(program) // 8, ctypes.addressof(text))
                if libc.syscall(SECCOMP, SET_MODE_FILTER, 0, whole):
                    os._exit(REJECTED)
            result = libc.syscall(CALL, *map(ctypes.c_uint64, arguments))
            unknown = result < 0 and ctypes.get_errno() == ENOSYS
            os._exit(NO_ERROR if result > 0 else ENOSYS if unknown else OTHER_ERROR)
        finally:
            os._exit(REJECTED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


EXPECTED: dict[Verdict, set[int]] = {
    Verdict.KILL_PROCESS: {-signal.SIGSYS},
    Verdict.KILL_THREAD: {-signal.SIGSYS},
    Verdict.TRAP: {signal.SIGSYS},
    Verdict.ERRNO: {OTHER_ERROR, ENOSYS},
    Verdict.USER_NOTIF: {ENOSYS},
    Verdict.TRACE: {ENOSYS},
    Verdict.ALLOW: {NO_ERROR},
    Verdict.LOG: {NO_ERROR},
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(programs(), min_size=1, max_size=3),
    st.lists(st.tuples(HALF, HALF).map(lambda both: both[0] << 32 | both[1]), min_size=6, max_size=6),
)
def test_the_verdict_is_the_kernels(filters: list[bytes], arguments: list[int]) -> None:
    """For filters of all instructions that it takes, several at once."""
    happened = what_happens(filters, arguments)
    assert happened != REJECTED, "the kernel does not take the filter"
    verdict = judge(filters, CALL, arguments)
    assert happened in EXPECTED[verdict], verdict.name
