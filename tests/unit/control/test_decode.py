# SPDX-License-Identifier: GPL-2.0-only
"""Answers become what they were made of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.control import regions_of_process
from support.daemon_status import daemon, process, scheme, target

from damosd.control import decode
from damosd.control.controlled import Explained, Reloaded
from damosd.control.encoding import encode
from damosd.errors import ControlError
from damosd.report.status import SchemeOnTarget


@pytest.mark.parametrize(
    "status",
    [
        daemon(),
        daemon(disabled=()),
        daemon(*(target(f"target{number}") for number in range(20))),
        daemon(target(schemes=(scheme(targets=tuple(SchemeOnTarget(pid, 1, 2, 3, 4) for pid in range(300))),))),
        replace(daemon(), targets=()),
        daemon(target("a", paused=True), target("b", targets=(process(cost=None),), schemes=(scheme(guard=None),))),
    ],
)
def test_a_status_comes_back(status: object) -> None:
    """All of it."""
    assert decode.daemon_status(json.loads(encode(status))) == status


def test_the_others_come_back() -> None:
    """Columns as lists, texts as tuples."""
    found = [regions_of_process(), regions_of_process(1), regions_of_process(0), regions_of_process(10_000)]
    assert decode.regions(json.loads(encode(found))) == found
    told = [Explained("a", 1, "b", ("c",)), Explained("a", 1, "b", ())]
    assert decode.explained(json.loads(encode(told))) == told
    outcome = Reloaded(ok=False, problems=("a", "b"))
    assert decode.reloaded(json.loads(encode(outcome))) == outcome


def test_a_newer_daemon_tells_more() -> None:
    """What we do not know is left out."""
    content = json.loads(encode(daemon()))
    content["mood"] = "good"
    content["targets"][0]["status"]["schemes"][0]["mood"] = "bad"
    assert decode.daemon_status(content) == daemon()


@pytest.mark.parametrize("result", [None, [], {}, {"targets": 1}, {"configuration": {}, "targets": [{}]}, "x"])
def test_what_is_no_status(result: object) -> None:
    """It is an error of ours."""
    with pytest.raises(ControlError, match="answer to status cannot be understood"):
        decode.daemon_status(result)
