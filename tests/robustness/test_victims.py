# SPDX-License-Identifier: GPL-2.0-only
"""The victims are well when they are left alone, and every one of their checks can fail."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from robustness.victims import (
    KINDS,
    RedisVictim,
    Victim,
    busy,
    check_untraced,
    corrupt,
    forker,
    has_java,
    interrupt,
    java,
    poke,
    python,
    threads,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VICTIMS = {
    "busy": busy,
    "threads": threads,
    "fork": lambda: forker("fork"),
    "exec": lambda: forker("exec"),
    "python": python,
}
# What the kernel ends with EINTR after a stop signal, handler or not (signal(7)).
SENSITIVE = ["epoll_wait", "epoll_pwait", "epoll_wait_timed", "epoll_pwait_timed", "sigtimedwait", "sigwaitinfo"]
SENSITIVE += ["recv_timed", "semtimedop"]
TIMED = KINDS[KINDS.index("nanosleep") : KINDS.index("alarm")]
GENERAL = [
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "gs_base",
]
OTHERS = ["carry", "direction", "red_zone", "mxcsr", "x87_control", "st0", "st7", "xmm0", "xmm15"]
WIDER = [["ymm0", "ymm15"], ["zmm0", "zmm15", "zmm16", "zmm31", "k0", "k7"]]


def complaint(victim: Victim) -> str:
    """Wait until it has ended with an error, and return what it said."""
    code = victim.wait()
    assert code not in (0, -signal.SIGTERM), code
    return victim.stderr()


@pytest.mark.parametrize("name", VICTIMS)
def test_left_alone_it_is_well(name: str) -> None:
    """It advances and ends with 0."""
    with VICTIMS[name]() as victim:
        victim.check_advancing()
        check_untraced(victim.pid)
        victim.finish()


@pytest.mark.skipif(not has_java(), reason="needs default-jdk-headless")
def test_java_left_alone_is_well() -> None:
    """It advances and ends with 0, for all the signals it uses itself."""
    with java() as victim:
        victim.check_advancing()
        assert victim.areas
        victim.finish()


@pytest.mark.parametrize("name", VICTIMS)
def test_changed_memory_is_noticed(name: str) -> None:
    """One bit in its areas is enough."""
    with VICTIMS[name]() as victim:
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:  # again, should it have become a new program just now
            try:
                corrupt(victim.pid, victim.areas[1][0] + 12345)
            except OSError:
                continue
            try:
                victim._process.wait(1)
            except subprocess.TimeoutExpired:
                continue
        assert "memory" in complaint(victim)


@pytest.mark.skipif(not has_java(), reason="needs default-jdk-headless")
def test_changed_memory_is_noticed_by_java() -> None:
    """Damage all over its heap does not go by."""
    with java() as victim:
        start, end = max(victim.areas, key=lambda area: area[1] - area[0])
        for address in range(start + 2048, end, 4096):
            try:
                corrupt(victim.pid, address)
            except OSError:
                break  # it has ended already
        complaint(victim)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
def test_redis_left_alone_is_well() -> None:
    """All its values are what was stored."""
    with RedisVictim() as victim:
        victim.check_advancing()
        assert victim.areas
        victim.finish()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
def test_a_changed_value_of_redis_is_noticed() -> None:
    """One value is enough."""
    with RedisVictim() as victim:
        victim._stopping.set()
        victim._client.join()
        victim._redis.call(b"SETRANGE", b"key:%012d" % 4711, b"100", b"?")
        with pytest.raises(AssertionError):
            victim.finish()


@pytest.mark.parametrize("register", [*GENERAL, *OTHERS, *WIDER[0], *WIDER[1]])
def test_a_changed_register_is_noticed(register: str) -> None:
    """One bit in any of them is enough."""
    with busy() as victim:
        if register in [one for more in WIDER[victim.about["level"] :] for one in more]:
            pytest.skip("this CPU has no such register")
        poke(victim.pid, *victim.about["spin"], register)
        assert complaint(victim)


@pytest.mark.parametrize("make", [busy, lambda: threads("read")], ids=["busy", "threads"])
def test_a_changed_signal_mask_is_noticed(make: Callable[[], Victim]) -> None:
    """A signal blocked behind its back."""
    with make() as victim:
        victim.check_advancing()
        poke(victim.pid, "mask")
        assert "signal mask" in complaint(victim)


@pytest.mark.parametrize("kind", SENSITIVE)
def test_an_interrupted_wait_is_noticed(kind: str) -> None:
    """A stop signal alone makes these end with EINTR, and they say so."""
    with threads(kind) as victim:
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:  # it may not have been waiting just then
            interrupt(victim.pid)
            time.sleep(0.02)
        assert f"{kind}: EINTR" in complaint(victim)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_a_tracer_is_noticed() -> None:
    """A debugger that comes and goes makes epoll_wait end with EINTR."""
    with threads("epoll_wait") as victim:
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:
            command = ["timeout", "-s", "INT", "0.3", "strace", "-qq", "-o", "/dev/null", "-p", str(victim.pid)]
            subprocess.run(command, check=False, capture_output=True)
        assert "epoll_wait: EINTR" in complaint(victim)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("alarm", "suspend")])
def test_eintr_is_noticed_in_every_wait(kind: str) -> None:
    """Made to return EINTR, each says so."""
    with threads(kind) as victim:
        victim.check_advancing()
        poke(victim.pid, "return", -errno.EINTR)
        assert "EINTR" in complaint(victim)


@pytest.mark.parametrize("kind", ["read", "recv", "epoll_wait", "accept", "sigwaitinfo"])
def test_a_wait_without_its_event_is_noticed(kind: str) -> None:
    """Made to return as if there were something, it does not find it."""
    with threads(kind) as victim:
        victim.check_advancing()
        poke(victim.pid, "return", 8)
        assert f"{kind}: " in complaint(victim)


@pytest.mark.parametrize("kind", TIMED)
def test_an_early_timeout_is_noticed(kind: str) -> None:
    """Made to return what it returns at the end, before that, each says so."""
    codes = {"futex_timed": errno.ETIMEDOUT, "futex_absolute": errno.ETIMEDOUT, "sem_timedwait": errno.ETIMEDOUT}
    codes |= dict.fromkeys(("sigtimedwait", "recv_timed", "semtimedop"), errno.EAGAIN)
    with threads(kind) as victim:
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:  # it may have been at the end just then
            try:
                poke(victim.pid, "return", -codes.get(kind, 0))
            except subprocess.CalledProcessError:
                break
            time.sleep(0.01)
        assert "back after" in complaint(victim)


@pytest.mark.parametrize("kind", ["nanosleep", "futex_timed", "poll_timed"])
def test_a_late_timeout_is_noticed(kind: str) -> None:
    """Held for longer than anything may take, it says so."""
    with threads(kind) as victim:
        victim.check_advancing()
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:  # it may not have been waiting just then
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(victim.pid, signal.SIGCONT)
            time.sleep(0.1)
        assert "back only after" in complaint(victim)


@pytest.mark.parametrize("kind", ["alarm", "suspend"])
def test_a_return_without_its_signal_is_noticed(kind: str) -> None:
    """EINTR without a run of the handler."""
    with threads(kind) as victim:
        victim.check_advancing()
        poke(victim.pid, "return", -errno.EINTR)
        assert complaint(victim)


def test_a_child_that_ends_badly_is_noticed() -> None:
    """One child killed is enough."""
    with forker("fork") as victim:
        deadline = time.monotonic() + 30
        while victim.alive() and time.monotonic() < deadline:
            for children in Path(f"/proc/{victim.pid}/task").glob("*/children"):
                try:
                    for child in children.read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                except (FileNotFoundError, ProcessLookupError):
                    continue
        assert "has ended with status" in complaint(victim)
