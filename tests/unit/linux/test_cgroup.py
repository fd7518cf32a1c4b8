# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups, by synthetic mounts and files."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from damosd.errors import UnavailableError
from damosd.linux import cgroup

TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755"
V1_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:5 master:1 - cgroup cgroup rw,memory"
V1_NAMED = "40 31 0:37 / /sys/fs/cgroup/memory-like rw - cgroup cgroup rw,name=memory"
HYBRID_V2 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
V2 = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
PART_OF_V2 = "90 23 0:26 /one/part /srv/cgroup rw - cgroup2 cgroup2 rw"

NUMA_STAT_V1 = """\
total=3778 N0=3000 N1=778
file=36 N0=36 N1=0
anon=374 N0=374 N1=0
unevictable=3368 N0=3368 N1=0
hierarchical_total=17103 N0=17000 N1=103
hierarchical_file=12177 N0=12100 N1=77
hierarchical_anon=1558 N0=1532 N1=26
hierarchical_unevictable=3368 N0=3368 N1=0
"""
NUMA_STAT_V2 = """\
anon N0=1000000 N1=1 N10=2
file N0=2000000 N1=1 N10=2
inactive_anon N0=4096 N1=40 N10=8192
active_anon N0=8192 N1=300 N10=0
inactive_file N0=16384 N1=2000 N10=0
active_file N0=32768 N1=10000 N10=0
unevictable N0=65536 N1=100000 N10=0
"""


@pytest.mark.parametrize(
    ("mounts", "v2", "v1"),
    [
        ([], None, None),
        ([TMPFS, V1_CPU, V1_NAMED], None, None),
        ([TMPFS, V1_CPU, V1_NAMED, V1_MEMORY], None, "/sys/fs/cgroup/memory"),
        ([TMPFS, V1_CPU, V1_MEMORY, HYBRID_V2], "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"),
        ([V2], "/sys/fs/cgroup", None),
        ([PART_OF_V2, V2], "/sys/fs/cgroup", None),
        ([PART_OF_V2], "/srv/cgroup", None),
    ],
    ids=["none", "no memory", "v1", "both", "v2", "v2 twice", "v2 in part"],
)
def test_hierarchies_are_found_by_their_mounts(mounts: list[str], v2: str | None, v1: str | None) -> None:
    """Whatever their directories are called."""
    assert cgroup.parse_mounts("".join(f"{mount}\n" for mount in mounts)) == (v2 and Path(v2), v1 and Path(v1))


def machine(tmp_path: Path, controllers: str, *, v1: bool) -> cgroup.Hierarchies:
    """Find the hierarchies of a machine whose v2 has `controllers`."""
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2/cgroup.controllers").write_text(controllers)
    mounts = f"41 31 0:38 / {tmp_path}/v2 rw - cgroup2 cgroup2 rw\n"
    if v1:
        mounts += f"35 31 0:32 / {tmp_path}/v1 rw - cgroup cgroup rw,memory\n"
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    return cgroup.hierarchies(tmp_path)


def test_memory_is_where_its_controller_is(tmp_path: Path) -> None:
    """That is v1 on a machine with both, though pressure is v2's."""
    (tmp_path / "hybrid").mkdir()
    hybrid = machine(tmp_path / "hybrid", "pids\n", v1=True)
    assert hybrid == cgroup.Hierarchies(memory=tmp_path / "hybrid/v1", pressure=tmp_path / "hybrid/v2")
    (tmp_path / "pure").mkdir()
    pure = machine(tmp_path / "pure", "cpu memory pids\n", v1=False)
    assert pure == cgroup.Hierarchies(memory=tmp_path / "pure/v2", pressure=tmp_path / "pure/v2")


def test_v2_without_the_memory_controller_has_no_memory(tmp_path: Path) -> None:
    """As when the kernel was booted with cgroup_disable=memory."""
    assert machine(tmp_path, "cpu pids\n", v1=False).memory is None


@pytest.mark.parametrize(
    ("path", "found"), [("/", ""), ("a", "a"), ("/a", "a"), ("//a/", "a"), ("/a/b c", "a/b c"), ("a/./b c", "a/b c")]
)
def test_a_path_is_below_the_mount(tmp_path: Path, path: str, found: str) -> None:
    """With or without a slash before it."""
    (tmp_path / "a/b c").mkdir(parents=True)
    assert cgroup.directory(tmp_path, path) == tmp_path / found


@pytest.mark.parametrize("path", ["", "..", "/..", "a/../a", "/a/..", "../m/a"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    """Even where it would come back."""
    (tmp_path / "m/a").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="names no cgroup") as error:
        cgroup.directory(tmp_path / "m", path)
    assert str(tmp_path / "m") in error.value.hint


@pytest.mark.parametrize("path", ["b", "a/b", "file", "a\0"])
def test_a_cgroup_that_is_not_there_is_told(tmp_path: Path, path: str) -> None:
    """A file in a cgroup is none."""
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="there is no cgroup"):
        cgroup.directory(tmp_path, path)


def test_a_machine_without_the_hierarchy_is_told() -> None:
    """With how to mount one."""
    with pytest.raises(UnavailableError, match="no hierarchy of cgroups") as error:
        cgroup.directory(None, "/a")
    assert "mount -t cgroup2" in error.value.hint


def test_the_inode_is_the_directory_s(tmp_path: Path) -> None:
    """A cgroup that has gone has none."""
    assert cgroup.inode(tmp_path) == tmp_path.stat().st_ino
    with pytest.raises(UnavailableError, match="has gone"):
        cgroup.inode(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "nid", "used_bytes"),
    [
        (NUMA_STAT_V1, 0, (12100 + 1532) * mmap.PAGESIZE),
        (NUMA_STAT_V1, 1, 103 * mmap.PAGESIZE),
        (NUMA_STAT_V2, 0, 4096 + 8192 + 16384 + 32768),
        (NUMA_STAT_V2, 1, 12340),
        (NUMA_STAT_V2, 10, 8192),
    ],
)
def test_a_node_s_lru_pages_are_bytes(tmp_path: Path, text: str, nid: int, used_bytes: int) -> None:
    """V1 counts in pages, and with those below in lines of their own. What is unevictable is left out."""
    (tmp_path / "memory.numa_stat").write_text(text)
    assert cgroup.lru_bytes(tmp_path, nid) == used_bytes


@pytest.mark.parametrize(
    ("text", "nid"),
    [("", 0), (NUMA_STAT_V1, 2), (NUMA_STAT_V2, 2), (NUMA_STAT_V2.replace("active_file", "other"), 0)],
    ids=["nothing", "no such node in v1", "nor in v2", "a list is missing"],
)
def test_what_is_not_told_is_not_zero(text: str, nid: int) -> None:
    """A sum of less than all lists would be wrong."""
    with pytest.raises(UnavailableError, match=f"on node {nid}"):
        cgroup.parse_lru_bytes(text, nid)


def test_a_cgroup_without_the_memory_controller_is_told(tmp_path: Path) -> None:
    """With how it gets one."""
    with pytest.raises(UnavailableError, match=r"memory\.numa_stat cannot be read") as error:
        cgroup.lru_bytes(tmp_path, 0)
    assert "cgroup.subtree_control" in error.value.hint
