# SPDX-License-Identifier: GPL-2.0-only
"""BPF objects: load one with the system's libbpf, share its maps as numpy arrays, run its programs.

Only symbols of libbpf 1.0 are used. Programs are of the `syscall` type, which run in the caller's context
whenever asked, and of the iterator type. Needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p, sizeof
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIBRARY = "libbpf.so.1"


class _RunOptions(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class _TaskLinkInfo(Structure):
    """The `task` member of union bpf_iter_link_info."""

    _fields_ = (("tid", c_uint32), ("pid", c_uint32), ("pid_fd", c_uint32), ("_union", c_uint32))


class _IteratorOptions(Structure):
    """struct bpf_iter_attach_opts."""

    _fields_ = (("sz", c_size_t), ("link_info", POINTER(_TaskLinkInfo)), ("link_info_len", c_uint32))


_SIGNATURES = {
    "libbpf_set_print": (c_void_p, [c_void_p]),
    "bpf_object__open_file": (c_void_p, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__find_program_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__value_size": (c_uint32, [c_void_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_program__attach_iter": (c_void_p, [c_void_p, POINTER(_IteratorOptions)]),
    "bpf_link__fd": (c_int, [c_void_p]),
    "bpf_link__destroy": (c_int, [c_void_p]),
    "bpf_iter_create": (c_int, [c_int]),
    "bpf_map_create": (c_int, [c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p]),
}

_BPF_MAP_TYPE_ARRAY = 2
_BTF = Path("/sys/kernel/btf/vmlinux")
_BTF_MAGIC = 0xEB9F


@functools.cache
def _libbpf() -> ctypes.CDLL:
    """Open libbpf once and declare what we call. Raise UnavailableError when it is not installed."""
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise UnavailableError(
            f"{LIBRARY} cannot be loaded: {error}",
            hint="install it: apt-get install libbpf1 (Debian 12 or newer, Ubuntu 24.04 or newer)",
        ) from error
    for name, (restype, argtypes) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = restype
        function.argtypes = argtypes
    library.libbpf_set_print(None)  # it would write to our stderr; errors come back as errno
    return library


@functools.cache
def _run_program() -> Callable[..., int]:
    """Return bpf_prog_test_run_opts(int, struct bpf_test_run_opts *), which returns a negated errno.

    It is called all the time: without errno and declared types ctypes needs half as long.
    """
    run: Callable[..., int] = ctypes.CDLL(LIBRARY).bpf_prog_test_run_opts
    return run


def _failed(what: str, code: int) -> OSError:
    if code in (errno.EPERM, errno.EACCES):
        return PrivilegeError(f"{what}: {os.strerror(code)}", hint="run as root, or with CAP_BPF and CAP_PERFMON")
    return UnavailableError(
        f"{what}: {os.strerror(code)}",
        hint="this needs Linux 5.17 or newer with BPF and /sys/kernel/btf/vmlinux; see `damosd doctor`",
    )


class BpfObject:
    """A loaded BPF object file.

    `max_entries` gives maps their real sizes (map name to number of entries) before the kernel creates them.
    Raises UnavailableError when libbpf, the file or a kernel feature is missing, PrivilegeError without the
    capabilities.
    """

    def __init__(self, path: Path, max_entries: Mapping[str, int]) -> None:
        self._library = _libbpf()
        if not path.is_file():
            raise UnavailableError(
                f"{path} was not built",
                hint="install clang and libbpf-dev, then install damosd again",
            )
        self._handle = self._library.bpf_object__open_file(os.fsencode(path), None)
        if not self._handle:
            raise _failed(f"{path} cannot be opened", ctypes.get_errno())
        for name, entries in max_entries.items():
            self._library.bpf_map__set_max_entries(self._map(name), entries)
        code = -self._library.bpf_object__load(self._handle)
        if code:
            self.close()
            raise _failed("the kernel refused the page-table reader", code)

    def close(self) -> None:
        """Unload. Arrays from `array()` must not be used any more."""
        if self._handle:
            self._library.bpf_object__close(self._handle)
            self._handle = None

    def _map(self, name: str) -> int:
        found = self._library.bpf_object__find_map_by_name(self._handle, name.encode())
        assert found, name
        return int(found)

    def array(self, name: str, dtype: np.dtype) -> np.ndarray:
        """Share an mmapable array map: shape (max_entries, ...) of `dtype`, which is as large as the map's value."""
        handle = self._map(name)
        entries = self._library.bpf_map__max_entries(handle)
        size = entries * self._library.bpf_map__value_size(handle)
        shared = mmap.mmap(
            self._library.bpf_map__fd(handle),
            -(-size // mmap.PAGESIZE) * mmap.PAGESIZE,
            flags=mmap.MAP_SHARED,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
        )
        return np.ndarray((entries, *dtype.shape), dtype.base, shared)

    def program(self, name: str, context: Structure) -> Program:
        """Return the `syscall` program `name`, to be run with `context` as its argument."""
        found = self._library.bpf_object__find_program_by_name(self._handle, name.encode())
        assert found, name
        return Program(self._library.bpf_program__fd(found), context)

    def iterate_process(self, name: str, pidfd: int) -> None:
        """Run the task iterator `name` over the threads of one process.

        Raises ProcessLookupError when it has ended.
        """
        program = self._library.bpf_object__find_program_by_name(self._handle, name.encode())
        info = _TaskLinkInfo(pid_fd=pidfd)
        options = _IteratorOptions(sizeof(_IteratorOptions), ctypes.pointer(info), sizeof(info))
        link = self._library.bpf_program__attach_iter(program, byref(options))
        if not link:
            code = ctypes.get_errno()
            if code == errno.ESRCH:
                raise ProcessLookupError(code, os.strerror(code))
            raise _failed("the kernel refused the task iterator", code)
        try:
            fd = self._library.bpf_iter_create(self._library.bpf_link__fd(link))
            if fd < 0:
                raise _failed("the task iterator cannot be opened", ctypes.get_errno())
            with os.fdopen(fd, "rb", buffering=0) as stream:
                stream.read()
        finally:
            self._library.bpf_link__destroy(link)


class Program:
    """A program of the `syscall` type and the context it reads; what it writes there comes back as well."""

    def __init__(self, fd: int, context: Structure) -> None:
        self.context = context
        self._run = _run_program()
        self._fd = fd
        self._options = _RunOptions(
            sz=sizeof(_RunOptions),
            ctx_in=ctypes.addressof(context),
            ctx_size_in=sizeof(context),
        )
        self._options_ref = byref(self._options)

    def run(self) -> None:
        """Run it once, in this thread: one system call. Raises UnavailableError or PrivilegeError."""
        if code := self._run(self._fd, self._options_ref):
            raise _failed("a BPF program did not run", -code)


def probe() -> Feature:
    """Create a BPF map with the system's libbpf."""
    try:
        fd = _libbpf().bpf_map_create(_BPF_MAP_TYPE_ARRAY, b"damosd_probe", 4, 8, 1, None)
        if fd < 0:
            raise _failed("a BPF map cannot be created", ctypes.get_errno())
    except OSError as error:
        return Feature("bpf", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    os.close(fd)
    return Feature("bpf", works=True, detail=f"{LIBRARY} is there, and the kernel lets us use it")


def probe_btf() -> Feature:
    """Read the head of the kernel's own type information, which programs are fitted to it by."""
    try:
        with _BTF.open("rb") as file:
            magic = int.from_bytes(file.read(2), sys.byteorder)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        return Feature(
            "btf", works=False, detail=f"{_BTF}: {error.strerror}", hint="needs a kernel with CONFIG_DEBUG_INFO_BTF"
        )
    if magic != _BTF_MAGIC:
        return Feature("btf", works=False, detail=f"{_BTF} is not BTF")
    return Feature("btf", works=True, detail=f"{_BTF}, {size / 2**20:.1f} MiB")
