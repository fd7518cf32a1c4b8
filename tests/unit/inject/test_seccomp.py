# SPDX-License-Identifier: GPL-2.0-only
"""What filters make of a call. `tests/kernel/test_seccomp.py` compares with the kernel."""

from __future__ import annotations

import pytest
from support.classic_bpf import (
    ADD,
    ADDRESS,
    ALLOW,
    AND,
    ARCH,
    ARGUMENTS,
    BY_X,
    DIV,
    ERRNO,
    JA,
    JEQ,
    JGE,
    KILL_PROCESS,
    KILL_THREAD,
    LD_ABS,
    LD_IMM,
    LD_MEM,
    LDX_IMM,
    LOG,
    RET,
    RET_A,
    ST,
    TRACE,
    TRAP,
    USER_NOTIF,
    answer,
    assemble,
    op,
)

from damosd.inject.seccomp import Verdict, judge

MADVISE = 28
VERDICTS = {
    KILL_PROCESS: Verdict.KILL_PROCESS,
    KILL_THREAD: Verdict.KILL_THREAD,
    TRAP: Verdict.TRAP,
    ERRNO: Verdict.ERRNO,
    USER_NOTIF: Verdict.USER_NOTIF,
    TRACE: Verdict.TRACE,
    LOG: Verdict.LOG,
    ALLOW: Verdict.ALLOW,
}


def test_without_filters_all_is_allowed() -> None:
    """The mode may be on with none to read."""
    assert judge([], MADVISE) is Verdict.ALLOW


@pytest.mark.parametrize("value", VERDICTS)
@pytest.mark.parametrize("data", [0, 1, 0xFFFF])
def test_a_verdict_is_for_its_call(value: int, data: int) -> None:
    """The lower half is data for the verdict; other calls get the other one."""
    program = answer(MADVISE, value | data)
    assert judge([program], MADVISE) is VERDICTS[value]
    assert judge([program], MADVISE + 1) is Verdict.ALLOW


def test_only_what_lets_the_call_be_made_is_harmless() -> None:
    """A tracer or a listener may do anything, and an error is none of the kernel's own."""
    assert [one for one in Verdict if one.harmless] == [Verdict.LOG, Verdict.ALLOW]


@pytest.mark.parametrize("value", [0x00010000, 0x7FFE0000, 0x90000000, 0xFFFFFFFF])
def test_an_unknown_verdict_kills(value: int) -> None:
    """So the kernel has it, for filters that are newer than it."""
    assert judge([answer(MADVISE, value)], MADVISE) is Verdict.KILL_PROCESS


@pytest.mark.parametrize("strict", [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG])
def test_the_strictest_of_several_filters_counts(strict: int) -> None:
    """Whichever was put on first."""
    programs = [answer(MADVISE, ALLOW), answer(MADVISE, strict | 3)]
    assert judge(programs, MADVISE) is judge(programs[::-1], MADVISE) is VERDICTS[strict]


def test_an_unknown_verdict_is_less_strict_than_a_smaller_number() -> None:
    """The kernel compares first, and asks only then what the number means."""
    programs = [answer(MADVISE, TRAP), answer(MADVISE, 0x7FFE0000)]
    assert judge(programs, MADVISE) is Verdict.TRAP


def test_a_killed_process_is_stricter_than_a_killed_thread() -> None:
    """Though its number is the larger one."""
    programs = [answer(MADVISE, KILL_THREAD), answer(MADVISE, KILL_PROCESS)]
    assert judge(programs, MADVISE) is Verdict.KILL_PROCESS


def test_arguments_are_seen_in_halves() -> None:
    """Advice is the third argument; the upper half of an argument lies behind the lower."""
    upper = assemble(
        op(LD_ABS, ARGUMENTS + 4), op(JEQ, 0x7F12, 0, 3), op(LD_ABS, ARGUMENTS + 16), op(JEQ, 14, 0, 1),
        op(RET, ERRNO | 1), op(RET, ALLOW),
    )  # fmt: skip
    assert judge([upper], MADVISE, (0x7F1200000000, 4096, 14)) is Verdict.ERRNO
    assert judge([upper], MADVISE, (0x7F1200000000, 4096, 15)) is Verdict.ALLOW
    assert judge([upper], MADVISE, (0x7F1300000000, 4096, 14)) is Verdict.ALLOW


def test_the_instructions_address_is_seen() -> None:
    """Some filters let a call through from one place only."""
    program = assemble(op(LD_ABS, ADDRESS), op(JEQ, 0x1234, 0, 1), op(RET, ALLOW), op(RET, TRAP))
    assert judge([program], MADVISE, (), 0x1234) is Verdict.ALLOW
    assert judge([program], MADVISE, (), 0x1235) is Verdict.TRAP


def test_the_architecture_is_ours() -> None:
    """What comes from 32-bit code is often refused."""
    program = assemble(op(LD_ABS, ARCH), op(RET_A))
    assert judge([program], MADVISE) is Verdict.KILL_PROCESS  # 0xC000003E has the highest bit
    assert judge([answer(MADVISE, ALLOW, KILL_PROCESS)], MADVISE) is Verdict.ALLOW


def test_memory_masks_and_jumps() -> None:
    """A program computes its answer."""
    program = assemble(
        op(LD_IMM, 0x7FFFFFFF), op(AND, 0xFFFF0000), op(ST, 3), op(LD_IMM, 0), op(JA, 1), op(RET, KILL_PROCESS),
        op(LD_MEM, 3), op(JGE, ALLOW, 0, 1), op(RET_A), op(RET, TRAP),
    )  # fmt: skip
    assert judge([program], MADVISE) is Verdict.ALLOW


def test_a_division_by_zero_ends_the_program_with_the_strictest_answer_of_a_thread() -> None:
    """The kernel ends such a program with 0."""
    program = assemble(op(LD_IMM, 7), op(LDX_IMM, 0), op(DIV | BY_X), op(RET, ALLOW))
    assert judge([program], MADVISE) is Verdict.KILL_THREAD


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\0" * 7,
        assemble(op(LD_IMM, 1)),
        assemble(op(JA, 5), op(RET, ALLOW)),
        assemble(op(JEQ, 0, 9, 9), op(RET, ALLOW)),
        assemble(op(0x40, 0), op(RET, ALLOW)),  # a packet's bytes
        assemble(op(0xB4, 1), op(RET, ALLOW)),  # an operation that there is none of
        assemble(op(0x95, 1), op(RET, ALLOW)),  # a test that there is none of
        assemble(op(LD_ABS, 64), op(RET, ALLOW)),
        assemble(op(LD_ABS, 61), op(RET, ALLOW)),
        assemble(op(ST, 16), op(RET, ALLOW)),
        assemble(op(ADD + 0xE0, 16), op(RET, ALLOW)),
    ],
)
def test_a_malformed_program_is_an_error(program: bytes) -> None:
    """Nobody would know what it does."""
    with pytest.raises(ValueError, match="seccomp filter"):
        judge([program], MADVISE)
