# SPDX-License-Identifier: GPL-2.0-only
"""What seccomp filters would make of a system call: an interpreter of their programs (classic BPF). Pure.

A filter that kills must be known before the call is made, and so must one that would kill the way home.
"""

from __future__ import annotations

import operator
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ARCH_X86_64 = 0xC000003E
_DATA = struct.Struct("<IIQ6Q")  # struct seccomp_data: nr, arch, instruction_pointer, args
_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter: code, jt, jf, k
_WORD = 0xFFFFFFFF


class Verdict(IntEnum):
    """What is done with the call, the strictest first. Of several filters the strictest verdict counts."""

    KILL_PROCESS = 0x80000000 - (1 << 32)
    KILL_THREAD = 0x00000000
    TRAP = 0x00030000
    ERRNO = 0x00050000
    USER_NOTIF = 0x7FC00000
    TRACE = 0x7FF00000
    LOG = 0x7FFC0000
    ALLOW = 0x7FFF0000

    @property
    def harmless(self) -> bool:
        """Whether the call is made."""
        return self in (Verdict.LOG, Verdict.ALLOW)


def judge(programs: Iterable[bytes], number: int, arguments: Sequence[int] = (), address: int = 0) -> Verdict:
    """Return what becomes of system call `number`, made at `address`, under all of `programs`.

    Raises ValueError for a program that is none.
    """
    words = [argument & ((1 << 64) - 1) for argument in arguments]
    data = _DATA.pack(number, _ARCH_X86_64, address, *words, *([0] * (6 - len(words))))
    return min((_verdict(run(program, data)) for program in programs), default=Verdict.ALLOW)


def _verdict(value: int) -> Verdict:
    action = value & 0xFFFF0000
    if action & 0x80000000:
        return Verdict.KILL_PROCESS
    return Verdict(action) if action in list(Verdict) else Verdict.KILL_PROCESS  # as the kernel does


def run(program: bytes, data: bytes) -> int:  # noqa: C901  # one case for each class of instructions
    """Return what a program, as struct sock_filter, answers to `data`. Raises ValueError."""
    instructions = list(_INSTRUCTION.iter_unpack(program))
    accumulator, index, memory, at = 0, 0, [0] * 16, 0
    while at < len(instructions):
        code, jump_true, jump_false, k = instructions[at]
        at += 1
        match code & 0x07:
            case 0x00:
                accumulator = _load(code, k, data, memory)
            case 0x01:
                index = _load(code, k, data, memory)
            case 0x02:
                memory[k & 15] = accumulator
            case 0x03:
                memory[k & 15] = index
            case 0x04:
                accumulator = _compute(code & 0xF0, accumulator, index if code & 0x08 else k)
            case 0x05:
                if code & 0xF0 == 0:
                    at += k
                else:
                    at += jump_true if _holds(code & 0xF0, accumulator, index if code & 0x08 else k) else jump_false
            case 0x06:
                return accumulator if code & 0x18 == 0x10 else k
            case 0x07:
                index, accumulator = (index, index) if code & 0x80 else (accumulator, accumulator)
    raise ValueError("a seccomp filter ends without an answer")


def _load(code: int, k: int, data: bytes, memory: list[int]) -> int:
    match code & 0xE0:
        case 0x00:
            return k
        case 0x20:
            return int.from_bytes(data[k : k + 4], "little")
        case 0x60:
            return memory[k & 15]
        case 0x80:
            return len(data)
    raise ValueError(f"a seccomp filter loads in a way that is unknown, {code:#x}")


def _compute(operation: int, left: int, right: int) -> int:
    if operation not in _OPERATIONS:
        raise ValueError(f"a seccomp filter computes in a way that is unknown, {operation:#x}")
    return _OPERATIONS[operation](left, right) & _WORD


_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: lambda left, right: left // right if right else 0,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: lambda left, right: left << (right & 31),
    0x70: lambda left, right: left >> (right & 31),
    0x80: lambda left, _: -left,
    0xA0: operator.xor,
}
_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: lambda left, right: bool(left & right),
}


def _holds(test: int, left: int, right: int) -> bool:
    if test not in _TESTS:
        raise ValueError(f"a seccomp filter jumps in a way that is unknown, {test:#x}")
    return _TESTS[test](left, right)
