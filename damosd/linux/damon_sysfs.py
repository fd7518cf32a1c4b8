# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own DAMON: /sys/kernel/mm/damon/admin. Only looked at; whoever uses it must not be disturbed.

Which operations sets it has is told per context, and a context exists only once somebody wrote their number. While
there is none, the kernel's symbol table tells whether the code for virtual addresses is there.
"""

from __future__ import annotations

from pathlib import Path

from damosd.linux.feature import Feature

ADMIN = Path("/sys/kernel/mm/damon/admin")

_NAME = "kernel_damon"
_VADDR_SYMBOL = " damon_va_check_accesses"


def available_operations() -> frozenset[str] | None:
    """Return the operations sets that the kernel has, None when no context is there to tell. Raises OSError."""
    texts = [path.read_text() for path in ADMIN.glob("kdamonds/*/contexts/*/avail_operations")]
    return frozenset(" ".join(texts).split()) if texts else None


def running() -> int:
    """Return how many of the kernel's monitoring threads are on. Raises OSError."""
    return sum(path.read_text().strip() == "on" for path in ADMIN.glob("kdamonds/*/state"))


def probe() -> Feature:
    """See whether the kernel's DAMON can monitor virtual addresses, without writing anything."""
    if not ADMIN.is_dir():
        return Feature(_NAME, works=False, detail=f"there is no {ADMIN}; damosd needs none")
    try:
        operations, on = available_operations(), running()
        if operations is None:
            return _by_symbol(Path("/proc/kallsyms").read_text())
    except OSError as error:
        return Feature(_NAME, works=False, detail=f"{error.filename}: {error.strerror}", hint="run as root")
    threads = f"{on} monitoring thread{'' if on == 1 else 's'} on"
    detail = f"operations sets: {' '.join(sorted(operations))}; {threads}"
    if "vaddr" not in operations:
        return Feature(_NAME, works=False, detail=f"no vaddr, damosd needs none; {detail}")
    return Feature(_NAME, works=True, detail=detail)


def _by_symbol(kallsyms: str) -> Feature:
    if _VADDR_SYMBOL in kallsyms:
        return Feature(
            _NAME, works=True, detail="the code for virtual addresses is there; not tried, no context exists"
        )
    return Feature(_NAME, works=False, detail="the kernel's symbols show no code for vaddr; damosd needs none")
