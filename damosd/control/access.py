# SPDX-License-Identifier: GPL-2.0-only
"""Who may ask what of the daemon."""

from __future__ import annotations

import grp
import os
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damosd.linux.peer import Peer

GROUP = "damosd"


class Right(IntEnum):
    """What somebody may do: each includes those before it."""

    NOTHING = 0
    READ = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class Access:
    """Root, whoever runs the daemon and members of `group` may do all; others may read figures if `readers_all`.

    `gid` is the group's number, None where there is no such group.
    """

    readers_all: bool = False
    gid: int | None = None

    @classmethod
    def of_machine(cls, *, readers_all: bool = False) -> Access:
        """Return what holds on this machine, whose group is called damosd."""
        try:
            gid = grp.getgrnam(GROUP).gr_gid
        except KeyError:
            gid = None
        return cls(readers_all, gid)

    def right_of(self, peer: Peer) -> Right:
        """Return what `peer` may do."""
        if peer.uid in (0, os.geteuid()) or self.gid in peer.gids:
            return Right.ALL
        return Right.READ if self.readers_all else Right.NOTHING

    @property
    def mode(self) -> int:
        """The socket's permissions: whoever may do nothing cannot even connect."""
        if self.readers_all:
            return 0o666
        return 0o600 if self.gid is None else 0o660
