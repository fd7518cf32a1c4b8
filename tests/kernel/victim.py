# SPDX-License-Identifier: GPL-2.0-only
"""A program to be monitored. It touches memory when it is told to, and is otherwise still.

Reads commands from stdin, one JSON array a line (a function's name and its arguments), and answers each with one line.
It needs nothing but the standard library, so that it starts fast and runs anywhere.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
from typing import Any

PAGE = mmap.PAGESIZE
HUGE = 512 * PAGE
MAP_FIXED, MAP_FIXED_NOREPLACE = 0x10, 0x100000
MAP_HUGETLB, MAP_HUGE_SHIFT = 0x40000, 26
PR_SET_PDEATHSIG = 1
PR_SET_THP_DISABLE = 41
SYS_EXIT, SYS_PERF_EVENT_OPEN, SYS_USERFAULTFD = 60, 298, 323
MADV_DONTFORK, MADV_COLD = 10, 20
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY = 1, 9
UFFD_API, UFFD_FEATURE_WP, UFFD_FAULT_WP, UFFD_MISSING, UFFD_WP = 0xAA, 1, 2, 1, 2
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_COPY, UFFDIO_WRITEPROTECT = 0xC018AA3F, 0xC020AA00, 0xC028AA03, 0xC018AA06

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.sbrk.restype = ctypes.c_void_p
libc.sbrk.argtypes = [ctypes.c_ssize_t]
for name in ("munmap", "mlock", "munlock"):
    getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
for name in ("mprotect", "madvise"):
    getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_busy = threading.Event()
_busy_threads: list[threading.Thread] = []


def _checked(result: int) -> int:
    if result in (-1, ctypes.c_void_p(-1).value):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _end_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _map(size: int, flags: int, *, address: int = 0, fd: int = -1, protection: int = 3) -> int:
    return _checked(libc.mmap(address, size, protection, flags, fd, 0))


def _view(start: int, size: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * size).from_address(start)).cast("B")


def map_memory(size: int, shared: bool, path: str, address: int) -> int:
    """Map anonymous memory, or the file at `path`, and return where: aligned to huge pages, alone in a gap."""
    kind = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    if not address:
        whole = _map(size + 2 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection=0)
        address = whole + HUGE + -whole % HUGE
        _checked(libc.munmap(whole, size + 2 * HUGE))
    flags = kind | MAP_FIXED_NOREPLACE
    if not path:
        return _map(size, flags | mmap.MAP_ANONYMOUS, address=address)
    fd = os.open(path, os.O_RDWR)
    try:
        return _map(size, flags, address=address, fd=fd)
    finally:
        os.close(fd)


def map_huge_tlb(size: int, page_size: int) -> int:
    """Map pages from the pool of huge pages of one size."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB
    return _map(size, flags | page_size.bit_length() - 1 << MAP_HUGE_SHIFT)


def map_descriptor(kind: str, size: int, shared: bool) -> int:
    """Map a memfd, or /dev/zero."""
    fd = os.memfd_create("victim") if kind == "memfd" else os.open("/dev/zero", os.O_RDWR)
    if kind == "memfd":
        os.ftruncate(fd, size)
    return _map(size, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE, fd=fd)


def map_ring() -> int:
    """Map two pages of the kernel's: the ring of a performance event that never happens."""
    attributes = struct.pack("IIQ48x", PERF_TYPE_SOFTWARE, 64, PERF_COUNT_SW_DUMMY)
    fd = _checked(libc.syscall(SYS_PERF_EVENT_OPEN, attributes, 0, -1, -1, 0))
    return _map(2 * PAGE, mmap.MAP_SHARED, fd=fd)


