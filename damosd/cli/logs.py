# SPDX-License-Identifier: GPL-2.0-only
"""Logs: structlog to stderr, coloured on a terminal and logfmt elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog


def configure(*, verbose: bool) -> None:
    """Send log events to stderr, those of debug level only when `verbose`."""
    terminal = sys.stderr.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)
        if terminal
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
