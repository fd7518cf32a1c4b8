# SPDX-License-Identifier: GPL-2.0-only
"""Where the control socket is."""

from __future__ import annotations

import os
from pathlib import Path

from damosd.errors import UsageError

DEFAULT_PATH = Path("/run/damosd/control.sock")
VARIABLE = "DAMOSD_SOCKET"
_MAX_PATH_BYTES = 107  # struct sockaddr_un, without the byte that ends it


def default_path() -> Path:
    """Return where the socket is when nobody says so: $DAMOSD_SOCKET, or /run/damosd/control.sock."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_PATH)


def check_path(path: Path) -> None:
    """Raise UsageError where no socket can be at `path`."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise UsageError(
            f"the path of the control socket is longer than {_MAX_PATH_BYTES} bytes: {path}",
            hint=f"the usual one is {DEFAULT_PATH}",
        )
    if "\0" in str(path):
        raise UsageError("the path of the control socket has a zero byte", hint=f"the usual one is {DEFAULT_PATH}")
