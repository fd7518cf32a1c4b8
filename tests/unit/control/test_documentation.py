# SPDX-License-Identifier: GPL-2.0-only
"""What docs/control.md says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.control.commands import COMMANDS
from damosd.control.protocol import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.control import NotedDaemon
    from support.talking import Talker

DOC = (Path(__file__).parents[3] / "docs" / "control.md").read_text(encoding="utf-8")
ROWS = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|(.*?)\|", re.MULTILINE)


def test_every_command_and_argument() -> None:
    """Those that there are, and which of them must be given."""
    told: dict[str, dict[str, bool]] = {}
    for names, arguments in ROWS.findall(DOC[DOC.index("## The protocol") :]):
        given = {name: bool(bold) for bold, name in re.findall(r"(\*\*)?`([a-z_]+)`", arguments)}
        for choice in ("status", "regions"):  # of what one subscribes to
            given.pop(choice, None)
        told |= dict.fromkeys(re.findall(r"`(.*?)`", names), given)
    assert told == {
        name: {argument.name: argument.required for argument in command.arguments.all}
        for name, command in COMMANDS.items()
    }


def test_the_requests(connect: Callable[[], Talker], noted: NotedDaemon) -> None:
    """They are answered as it says."""
    requests = re.findall(r'\{"version": 1, "id": \d+, "command".*?\}\}', DOC)
    assert len(requests) == 2
    for line in requests:
        assert parse_request(line.encode()).command in COMMANDS
    talker = connect()
    talker.send(f"{requests[0]}\n".encode())
    assert talker.line() == json.loads('{"version": 1, "id": 7, "ok": true, "result": null}')
    assert '{"version": 1, "id": 7, "ok": true, "result": null}' in DOC
    assert noted.calls == [("pause", "cache")]
