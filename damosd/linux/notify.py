# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon tells its service manager: sd_notify(3), datagrams to the socket that $NOTIFY_SOCKET names.

Nothing here fails for want of a listener: a daemon runs as well without one. Nor does it wait long for a slow one.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE_S = 0.1
_STATUS_CHARS = 500


def watchdog_interval(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return within how many seconds the manager wants a sign of life again; None when it wants none of us."""
    try:
        interval_us = int(environment["WATCHDOG_USEC"])
        watched = int(environment.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return interval_us / 1e6 if interval_us > 0 and watched == os.getpid() else None


class Notifier:
    """Tells the service manager how a daemon does; without one, nobody.

    `alive` is to be called after each completed round of monitoring, and from nowhere else: then the manager starts a
    daemon anew that is there but does no work. `alive_every_s` is how long rounds may be apart, None for any time.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """Tell the socket at `address`: a path, or @ and an abstract name. `watchdog_s` as of `watchdog_interval`."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.alive_every_s = None if watchdog_s is None else watchdog_s / 2
        self._next_alive = 0.0
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    @property
    def listened_to(self) -> bool:
        """Whether there is a service manager."""
        return self._socket is not None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return one for who has started us."""
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_interval(environment))

    def ready(self, status: str) -> None:
        """Tell that the daemon works, after its start or after `reloading`."""
        self._tell(f"READY=1\n{_status(status)}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; `ready` ends that, whatever came of it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the daemon ends."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`, on one line."""
        self._tell(_status(text))

    def alive(self) -> None:
        """Give the watchdog a sign of life, if one is due: a round of monitoring is complete."""
        if self.alive_every_s is None or time.monotonic() < self._next_alive:
            return
        if self._tell("WATCHDOG=1", patience_s=0):
            self._next_alive = time.monotonic() + self.alive_every_s / 2

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _tell(self, message: str, patience_s: float = _PATIENCE_S) -> bool:
        """Send a message, and return whether it could be sent."""
        if not self._socket:
            return False
        self._socket.settimeout(patience_s)
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    """Return the line that sets the status. A line break in it would begin another assignment."""
    return "STATUS=" + "".join(one if one.isprintable() else "?" for one in text[:_STATUS_CHARS])
