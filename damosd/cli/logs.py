# SPDX-License-Identifier: GPL-2.0-only
"""Logs: structlog to stderr, coloured on a terminal, as JSON into the journal and logfmt elsewhere."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from damosd.report.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from damosd.report.ratelimit import RateLimit

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_FIRST = ("event", "level")


def configure(*, verbose: bool, limit: RateLimit | None = None) -> None:
    """Send log events to stderr, those of debug level only when `verbose`, and no more of a kind than `limit` allows.

    A command that somebody has given tells all; what runs for long has a limit.
    """
    terminal = sys.stderr.isatty()
    journal = _is_journal(sys.stderr, os.environ)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            harmless,
            *([limit] if limit else []),
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
            _renderer(terminal=terminal, journal=journal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether `stream` is the one to the journal that JOURNAL_STREAM names: whoever redirects it gets no JSON."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def _for_journal(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return a line of JSON with its priority before it, as sd-daemon(3) has it."""
    ordered = {key: event[key] for key in _FIRST if key in event} | dict(event)
    return f"<{_PRIORITIES.get(str(event.get('level')), 6)}>{json.dumps(ordered)}"


def _renderer(*, terminal: bool, journal: bool) -> Callable[..., Any]:
    if terminal:
        return structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback
        )
    return _for_journal if journal else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
