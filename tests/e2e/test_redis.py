# SPDX-License-Identifier: GPL-2.0-only
"""The demo's Redis: filled, under load where it should be, and gone afterwards."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.lab.redis import VALUE_BYTES, Redis, key, value
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server"),
]

KEYS = 2000
HOT_KEYS = 200


@pytest.fixture
def redis() -> Iterator[Redis]:
    """Run a small one, filled."""
    with Redis() as server:
        for _ in server.fill(KEYS):
            pass
        yield server


def test_every_key_holds_what_is_its_own(redis: Redis) -> None:
    """As many keys as asked for, each with another value of the same size."""
    assert redis.call(b"DBSIZE") == b"%d" % KEYS
    assert redis.damaged(range(KEYS)) == 0
    assert {len(value(number)) for number in range(KEYS)} == {VALUE_BYTES}
    assert len({value(number) for number in range(KEYS)}) == KEYS


def test_damage_is_found(redis: Redis) -> None:
    """A changed value, a missing key, and another key's value."""
    redis.call(b"SETRANGE", key(5), b"100", b"?")
    redis.call(b"DEL", key(6))
    redis.call(b"SET", key(7), value(8))
    assert redis.damaged(range(10)) == 3


def test_the_load_reads_the_first_keys_and_no_others(redis: Redis) -> None:
    """By Redis's own clock, the first keys were just read and all others were not."""
    time.sleep(3)
    before = redis.commands_done()
    with redis.load(HOT_KEYS) as load:
        time.sleep(1)
        assert load.poll() is None
        done = redis.commands_done() - before
    idle = [int(redis.call(b"OBJECT", b"IDLETIME", key(number)) or 0) for number in range(KEYS)]
    assert done > 10 * HOT_KEYS
    assert max(idle[:HOT_KEYS]) <= 1
    assert min(idle[HOT_KEYS:]) >= 3


def test_it_is_private(redis: Redis) -> None:
    """It listens on no port, saves nothing and reads no configuration."""
    server = redis.info("server")
    assert (server["tcp_port"], server["config_file"]) == ("0", "")
    assert redis.info("persistence")["aof_enabled"] == "0"


def test_nothing_is_left_of_it() -> None:
    """Neither processes nor files, also when the load still runs."""
    with Redis() as redis, redis.load(1) as load:
        processes = [psutil.Process(redis.pid), psutil.Process(load.pid)]
        directory = redis.socket.parent
        assert directory.is_dir()
    assert not any(process.is_running() for process in processes)
    assert not directory.exists()


def test_a_server_that_dies_is_told(redis: Redis) -> None:
    """An error of ours, not one of sockets."""
    psutil.Process(redis.pid).kill()
    with pytest.raises(UnavailableError, match="Redis has gone"):
        redis.call(b"PING")


def test_an_error_of_the_server_is_told(redis: Redis) -> None:
    """In its own words."""
    with pytest.raises(UnavailableError, match="unknown command"):
        redis.call(b"NONSENSE")


def test_a_server_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the last line of its log."""
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho no can do\nexit 1\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UnavailableError, match="no can do"), Redis():
        pass


def test_a_missing_program_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be installed."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError) as error, Redis():
        pass
    assert error.value.hint == "apt-get install redis-server"
