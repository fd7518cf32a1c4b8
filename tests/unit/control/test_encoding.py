# SPDX-License-Identifier: GPL-2.0-only
"""Results become JSON part by part."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.control import regions_of_process
from support.daemon_status import daemon, scheme, target

from damosd.control.encoding import Encoding, encode
from damosd.report.status import SchemeOnTarget

MANY = tuple(SchemeOnTarget(pid, 1, 2, 3, 4) for pid in range(300))


@pytest.mark.parametrize(
    "result",
    [
        daemon(target(schemes=tuple(scheme(f"scheme{number}") for number in range(20)))),
        daemon(*(target(f"target{number}") for number in range(200))),
        daemon(target(schemes=(scheme(targets=MANY),))),
        [regions_of_process(100_000)],
    ],
)
def test_no_part_takes_long(result: object) -> None:
    """However many targets, schemes, processes or regions there are: a part is at most some thousand numbers."""
    whole, part = len(encode(result)), 0
    encoding = Encoding(result)
    while encoding.text is None:
        before = sum(map(len, encoding._made))
        encoding.advance()
        part = max(part, sum(map(len, encoding._made)) - before)
    assert part < min(whole / 4, 64 << 10)
    assert encoding.text == encode(result)


@pytest.mark.parametrize("result", [None, {}, {"a": [1, "b"]}, [], [1, 2], list(range(10_000)), ["a", "\x1b"], True])
def test_plain_results(result: Any) -> None:
    """They are as they were."""
    assert json.loads(encode(result)) == result
