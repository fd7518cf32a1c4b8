# SPDX-License-Identifier: GPL-2.0-only
"""Memory cgroups: where they are, and how much of a NUMA node's memory is on their LRU lists.

A machine has one hierarchy for everything (v2), one for each controller (v1), or both: then memory is mostly in v1,
but pressure is told by v2 alone. Pages in memory.numa_stat include those of the cgroups below.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from damosd.errors import UnavailableError

_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE)
_LRU_V1 = ("hierarchical_anon", "hierarchical_file")  # in pages
_LRU_V2 = ("inactive_anon", "active_anon", "inactive_file", "active_file")  # in bytes


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where cgroups are mounted: `memory` has the memory controller, `pressure` is v2; None is nowhere."""

    memory: Path | None
    pressure: Path | None


def parse_mounts(mountinfo: str) -> tuple[Path | None, Path | None]:
    """Return the mount points of v2 and of v1's memory controller, from the text of a mountinfo file.

    Mounts of a whole hierarchy go before those of a part of one.
    """
    mounts = sorted(_MOUNT.findall(mountinfo), key=lambda mount: mount[0] != "/")
    v2 = [Path(point) for _, point, kind, _ in mounts if kind == "cgroup2"]
    v1 = [Path(point) for _, point, kind, options in mounts if kind == "cgroup" and "memory" in options.split(",")]
    return next(iter(v2), None), next(iter(v1), None)


def hierarchies(root: Path = Path("/")) -> Hierarchies:
    """Find the mounted hierarchies. Raises UnavailableError when the mounts cannot be read."""
    path = root / "proc/self/mountinfo"
    try:
        v2, v1 = parse_mounts(path.read_text())
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}", hint="is /proc mounted?") from error
    return Hierarchies(v2 if v2 and _controls_memory(v2) else v1, v2)


def _controls_memory(v2: Path) -> bool:
    try:
        return "memory" in (v2 / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def directory(hierarchy: Path | None, memcg_path: str) -> Path:
    """Return the directory of the cgroup `memcg_path`, relative to the mount point with or without a leading slash.

    Raises UnavailableError when the hierarchy is not mounted, or the path is empty, has `..` or does not exist.
    """
    if hierarchy is None:
        raise UnavailableError(
            f"there is no hierarchy of cgroups to find {memcg_path!r} in",
            hint="mount -t cgroup2 none /sys/fs/cgroup; pressure needs v2, memory its controller",
        )
    path = PurePosixPath(memcg_path)
    if not memcg_path or ".." in path.parts:
        raise UnavailableError(
            f"{memcg_path!r} names no cgroup", hint=f"give the path below {hierarchy}, without `..`; `/` is the root"
        )
    found = hierarchy / path.relative_to(path.root)
    if not found.is_dir():
        raise UnavailableError(
            f"there is no cgroup {found}", hint=f"give the path below {hierarchy}; `systemd-cgls` lists the cgroups"
        )
    return found


def inode(cgroup: Path) -> int:
    """Return the number by which /proc/kpagecgroup calls the memory cgroup of this directory.

    Raises UnavailableError.
    """
    try:
        return cgroup.stat().st_ino
    except OSError as error:
        raise UnavailableError(f"the cgroup {cgroup} has gone: {error.strerror}") from error


def parse_lru_bytes(numa_stat: str, nid: int) -> int:
    """Return the LRU pages on node `nid`, in bytes, from the text of a memory.numa_stat file of v1 or v2.

    Unevictable pages are not counted, as in damos_get_node_memcg_used_bp(). Raises UnavailableError when the lists are
    not all told for that node.
    """
    lines = {re.split("[ =]", line, maxsplit=1)[0]: line for line in numa_stat.splitlines()}
    names, unit_bytes = (_LRU_V1, mmap.PAGESIZE) if _LRU_V1[0] in lines else (_LRU_V2, 1)
    counts = [re.search(rf" N{nid}=(\d+)", lines.get(name, "")) for name in names]
    if not all(counts):
        raise UnavailableError(f"memory.numa_stat does not tell the LRU lists on node {nid}")
    return sum(int(count[1]) for count in counts if count) * unit_bytes


def lru_bytes(cgroup: Path, nid: int) -> int:
    """Return the bytes on the LRU lists of node `nid` that the cgroup and those below it have.

    Raises UnavailableError.
    """
    path = cgroup / "memory.numa_stat"
    try:
        text = path.read_text()
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be read: {error.strerror}",
            hint="write +memory to cgroup.subtree_control of the cgroup above; the kernel needs CONFIG_NUMA, v2 5.10",
        ) from error
    return parse_lru_bytes(text, nid)
