# SPDX-License-Identifier: GPL-2.0-only
"""Assembles seccomp filters. Codes are those of linux/bpf_common.h, written down here once more."""

from __future__ import annotations

import struct

LD_IMM, LD_ABS, LD_MEM, LD_LEN = 0x00, 0x20, 0x60, 0x80
LDX_IMM, LDX_MEM, LDX_LEN = 0x01, 0x61, 0x81
ST, STX = 0x02, 0x03
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, XOR = 0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x84, 0xA4
BY_X = 0x08
JA, JEQ, JGT, JGE, JSET = 0x05, 0x15, 0x25, 0x35, 0x45
RET, RET_A = 0x06, 0x16
TAX, TXA = 0x07, 0x87

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0, 0x30000, 0x50000
USER_NOTIF, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000

NR, ARCH, ADDRESS, ARGUMENTS = 0, 4, 8, 16
X86_64 = 0xC000003E

Instruction = tuple[int, int, int, int]


def op(code: int, k: int = 0, jump_true: int = 0, jump_false: int = 0) -> Instruction:
    """Return one instruction."""
    return code, jump_true, jump_false, k


def assemble(*instructions: Instruction) -> bytes:
    """Return a program, as struct sock_filter."""
    return b"".join(struct.pack("<HBBI", *one) for one in instructions)


def answer(number: int, verdict: int, otherwise: int = ALLOW) -> bytes:
    """Return the filter that a library would write: one verdict for system call `number`, one for all others."""
    return assemble(
        op(LD_ABS, ARCH),
        op(JEQ, X86_64, 1, 0),
        op(RET, KILL_PROCESS),
        op(LD_ABS, NR),
        op(JEQ, number, 0, 1),
        op(RET, verdict),
        op(RET, otherwise),
    )
