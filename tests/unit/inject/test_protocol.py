# SPDX-License-Identifier: GPL-2.0-only
"""Messages between the daemon and the helper."""

from __future__ import annotations

import pytest

from damosd.inject.protocol import MAX_CALLS, MAX_MESSAGE, Call, Reply, Request

LARGE = Call((1 << 47) - 4096, (1 << 47) - 4096, 26)


@pytest.mark.parametrize("unprotected", [False, True])
@pytest.mark.parametrize("calls", [(), (Call(4096, 8192, 14),), (LARGE,) * MAX_CALLS])
def test_a_request_arrives_as_it_was(calls: tuple[Call, ...], unprotected: bool) -> None:
    """And fits into one message."""
    request = Request(4194303, calls, unprotected)
    message = request.encode()
    assert Request.decode(message) == request
    assert all(isinstance(call, Call) for call in Request.decode(message).calls)
    assert len(message) <= MAX_MESSAGE


@pytest.mark.parametrize("refused", ["", 'it is "stopped"\n', "\u00e4\udcff"])
@pytest.mark.parametrize("last", [False, True])
def test_a_reply_arrives_as_it_was(refused: str, last: bool) -> None:
    """Whatever the reason is made of."""
    reply = Reply((0, -12) * 8, refused, 123456, last)
    assert Reply.decode(reply.encode()) == reply
    assert len(reply.encode()) <= MAX_MESSAGE
