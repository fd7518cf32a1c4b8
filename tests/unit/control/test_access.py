# SPDX-License-Identifier: GPL-2.0-only
"""Who may what, and what the socket's file says of it."""

from __future__ import annotations

import grp
import os
import socket
from types import SimpleNamespace

import pytest

from damosd.control.access import Access, Right
from damosd.linux.peer import Peer, peer_of

GID = 990
OTHERS = os.geteuid() + 1


@pytest.mark.parametrize("readers_all", [False, True])
@pytest.mark.parametrize("gid", [None, GID])
def test_who_may_do_all(readers_all: bool, gid: int | None) -> None:
    """Root, whoever runs the daemon, and members of the group if there is one."""
    access = Access(readers_all, gid)
    rest = Right.READ if readers_all else Right.NOTHING
    assert access.right_of(Peer(1, 0, frozenset({0}))) is Right.ALL
    assert access.right_of(Peer(1, os.geteuid(), frozenset({1}))) is Right.ALL
    assert access.right_of(Peer(1, OTHERS, frozenset({1, GID}))) is (Right.ALL if gid else rest)
    assert access.right_of(Peer(1, OTHERS, frozenset({1, 2}))) is rest


@pytest.mark.parametrize(
    ("access", "mode"),
    [(Access(), 0o600), (Access(gid=GID), 0o660), (Access(readers_all=True), 0o666), (Access(True, GID), 0o666)],
)
def test_the_mode_of_the_file(access: Access, mode: int) -> None:
    """Whoever may do nothing is not let in."""
    assert access.mode == mode


def test_the_group_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called damosd, and need not be there."""

    def known(name: str) -> SimpleNamespace:
        assert name == "damosd"
        return SimpleNamespace(gr_gid=GID)

    def unknown(name: str) -> SimpleNamespace:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", known)
    assert Access.of_machine(readers_all=True) == Access(readers_all=True, gid=GID)
    monkeypatch.setattr(grp, "getgrnam", unknown)
    assert Access.of_machine() == Access(readers_all=False, gid=None)


def test_the_peer_is_this_process() -> None:
    """As it connected to itself."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours) == Peer(os.getpid(), os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))
