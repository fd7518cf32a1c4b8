# SPDX-License-Identifier: GPL-2.0-only
"""How signals become exceptions, and how they wait."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bench.lab.signals import held, unwinding

if TYPE_CHECKING:
    from collections.abc import Iterator

END = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Fail a test that changes what signals do after it."""
    before = [signal.getsignal(number) for number in END]
    yield
    assert [signal.getsignal(number) for number in END] == before


def test_sigterm_ends_by_an_exception_that_cleans_up() -> None:
    """SystemExit with the shell's exit code for it."""
    with pytest.raises(SystemExit) as ended, unwinding():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM


def test_sigint_ends_by_the_usual_exception() -> None:
    """KeyboardInterrupt, as without us."""
    with pytest.raises(KeyboardInterrupt), unwinding():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("second", END)
def test_a_second_signal_does_not_disturb_the_clean_up(second: signal.Signals) -> None:
    """Impatience must not leave swap behind."""
    steps = []

    def clean_up() -> None:
        signal.raise_signal(second)
        steps.append("cleaned up")

    def interrupted() -> None:
        with unwinding(), ExitStack() as stack, unwinding():
            stack.callback(clean_up)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["cleaned up"]


def test_a_held_signal_comes_when_the_step_is_done() -> None:
    """Not before, and not never."""
    steps = []

    def interrupted() -> None:
        with unwinding(), held():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["done"]
