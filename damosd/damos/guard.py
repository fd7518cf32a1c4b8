# SPDX-License-Identifier: GPL-2.0-only
"""What a scheme must not do to the machine and its targets, whatever its quota says: settings and their defaults.

The defaults are meant for every scheme that says nothing: they do not disturb one that pages out what stays out, and
keep one that pages out what comes back from thrashing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from damosd.units import MAX

LIFTED = MAX
"""A limit that is never passed; of `swap_free_permil` and `rss_floor_bytes` that is 0."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits at which a scheme backs off; averages are over `backoff.WINDOW_NS`.

    `refault_per_sec`: pages that this scheme paged out and that come back. A page from zram costs its target 20 to 40
    us, so 256 of them are up to 1 % of one CPU. `swap_free_permil`: the free part of all swap. The last tenth is for
    the kernel, which needs it when memory is short. `some_mem_psi_permil`: the part of the time in which some task
    waits for memory, in the system or in the cgroup `memcg_path`; at a tenth, somebody notices.

    Two are not passed but kept to. `swap_out_bytes_per_sec`: no limit, since only the disk's owner knows what it bears.
    `rss_floor_bytes`: no target is paged out below it; 4 MiB are what a process runs on when it does next to nothing,
    and not worth having.
    """

    enabled: bool = True
    refault_per_sec: int = 256
    swap_free_permil: int = 100
    some_mem_psi_permil: int = 100
    memcg_path: str = ""
    swap_out_bytes_per_sec: int = LIFTED
    rss_floor_bytes: int = 4 << 20

    def without_reclaim(self) -> Guard:
        """Return what is left of it for an action that takes nothing out of memory: pressure."""
        return replace(
            self, refault_per_sec=LIFTED, swap_free_permil=0, swap_out_bytes_per_sec=LIFTED, rss_floor_bytes=0
        )


DEFAULT_GUARD = Guard()
NO_GUARD = Guard(enabled=False, some_mem_psi_permil=LIFTED).without_reclaim()
"""Limits nothing."""
