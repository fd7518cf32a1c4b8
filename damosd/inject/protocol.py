# SPDX-License-Identifier: GPL-2.0-only
"""What the daemon and the inject helper say to each other: one JSON object a message, on a SOCK_SEQPACKET pair.

A request carries two descriptors of the target, its pidfd and its directory in /proc, so that neither side ever goes by
a number that may have been used again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

MAX_CALLS = 16
"""How many calls are made in one stop, at most."""
MAX_MESSAGE = 16384


class Call(NamedTuple):
    """One madvise(2): byte address and size, multiples of the page size, and the MADV_* value."""

    start: int
    size: int
    advice: int


@dataclass(frozen=True, slots=True)
class Request:
    """Calls to make in process `pid`; `unprotected`: also where it might not survive the helper's death."""

    pid: int
    calls: tuple[Call, ...]
    unprotected: bool = False

    def encode(self) -> bytes:
        """Return the message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> Request:
        """Read a message."""
        data = json.loads(message)
        return cls(data["pid"], tuple(Call(*call) for call in data["calls"]), data["unprotected"])


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request.

    `results`: for each call 0, or the negative errno that the kernel gave; fewer than asked for, but one at least, when
    they took long, or when it ended early: then `refused` tells why, in words. `held_us`: how long the target's thread
    was stopped. `last`: the helper ends after it.
    """

    results: tuple[int, ...] = ()
    refused: str = ""
    held_us: int = 0
    last: bool = False

    def encode(self) -> bytes:
        """Return the message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> Reply:
        """Read a message."""
        data = json.loads(message)
        return cls(tuple(data["results"]), data["refused"], data["held_us"], data["last"])
