# SPDX-License-Identifier: GPL-2.0-only
"""Trials in a child process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NoReturn

import psutil

from damosd.errors import PrivilegeError
from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory, in_child

CHANGED: list[int] = []


def change_and_answer() -> Feature:
    """Change this process, and answer who did."""
    CHANGED.append(1)
    return Feature("a", works=True, detail=f"by {os.getpid()}", hint="b")


def refuse() -> NoReturn:
    """Fail as probes may."""
    raise PrivilegeError("not allowed", hint="be root")


def die() -> NoReturn:
    """End as after a fault in a C library."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hang() -> NoReturn:
    """Never answer."""
    time.sleep(600)
    raise AssertionError


def test_the_answer_comes_back_and_nothing_else() -> None:
    """The feature arrives whole, and this process is as before."""
    feature = in_child("a", change_and_answer)
    assert (feature.name, feature.works, feature.hint) == ("a", True, "b")
    assert feature.detail.startswith("by ")
    assert feature.detail != f"by {os.getpid()}"
    assert CHANGED == []


def test_an_exception_is_an_answer() -> None:
    """Its text is the detail and its hint the hint."""
    feature = in_child("a", refuse)
    assert (feature.name, feature.works, feature.hint) == ("a", False, "be root")
    assert "not allowed" in feature.detail


def test_a_crash_is_an_answer() -> None:
    """The child's end is told, and the parent goes on."""
    assert in_child("a", die) == Feature("a", works=False, detail="the trial ended with status -9")


def test_no_answer_is_an_answer() -> None:
    """The child is not waited for longer than allowed, and is gone afterwards."""
    began, children = time.monotonic(), psutil.Process().children()
    assert in_child("a", hang, timeout_s=0.1) == Feature("a", works=False, detail="no answer within 0.1 s")
    assert time.monotonic() - began < 5
    assert psutil.Process().children() == children


def test_fresh_memory_is_where_it_says() -> None:
    """The address is that of the mapping's first byte."""
    with fresh_memory(4096) as (memory, address), Path("/proc/self/mem").open("rb", buffering=0) as mine:
        memory[:4] = b"here"
        mine.seek(address)
        assert mine.read(4) == b"here"