def map_with_faults(size: int, missing: bool) -> int:
    """Map memory whose faults another process serves.

    Either its content comes only from there, as `fill` with seed 1 would write it; or it has this content, and every
    first write to a page waits for that process.
    """
    fd = _checked(libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC))
    fcntl.ioctl(fd, UFFDIO_API, bytearray(struct.pack("QQQ", UFFD_API, UFFD_FEATURE_WP, 0)))
    start = _map(size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _checked(libc.madvise(start, size, MADV_DONTFORK))
    if os.fork() == 0:
        _end_with_parent()
        _serve_faults(fd, start)
    if not missing:
        fill(start, size, 1)
    mode = UFFD_MISSING if missing else UFFD_WP
    fcntl.ioctl(fd, UFFDIO_REGISTER, bytearray(struct.pack("QQQQ", start, size, mode, 0)))
    if not missing:
        fcntl.ioctl(fd, UFFDIO_WRITEPROTECT, bytearray(struct.pack("QQQ", start, size, 1)))
    return start


def _serve_faults(fd: int, start: int) -> None:
    while True:
        flags, address = struct.unpack("8xQQ8x", os.read(fd, 32))
        page = address // PAGE * PAGE
        if flags & UFFD_FAULT_WP:
            fcntl.ioctl(fd, UFFDIO_WRITEPROTECT, bytearray(struct.pack("QQQ", page, PAGE, 0)))
            continue
        content = ctypes.create_string_buffer(_content(1, (page - start) // PAGE), PAGE)
        fcntl.ioctl(fd, UFFDIO_COPY, bytearray(struct.pack("QQQQQ", page, ctypes.addressof(content), PAGE, 0, 0)))


def map_many(count: int) -> list[int]:
    """Make mappings of two pages that the kernel cannot join, one after the other; return start and size of all."""
    size = 2 * PAGE * count
    start = _map(size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for address in range(start, start + size, 4 * PAGE):
        _checked(libc.mprotect(address, 2 * PAGE, mmap.PROT_READ))
    return [start, size]


def grow_heap(size: int) -> int:
    """Lengthen the heap, and return where the new part begins."""
    before = _checked(libc.sbrk(size + PAGE))
    return before + -before % PAGE


def unmap(start: int, size: int) -> None:
    """Take memory away."""
    _checked(libc.munmap(start, size))


def protect(start: int, size: int, protection: int) -> None:
    """Change what may be done with memory."""
    _checked(libc.mprotect(start, size, protection))


def lock(start: int, size: int) -> None:
    """Lock memory."""
    _checked(libc.mlock(start, size))


def unlock(start: int, size: int) -> None:
    """Unlock memory."""
    _checked(libc.munlock(start, size))


def advise(start: int, size: int, advice: int) -> None:
    """Give advice on memory."""
    _checked(libc.madvise(start, size, advice))


def try_advice(start: int, size: int, advice: int) -> int:
    """Give advice on memory, whether it is taken or not."""
    return libc.madvise(start, size, advice)


def want_no_huge_pages() -> None:
    """Switch huge pages off for this process."""
    _checked(libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))


def map_striped(count: int, size: int) -> int:
    """Make mappings of `size` that the kernel cannot join, one after the other; return where the first is."""
    start = map_memory(size * count, False, "", 0)
    for number in range(0, count, 2):
        _checked(libc.mprotect(start + number * size, size, mmap.PROT_READ))
    return start


def read(start: int, size: int, step: int) -> None:
    """Read a byte every `step` bytes."""
    _view(start, size)[::step].tobytes()


def write(start: int, size: int, step: int) -> None:
    """Write a byte every `step` bytes."""
    _view(start, size)[::step] = bytes(range(1, 252)) * (size // step // 251) + bytes(size // step % 251)


def touch(start: int, numbers: list[int], writing: bool) -> None:
    """Read or write a byte of each of some pages, given by number."""
    view = _view(start, (max(numbers) + 1) * PAGE)
    for number in numbers:
        if writing:
            view[number * PAGE] = number & 0xFF
        else:
            view[number * PAGE]


def flush() -> None:
    """Make the CPUs forget all translations of this process: advice that ages many pages does that."""
    size = 64 * PAGE
    start = _map(size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    write(start, size, PAGE)
    advise(start, size, MADV_COLD)
    unmap(start, size)


def _content(seed: int, number: int) -> bytes:
    return random.Random(seed << 32 | number).randbytes(PAGE // 4) * 4


def fill(start: int, size: int, seed: int) -> None:
    """Write content that is different for each page."""
    view = _view(start, size)
    for number in range(size // PAGE):
        view[number * PAGE : (number + 1) * PAGE] = _content(seed, number)


def damaged(start: int, size: int, seed: int) -> int:
    """Return how many pages do not hold what was filled in."""
    view = _view(start, size)
    return sum(view[number * PAGE : (number + 1) * PAGE] != _content(seed, number) for number in range(size // PAGE))


def sync(path: str) -> None:
    """Write a file to its disk."""
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)


def _begin(action: Any) -> None:
    def loop() -> None:
        while _busy.is_set():
            action()

    _busy.set()
    _busy_threads.append(threading.Thread(target=loop, daemon=True))
    _busy_threads[-1].start()


def keep_reading(start: int, size: int, step: int) -> None:
    """Read again and again, until told to rest."""
    _begin(lambda: read(start, size, step))


def keep_protecting(start: int, size: int) -> None:
    """Take away the right to write, and give it back, again and again, until told to rest: mmap_lock is held."""

    def storm() -> None:
        _checked(libc.mprotect(start, size, mmap.PROT_READ))
        _checked(libc.mprotect(start, size, mmap.PROT_READ | mmap.PROT_WRITE))

    _begin(storm)


def keep_checking(start: int, size: int, seed: int) -> None:
    """Look again and again whether memory holds what was filled in, until told to rest."""
    _begin(lambda: damaged(start, size, seed) and os._exit(99))


def keep_mapping(size: int) -> None:
    """Map memory, touch it and unmap it, again and again, until told to rest."""

    def storm() -> None:
        starts = [_map(size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(16)]
        for start in starts:
            write(start, size, PAGE)
        for start in starts[::2] + starts[1::2]:
            unmap(start, size)

    _begin(storm)


def keep_forking() -> None:
    """Start children that end at once, again and again, until told to rest."""

    def storm() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    _begin(storm)


def map_over(path: str) -> None:
    """Write to a file through memory, and have other memory in its place: with the memory map locked until it is saved.

    If the server of that file does not answer, that is for ever.
    """
    fd = os.open(path, os.O_RDWR)
    start = _map(PAGE, mmap.MAP_SHARED, fd=fd)
    write(start, PAGE, PAGE)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    threading.Thread(target=_map, args=(PAGE, flags), kwargs={"address": start}, daemon=True).start()


def rest() -> None:
    """End what was begun."""
    _busy.clear()
    while _busy_threads:
        _busy_threads.pop().join()


def fork(areas: list[list[int]]) -> int:
    """Start a child that reads `areas` (start and size), every page once, and then waits; return its pid."""
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        _end_with_parent()
        for start, size in areas:
            read(start, size, PAGE)
        os.write(done, b"!")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(done)
    return child


def reap(child: int) -> None:
    """End a child."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def exec_again() -> None:
    """Become a new program: this one."""
    os.execv(sys.executable, [sys.executable, "-I", "-S", __file__])


def rename(comm: str) -> None:
    """Take another name."""
    with open("/proc/self/comm", "w", encoding="utf-8") as file:  # noqa: PTH123  # it imports no more than it must
        file.write(comm)


def end_main_thread() -> None:
    """End the first thread only; another goes on here."""
    threading.Thread(target=obey).start()
    libc.syscall(SYS_EXIT, 0)


def obey() -> None:
    """Do what stdin says, to its end."""
    print(json.dumps(os.getpid()), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer = globals()[command](*arguments)
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _end_with_parent()
    obey()
