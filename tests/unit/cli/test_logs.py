# SPDX-License-Identifier: GPL-2.0-only
"""Where logs go to decides how they look."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = r"""
import structlog
from damosd.cli.logs import configure
configure(verbose=False)
log = structlog.get_logger()
log.debug("not shown")
log.info("scheme\nacts", target='a"b', name="\x1b[31m\udcff\n<0>fake", pid=42, size=1 << 60, ratio=0.5)
log.warning("second", missing=None, pids=[1, 2])
try:
    1 / 0
except ZeroDivisionError:
    log.exception("third")
log.critical("fourth")
"""


def run(*, journal: bool = False, wrong: bool = False) -> list[str]:
    """Return the lines that a program logs into a pipe, which is the stream to the journal, or the wrong one."""
    read_fd, write_fd = os.pipe()
    there = os.fstat(write_fd)
    stream = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + wrong}"} if journal else {}
    environ = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"} | stream | {"LC_ALL": "C"}
    with os.fdopen(read_fd, "rb") as output:
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=write_fd, env=environ, check=True)
        os.close(write_fd)
        return output.read().decode("ascii").splitlines()


def test_into_the_journal() -> None:
    """Each event is one line: its priority for the journal, and JSON that gives back what was logged."""
    lines = run(journal=True)
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>", "<2>"]
    events: list[dict[str, Any]] = [json.loads(line[3:]) for line in lines]
    assert list(events[0])[:2] == ["event", "level"]
    assert events[0].pop("timestamp").endswith("Z")
    assert events[0] == {
        "event": r"scheme\nacts",
        "level": "info",
        "target": 'a"b',
        "name": r"\x1b[31m\xff\n<0>fake",
        "pid": 42,
        "size": 1 << 60,
        "ratio": 0.5,
    }
    assert (events[1]["missing"], events[1]["pids"]) == (None, [1, 2])
    assert "ZeroDivisionError" in events[2]["exception"]


@pytest.mark.parametrize("wrong", [False, True])
def test_elsewhere(wrong: bool) -> None:
    """Without the variable, or when stderr was redirected since it was set, each event is one line of logfmt."""
    lines = run(journal=wrong, wrong=wrong)
    assert len(lines) == 4
    assert lines[0].startswith("timestamp=")
    assert r"level=info event=scheme\nacts " in lines[0]
    assert all(line.isprintable() for line in lines)


def test_on_a_terminal() -> None:
    """Each event is one line, and no control sequence is but those of our own colours."""
    main_fd, terminal_fd = pty.openpty()
    environ = os.environ | {"NO_COLOR": "1", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=terminal_fd, env=environ, check=True)
    os.close(terminal_fd)
    text = b""
    try:
        while part := os.read(main_fd, 65536):
            text += part
    except OSError:  # the other end has gone, and all was read
        os.close(main_fd)
    lines = text.decode().splitlines()
    assert "[info" in lines[0]
    assert r"\x1b[31m" in lines[0]
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if "fake" in line] == lines[:1]


def test_a_limit() -> None:
    """What runs for long is limited, and the tally of a program that ends is not lost."""
    program = (
        "import structlog; from damosd.cli.logs import configure; from damosd.report.ratelimit import RateLimit\n"
        "limit = RateLimit(); configure(verbose=False, limit=limit); log = structlog.get_logger()\n"
        "for _ in range(100): log.info('late', target='web')\n"
        "limit.tell(log, all_of_it=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 11
    assert 'event="more of the same was left out"' in lines[-1]
    assert "of=late target=web times=90" in lines[-1]
