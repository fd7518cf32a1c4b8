# SPDX-License-Identifier: GPL-2.0-only
"""Whose files are read: nobody's but ours and root's, on the whole way there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from damosd.config.problems import ConfigFileError
from damosd.config.source import read, read_trusted, trusted_names

NOBODY = 65534
Refused = Callable[[Path], str]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file that nobody else can write, in a folder of its own."""
    folder = tmp_path / "schemes.d"
    folder.mkdir(mode=0o755)
    path = folder / "a.yaml"
    path.write_bytes(b"action: stat\n")
    path.chmod(0o644)
    return path


@pytest.fixture
def refused() -> Refused:
    """Return a function that gives the reason why a file is not read."""

    def refused(path: Path) -> str:
        with pytest.raises(ConfigFileError) as caught:
            read_trusted(path)
        assert caught.value.hint
        return caught.value.problems[0].message

    return refused


def test_a_file_of_ours_is_read(file: Path) -> None:
    """Its content comes as it is, by the path, by a relative one, and by links of ours."""
    link = file.parent / "link.yaml"
    link.symlink_to("a.yaml")
    folder = file.parent.parent / "linked"
    folder.symlink_to(file.parent)
    for path in (file, link, folder / "link.yaml", file.parent / ".." / "schemes.d" / "a.yaml"):
        assert read_trusted(path) == b"action: stat\n"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(file: Path, refused: Refused, mode: int) -> None:
    """One bit for group or others is enough."""
    file.chmod(mode)
    assert refused(file) == "it can be written by others than its owner"


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_folder_that_others_can_write_is_refused(file: Path, refused: Refused, mode: int) -> None:
    """They could put another file there, or another folder further up."""
    file.parent.chmod(mode)
    assert refused(file) == f"{file.parent} can be written by others than its owner"
    file.parent.chmod(0o755)
    file.parent.parent.chmod(mode)
    assert refused(file) == f"{file.parent.parent} can be written by others than its owner"


def test_a_sticky_folder_is_fine_on_the_way(file: Path, refused: Refused) -> None:
    """In a folder such as /tmp only the owner can rename what is there; it is no place for scheme files itself."""
    file.parent.chmod(0o1777)
    assert read_trusted(file)
    with pytest.raises(ConfigFileError, match="can be written by others"):
        trusted_names(file.parent)
    file.parent.parent.chmod(0o1777)
    file.parent.chmod(0o755)
    assert trusted_names(file.parent) == ["a.yaml"]


@as_root
def test_a_file_of_another_user_is_refused(file: Path, refused: Refused) -> None:
    """Who owns a file can write it whatever its mode says."""
    os.chown(file, NOBODY, NOBODY)
    assert refused(file) == f"it belongs to user {NOBODY}, not to root or to us"


@as_root
def test_a_folder_of_another_user_is_refused(file: Path, refused: Refused) -> None:
    """So can who owns the folder."""
    os.chown(file.parent, NOBODY, NOBODY)
    assert refused(file) == f"{file.parent} belongs to user {NOBODY}, not to root or to us"
    with pytest.raises(ConfigFileError, match=f"it belongs to user {NOBODY}"):
        trusted_names(file.parent)


@as_root
def test_a_link_of_another_user_is_refused(file: Path, refused: Refused) -> None:
    """Even to a file of ours: they could choose which."""
    link = file.parent / "link.yaml"
    link.symlink_to(file)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert refused(link) == f"it belongs to user {NOBODY}, not to root or to us"


def test_what_a_link_leads_to_is_looked_at(file: Path, refused: Refused, tmp_path: Path) -> None:
    """A good link to a file that others can write, or through such a folder, is no better than the file."""
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    target = open_folder / "b.yaml"
    target.write_text("action: stat")
    target.chmod(0o644)
    link = file.parent / "link.yaml"
    link.symlink_to("../open/b.yaml")
    assert read_trusted(link)
    open_folder.chmod(0o777)
    assert refused(link) == f"{open_folder} can be written by others than its owner"


def test_what_is_no_file_is_refused(file: Path, refused: Refused) -> None:
    """Links in a circle, folders, pipes and devices are told and never opened for reading."""
    loop, pipe, device = (file.parent / name for name in ("loop", "pipe", "device"))
    loop.symlink_to("loop")
    os.mkfifo(pipe, 0o600)
    device.symlink_to("/dev/zero")
    assert refused(loop) == "is a link to itself"
    assert refused(file.parent) == "is a directory"
    assert refused(pipe) == "is not a regular file"
    assert "is not a regular file" in refused(device) or "others" in refused(device)
    assert refused(file.parent / "none.yaml") == "does not exist"
    with pytest.raises(ConfigFileError, match="Not a directory"):
        read_trusted(file / "below.yaml")


def test_a_file_swapped_for_a_link_is_not_followed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at is what is read, also when another file takes its name in that moment."""
    evil = file.parent / "evil.yaml"
    evil.write_bytes(b"action: pageout\n")
    real_fstat = os.fstat

    def swap_then_fstat(fd: int) -> os.stat_result:
        status = real_fstat(fd)
        if status.st_ino == inode and evil.exists():
            evil.replace(file)
        return status

    inode = file.stat().st_ino
    monkeypatch.setattr(os, "fstat", swap_then_fstat)
    assert read_trusted(file) == b"action: stat\n"
    monkeypatch.undo()
    assert read_trusted(file) == b"action: pageout\n"


def test_no_descriptor_stays_open(file: Path, refused: Refused) -> None:
    """Neither reading nor refusing costs a descriptor."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        read(file)
        read_trusted(file)
        refused(file.parent / "none.yaml")
        trusted_names(file.parent)
        file.chmod(0o666)
        refused(file)
        file.chmod(0o644)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    """That is how most machines are, and no error."""
    assert trusted_names(tmp_path / "none") is None
