# SPDX-License-Identifier: GPL-2.0-only
"""What tests of the inject helper have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.inject import injection
from damosd.inject.client import Injector, Reply
from damosd.inject.helper import Helper
from damosd.linux.pidfd import Pidfd
from kernel.programs import Program, advice, advised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.inject.protocol import Call

_TRIES = 20
_LONG_S = 30.0
_LATE = ("did not stop in time", "took too long", "the inject helper has died")


def patient_helper() -> Helper:
    """Return a helper for a forked child, without limits of time: those are for machines that are not busy."""
    injection._ENOUGH_S = injection.MAX_HELD_S = injection._MAX_WAIT_S = _LONG_S
    return Helper()


def ask(injector: Injector, pid: int, calls: Sequence[Call]) -> Reply:
    """Have calls made; again when a busy machine was too slow for the helper's limits."""
    for _ in range(_TRIES):
        with Pidfd(pid) as pidfd:
            reply = injector.run(pidfd, calls)
        if not reply.refused.endswith(_LATE):
            break
    return reply


def works_in(program: Program, injector: Injector) -> None:
    """Check that advice is given in the program, and that it goes on."""
    first, second = advice(program.start, 2)
    for calls in ((first, second), (first._replace(advice=second.advice), second._replace(advice=first.advice))):
        assert ask(injector, program.pid, calls) == Reply((0, 0), held_us=Whatever())
        for call, flag in zip(calls, ("hg", "nh") if calls[0] is first else ("nh", "hg"), strict=True):
            assert advised(program.pid, call.start) & {"hg", "nh"} == {flag}
    assert program.ask() == "ok"


def refused_by(program: Program, injector: Injector) -> str:
    """Return why the program is not acted on; check that nothing was done to it."""
    reply = ask(injector, program.pid, advice(program.start))
    assert reply.results == ()
    assert reply.refused
    return reply.refused


class Whatever(int):
    """A number that is equal to any."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__
