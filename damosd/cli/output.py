# SPDX-License-Identifier: GPL-2.0-only
"""Writing to stdout."""

from __future__ import annotations

import io
import os
import sys

from damosd.errors import DamosdError


def say(text: str) -> None:
    """Write to stdout. Raise DamosdError where that fails, BrokenPipeError where only the reader has gone."""
    if sys.stdout is None:  # closed before we were started
        return
    try:
        if isinstance(raw := getattr(sys.stdout, "buffer", None), io.RawIOBase):  # PYTHONUNBUFFERED
            rest = memoryview(f"{text}\n".encode(errors="backslashreplace"))
            while rest:  # a signal may end a write early, and print() would leave it at that
                rest = rest[raw.write(rest) or 0 :]
        else:
            encoding = sys.stdout.encoding
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it would be tried again at the exit
        raise DamosdError(f"stdout cannot be written: {error.strerror}") from error
