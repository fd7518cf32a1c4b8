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
_SLOTS = 16
_DIVIDE = 0x30


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
    action = min((_action(run(program, data)) for program in programs), default=Verdict.ALLOW)
    return Verdict(action) if action in list(Verdict) else Verdict.KILL_PROCESS  # as the kernel does


def _action(value: int) -> int:
    """Return the upper half of an answer as the kernel compares them, which is as signed numbers."""
    action = value & 0xFFFF0000
    return action - (1 << 32) if action >> 31 else action


def run(program: bytes, data: bytes) -> int:  # noqa: C901  # one case for each class of instructions
    """Return what a program, as struct sock_filter, answers to `data`. Raises ValueError."""
    if len(program) % _INSTRUCTION.size:
        raise ValueError("a seccomp filter ends in the middle of an instruction")
    instructions = list(_INSTRUCTION.iter_unpack(program))
    accumulator, index, memory, at = 0, 0, [0] * _SLOTS, 0
    while at < len(instructions):
        code, jump_true, jump_false, k = instructions[at]
        at += 1
        match code & 0x07:
            case 0x00:
                accumulator = _load(code, k, data, memory)
            case 0x01:
                index = _load(code, k, data, memory)
            case 0x02 | 0x03:
                memory[_slot(k)] = accumulator if code & 0x07 == 0x02 else index
            case 0x04:
                operand = index if code & 0x08 else k
                if code & 0xF0 == _DIVIDE and not operand:
                    return 0  # so the kernel ends it
                accumulator = _compute(code & 0xF0, accumulator, operand)
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
        case 0x20 if k % 4 == 0 and k < len(data):
            return int.from_bytes(data[k : k + 4], "little")
        case 0x60:
            return memory[_slot(k)]
        case 0x80:
            return len(data)
    raise ValueError(f"a seccomp filter loads in a way that is unknown, {code:#x} {k:#x}")


def _slot(k: int) -> int:
    if k >= _SLOTS:
        raise ValueError(f"a seccomp filter has no memory {k}")
    return k


def _compute(operation: int, left: int, right: int) -> int:
    if operation not in _OPERATIONS:
        raise ValueError(f"a seccomp filter computes in a way that is unknown, {operation:#x}")
    return _OPERATIONS[operation](left, right) & _WORD


_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    _DIVIDE: operator.floordiv,
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
