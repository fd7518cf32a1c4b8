# SPDX-License-Identifier: GPL-2.0-only
"""A signal frame that holds a thread's whole state, as the kernel would have put it on its stack. Pure.

A thread that returns to the frame's first word, the address of its sigreturn, gets the state back by itself
(struct rt_sigframe, restore_sigcontext and fpu__restore_sig of arch/x86).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RED_ZONE = 128
_UCONTEXT_FLAGS = 0x1 | 0x2 | 0x4  # UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
_NO_CHANGE_OF_STACK = 0x7FFF
"""ss_flags that sigaltstack(2) refuses. The kernel ignores that on the way back, and leaves the stack as it is."""
_HEAD = struct.Struct("<QQQQIIQ")  # pretcode; uc_flags, uc_link; uc_stack: ss_sp, ss_flags, (padding), ss_size
_CONTEXT_WORDS = struct.Struct("<18Q")
_CONTEXT_TAIL = struct.Struct("<HHHHQQQQQ64x")  # cs, gs, fs, ss; err, trapno, oldmask, cr2; fpstate; reserved
_MASK = struct.Struct("<Q")
_SIGINFO_BYTES = 128
_FRAME_BYTES = _HEAD.size + _CONTEXT_WORDS.size + _CONTEXT_TAIL.size + _MASK.size + _SIGINFO_BYTES
_ORDER = (
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    *("rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip", "eflags"),
)

_SOFTWARE_BYTES = 464
"""Where in the XSAVE area the bytes lie that the processor leaves to software."""
_SOFTWARE = struct.Struct("<IIQI28x")  # struct _fpx_sw_bytes
_MAGIC1, _MAGIC2 = 0x46505853, 0x46505845
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes to write at `address`; a thread whose stack pointer is `address` returns into it."""

    address: int
    data: bytes


def build(registers: dict[str, int], vector_state: bytes, xstate_size: int, mask: int, sigreturn: int) -> Frame:
    """Return the frame for a thread below the red zone of whose stack it lies.

    `registers`: general ones by name; `vector_state`: XSAVE area in standard format, of which `xstate_size` bytes are
    restored, see `xstate`; `mask`: blocked signals; `sigreturn`: address of `mov $15, %rax; syscall`.
    """
    state = bytearray(vector_state[:xstate_size])
    (features,) = struct.unpack_from("<Q", state, _SOFTWARE_BYTES)  # where ptrace tells XCR0
    _SOFTWARE.pack_into(state, _SOFTWARE_BYTES, _MAGIC1, xstate_size + 4, features, xstate_size)
    state += struct.pack("<I", _MAGIC2)
    fpstate = (registers["rsp"] - RED_ZONE - len(state)) // _ALIGNMENT * _ALIGNMENT
    address = (fpstate - _FRAME_BYTES) // 16 * 16
    data = _HEAD.pack(sigreturn, _UCONTEXT_FLAGS, 0, 0, _NO_CHANGE_OF_STACK, 0, 0)
    data += _CONTEXT_WORDS.pack(*(registers[name] for name in _ORDER))
    data += _CONTEXT_TAIL.pack(registers["cs"], 0, 0, registers["ss"], 0, 0, 0, 0, fpstate)
    data += _MASK.pack(mask)
    data += bytes(fpstate - address - len(data))
    return Frame(address, data + bytes(state))
