# SPDX-License-Identifier: GPL-2.0-only
"""The frame, against the kernel's structures (struct rt_sigframe and what it holds), written down once more."""

from __future__ import annotations

import ctypes
from ctypes import c_uint16, c_uint32, c_uint64

import pytest

from damosd.inject import frame

GENERAL = "r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags".split()  # noqa: SIM905


class Context(ctypes.Structure):
    """struct sigcontext, 64 bit."""

    _fields_ = (
        *((name, c_uint64) for name in GENERAL),
        *((name, c_uint16) for name in ("cs", "gs", "fs", "ss")),
        *((name, c_uint64) for name in ("err", "trapno", "oldmask", "cr2", "fpstate")),
        ("reserved", c_uint64 * 8),
    )


class Stack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("ss_sp", c_uint64), ("ss_flags", c_uint32), ("ss_size", c_uint64))


class SignalFrame(ctypes.Structure):
    """struct rt_sigframe: the address to return to, a ucontext, and 128 bytes of siginfo."""

    _fields_ = (
        ("pretcode", c_uint64),
        ("uc_flags", c_uint64),
        ("uc_link", c_uint64),
        ("uc_stack", Stack),
        ("uc_mcontext", Context),
        ("uc_sigmask", c_uint64),
        ("info", ctypes.c_ubyte * 128),
    )


class Software(ctypes.Structure):
    """struct _fpx_sw_bytes."""

    _fields_ = (
        ("magic1", c_uint32),
        ("extended_size", c_uint32),
        ("xfeatures", c_uint64),
        ("xstate_size", c_uint32),
        ("padding", c_uint32 * 7),
    )


REGISTERS = {name: 0x1111_2222_0000_0000 + index for index, name in enumerate(GENERAL)} | {"cs": 0x33, "ss": 0x2B}
MASK, SIGRETURN, XCR0 = 0xDEAD_BEEF_0000_0001, 0x7FFF_1234_5678, 0x2E7
VECTORS = bytearray(index * 7 % 256 for index in range(2696))
VECTORS[464:472] = XCR0.to_bytes(8, "little")


def made(rsp: int = 0x7FFC_0000_1238, size: int = 2440) -> tuple[frame.Frame, SignalFrame]:
    """Return a frame, and how the kernel would read it."""
    built = frame.build(REGISTERS | {"rsp": rsp}, bytes(VECTORS), size, MASK, SIGRETURN)
    return built, SignalFrame.from_buffer_copy(built.data)


def test_the_structures_here_are_those_of_the_abi() -> None:
    """Offsets that debuggers and C libraries rely on."""
    assert SignalFrame.uc_flags.offset == 8
    assert SignalFrame.uc_stack.offset == 24
    assert SignalFrame.uc_mcontext.offset == 48
    assert SignalFrame.uc_mcontext.offset + Context.fpstate.offset == 8 + 224
    assert SignalFrame.uc_sigmask.offset == 304
    assert ctypes.sizeof(Software) == 48


def test_all_general_registers_are_in_their_places() -> None:
    """Segments as well; those of gs and fs the kernel leaves alone."""
    _, signal_frame = made()
    for name in GENERAL:
        assert getattr(signal_frame.uc_mcontext, name) == (REGISTERS | {"rsp": 0x7FFC_0000_1238})[name], name
    assert (signal_frame.uc_mcontext.cs, signal_frame.uc_mcontext.ss) == (0x33, 0x2B)


def test_the_way_home_and_the_mask() -> None:
    """The first word is where a return leads to."""
    _, signal_frame = made()
    assert (signal_frame.pretcode, signal_frame.uc_sigmask, signal_frame.uc_link) == (SIGRETURN, MASK, 0)
    assert signal_frame.uc_flags == 0b111  # with extended state; ss is valid; and strictly so


def test_the_alternate_stack_is_one_that_the_kernel_refuses() -> None:
    """Then it leaves the thread's own as it is: flags are neither 0 nor ONSTACK, DISABLE, AUTODISARM."""
    _, signal_frame = made()
    assert signal_frame.uc_stack.ss_flags & ~(1 << 31) not in (0, 1, 2)


@pytest.mark.parametrize("size", [512 + 64, 832, 2440, 2696])
def test_the_vector_state_is_marked_as_the_kernel_marks_it(size: int) -> None:
    """Two magic numbers, one among the software's bytes and one behind; the rest is as it was."""
    built, signal_frame = made(size=size)
    state = built.data[signal_frame.uc_mcontext.fpstate - built.address :]
    software = Software.from_buffer_copy(state, 464)
    assert (software.magic1, int.from_bytes(state[size : size + 4], "little")) == (0x46505853, 0x46505845)
    assert (software.xfeatures, software.xstate_size, software.extended_size) == (XCR0, size, size + 4)
    assert len(state) == size + 4
    assert state[:464] == bytes(VECTORS[:464])
    assert state[512:size] == bytes(VECTORS[512:size])


@pytest.mark.parametrize("rsp", range(0x7FFC_0000_1200, 0x7FFC_0000_1280))
def test_a_frame_is_aligned_and_lies_below_the_red_zone(rsp: int) -> None:
    """Whatever the stack pointer; the state at 64 bytes, as XRSTOR wants it."""
    built, signal_frame = made(rsp)
    fpstate = signal_frame.uc_mcontext.fpstate
    assert fpstate % 64 == 0
    assert built.address % 8 == 0
    assert built.address + ctypes.sizeof(SignalFrame) <= fpstate
    assert built.address + len(built.data) <= rsp - 128
    assert built.address + len(built.data) > rsp - 128 - 128  # and wastes little
