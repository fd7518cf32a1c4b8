# SPDX-License-Identifier: GPL-2.0-only
"""Finding instructions, in memory that is made up."""

from __future__ import annotations

import errno

import pytest

from damosd.inject import code, memory
from damosd.inject.code import Code, Library, still_there

LIBC, PROGRAM, VDSO = 0x7F0000000000, 0x400000, 0x7FFC00000000
MAPS = f"""\
{PROGRAM:x}-{PROGRAM + 0x2000:x} r-xp 00001000 08:02 17 /usr/bin/a program
{PROGRAM + 0x8000:x}-{PROGRAM + 0x9000:x} rwxp 00000000 00:00 0
{LIBC:x}-{LIBC + 0x3000:x} r-xp 00028000 08:02 18 /usr/lib/libc.so.6
{LIBC + 0x3000:x}-{LIBC + 0x4000:x} rw-p 00028000 08:02 18 /usr/lib/libc.so.6
{VDSO:x}-{VDSO + 0x1000:x} r-xp 00000000 00:00 0 [vdso]
"""
CALL, BARE = b"\x0f\x05\xc3", b"\x0f\x05\x90"
GLIBC, MUSL = b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", b"\xb8\x0f\x00\x00\x00\x0f\x05"


class Memory:
    """Pieces of made-up memory, and how often one was read."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self.pieces = pieces
        self.reads = 0

    def read(self, pid: int, address: int, size: int) -> bytes:
        """Read as process_vm_readv would."""
        self.reads += 1
        for start, piece in self.pieces.items():
            if start <= address < start + len(piece):
                return piece[address - start :][:size]
        raise OSError(errno.EFAULT, "Bad address")


@pytest.fixture
def ram(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """A process with a libc that has all, at 0x1000 and 0x1800 of it."""
    text = bytearray(0x3000)
    text[0x1000 : 0x1000 + len(CALL)] = CALL
    text[0x1800 : 0x1800 + len(GLIBC)] = GLIBC
    made = Memory({PROGRAM: bytes(0x2000), LIBC: bytes(text), VDSO: BARE.ljust(0x1000, b"\0")})
    monkeypatch.setattr(memory, "read", made.read)
    return made


def test_libc_has_all(ram: Memory) -> None:
    """And is looked into first: others are then not read."""
    found = Library().find(1, MAPS)
    assert found == Code(LIBC + 0x1000, LIBC + 0x1800, LIBC + 0x1000)
    assert found.protects()
    assert ram.reads == 1


def test_what_was_found_in_a_file_is_known(ram: Memory) -> None:
    """Another process has it at another address."""
    library = Library()
    library.find(1, MAPS)
    other = library.find(2, MAPS.replace("7f0000", "7f1111"))
    assert other.syscall_return == 0x7F1111001000
    assert ram.reads == 1


def test_a_file_that_was_replaced_is_another(ram: Memory) -> None:
    """Its inode tells."""
    library = Library()
    library.find(1, MAPS)
    ram.pieces[LIBC] = bytes(8) + CALL + GLIBC + bytes(0x3000 - 20)
    found = library.find(1, MAPS.replace(" 18 ", " 19 "))
    assert (found.syscall_return, found.sigreturn) == (LIBC + 8, LIBC + 11)


@pytest.mark.parametrize("sigreturn", [GLIBC, MUSL])
def test_a_static_program_has_them_itself(ram: Memory, sigreturn: bytes) -> None:
    """There is no libc to look into."""
    ram.pieces[PROGRAM] = bytes(64) + sigreturn + CALL + bytes(0x2000 - 64 - len(sigreturn) - 3)
    maps = "".join(line for line in MAPS.splitlines(keepends=True) if "libc" not in line)
    found = Library().find(1, maps)
    assert (found.sigreturn, found.syscall_return) == (PROGRAM + 64, PROGRAM + 64 + len(sigreturn))
    assert found.protects()


def test_what_is_missing_is_taken_from_elsewhere(ram: Memory) -> None:
    """The call from one file, the way home from another."""
    ram.pieces[LIBC] = GLIBC.ljust(0x3000, b"\0")
    ram.pieces[PROGRAM] = CALL.ljust(0x2000, b"\0")
    found = Library().find(1, MAPS)
    assert (found.sigreturn, found.syscall_return, found.protects()) == (LIBC, PROGRAM, True)


def test_a_call_without_a_way_home(ram: Memory) -> None:
    """Only the vDSO has a `syscall`: enough for those who take the risk."""
    ram.pieces[LIBC] = bytes(0x3000)
    found = Library().find(1, MAPS)
    assert found == Code(0, 0, VDSO)
    assert not found.protects()


def test_nothing_to_be_found(ram: Memory) -> None:
    """Nor anything that can be read."""
    ram.pieces.clear()
    assert Library().find(1, MAPS) == Library().find(1, "") == Code()


def test_anonymous_code_is_not_used(ram: Memory) -> None:
    """What a program compiles at run time may be gone the next moment."""
    ram.pieces = {PROGRAM + 0x8000: (CALL + GLIBC).ljust(0x1000, b"\0")}
    assert Library().find(1, MAPS) == Code()


def test_text_behind_memory_that_cannot_be_read_is_passed_over(ram: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before it counts."""
    monkeypatch.setattr(code, "_READ_AT_ONCE", 0x1000)
    ram.pieces[LIBC] = ram.pieces[LIBC][:0x2000]
    assert Library().find(1, MAPS).protects()


def test_instructions_that_are_still_there(ram: Memory) -> None:
    """They are looked at again before each use."""
    found = Library().find(1, MAPS)
    assert still_there(1, found)
    assert not still_there(1, Code())
    text = bytearray(ram.pieces[LIBC])
    for place in (0x1000, 0x1002, 0x1800):
        broken = text.copy()
        broken[place] = 0xCC  # a debugger's breakpoint
        ram.pieces[LIBC] = bytes(broken)
        assert not still_there(1, found)
    ram.pieces.clear()
    assert not still_there(1, found)


def test_a_process_that_ends_while_it_is_read_tells_nothing_about_its_files(ram: Memory) -> None:
    """Else no other process with that libc could ever be acted on."""
    pieces, library = ram.pieces, Library()
    ram.pieces = {}
    assert library.find(1, MAPS) == Code()
    ram.pieces = pieces
    assert library.find(2, MAPS).protects()


def test_memory_that_may_not_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the same as memory with nothing in it."""

    def forbidden(pid: int, address: int, size: int) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(memory, "read", forbidden)
    with pytest.raises(PermissionError):
        Library().find(1, MAPS)
