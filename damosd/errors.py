# SPDX-License-Identifier: GPL-2.0-only
"""Every error of ours: what happened, and a hint on how to mend it.

An error also inherits the standard type it refines, so that callers may catch either.
"""

from __future__ import annotations

from typing import ClassVar


class DamosdError(Exception):
    """An error that a person can act on.

    `hint` tells what to try next, or is empty; `exit_code` is what the command line ends with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DamosdError, ValueError):
    """The command was asked for something that makes no sense."""

    exit_code = 2


class PrivilegeError(DamosdError, PermissionError):
    """The kernel refused for want of a capability, or the daemon because of who asks."""

    exit_code = 4


class DaemonNotRunningError(DamosdError, ConnectionError):
    """No daemon listens where one was asked for."""

    exit_code = 3


class ControlError(DamosdError):
    """The daemon failed to do what it was asked, or does not answer as it should."""


class ControlVersionError(ControlError):
    """The daemon does not speak our version of the control protocol."""


class ConfigError(DamosdError, ValueError):
    """A configuration or scheme file is wrong."""

    exit_code = 78


class UnavailableError(DamosdError, OSError):
    """The machine lacks something that was asked for."""


class TargetGoneError(DamosdError, ProcessLookupError):
    """The target's process has ended. Normal flow, not a failure."""


class TargetBusyError(DamosdError):
    """The process changes its own memory map, and others would have to wait for it. Later it may be done."""


class TargetRefusedError(DamosdError):
    """The process cannot be a target: a kernel thread, or it has no memory of its own."""
