# SPDX-License-Identifier: GPL-2.0-only
"""The subcommands that ask the daemon."""

from __future__ import annotations

import itertools
import json
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.control import NotedDaemon, regions_of_process, served
from support.daemon_status import daemon, process, scheme, target

from damosd.cli.main import main
from damosd.control.client import Client
from damosd.control.controlled import Reloaded
from damosd.errors import ConfigError, PrivilegeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOSTILE = os.fsdecode(b'a\n\xff\x1b]0;x\x07"},{')
EVERY = [
    ["status"],
    ["regions"],
    ["explain"],
    ["tune", "cache", "--aggr", "1s"],
    ["pause"],
    ["resume"],
    ["reload"],
    ["stop"],
    ["schemes", "live"],
    ["schemes", "enable", "prcl"],
    ["schemes", "disable", "prcl"],
    ["schemes", "quota", "prcl", "--size", "1G"],
    ["schemes", "feed", "prcl", "1"],
]


@pytest.fixture
def noted() -> NotedDaemon:
    """What is asked."""
    return NotedDaemon()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the subcommands look for a daemon."""
    path = tmp_path / "control.sock"
    monkeypatch.setenv("DAMOSD_SOCKET", str(path))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a subcommand: its exit code, and what it writes to stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


@pytest.fixture
def damosd(path: Path, noted: NotedDaemon, run: Callable[..., tuple[int, str, str]]) -> Iterator[Any]:
    """Return the same function, while a daemon runs."""
    with served(path, noted):
        yield run


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["regions", "cache", "--pid", "42"], ("regions", "cache", 42)),
        (["explain", "cache", "--scheme", "prcl"], ("explain", "cache", None, "prcl")),
        (
            ["tune", "cache", "--sample", "20ms", "--aggr", "1s", "--update", "2s"],
            ("tune", "cache", {"sample_us": 20_000, "aggr_us": 1_000_000, "update_us": 2_000_000}),
        ),
        (
            ["tune", "cache", "--min-regions", "10", "--max-regions", "20"],
            ("tune", "cache", {"min_nr_regions": 10, "max_nr_regions": 20}),
        ),
        (["pause"], ("pause", None)),
        (["pause", "cache"], ("pause", "cache")),
        (["resume", "cache"], ("resume", "cache")),
        (["reload"], ("reload",)),
        (["stop"], ("stop",)),
        (["schemes", "enable", "prcl"], ("enable", "prcl", True)),
        (["schemes", "disable", "prcl"], ("enable", "prcl", False)),
        (
            ["schemes", "quota", "prcl", "--size", "10M", "--time", "10ms", "--reset", "1s"],
            ("set_quota", "prcl", {"sz_bytes": 10 << 20, "time_ms": 10, "reset_interval_ms": 1000}),
        ),
        (["schemes", "quota", "prcl", "--size", "0"], ("set_quota", "prcl", {"sz_bytes": 0})),
        (["schemes", "feed", "prcl", "7"], ("feed", "prcl", 7, None)),
        (["schemes", "feed", "prcl", "7", "--goal", "0"], ("feed", "prcl", 7, 0)),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_asked(damosd: Any, noted: NotedDaemon, words: list[str], call: tuple[Any, ...], as_json: bool) -> None:
    """It is what the options say, in the units of the protocol, and there is always something to read."""
    code, out, err = damosd(*words, *(["--json"] if as_json else []))
    assert (code, err) == (0, "")
    assert noted.calls == [call]
    assert out
    if as_json:
        assert json.loads(out)["schema"] == 1


@pytest.mark.parametrize("words", EVERY)
def test_no_daemon(path: Path, run: Any, words: list[str]) -> None:
    """It is told where there is none, and how to start it; the exit code is 3."""
    code, out, err = run(*words)
    assert (code, out) == (3, "")
    assert f"no daemon listens at {path}" in err
    assert "hint: start it" in err
    assert run(*words, "--socket", f"{path}.other")[2].startswith(f"damosd: no daemon listens at {path}.other")


@pytest.mark.parametrize("words", EVERY)
@pytest.mark.parametrize(
    ("failure", "code"), [(UsageError("x"), 2), (PrivilegeError("x"), 4), (ConfigError("x"), 78), (ValueError("x"), 1)]
)
def test_what_the_daemon_refuses(
    damosd: Any, noted: NotedDaemon, words: list[str], failure: Exception, code: int
) -> None:
    """The exit code says of which kind it is."""
    noted.failure = failure
    done, out, err = damosd(*words, "--json")
    assert (done, out) == (code, "")
    assert err.startswith("damosd: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tune", "cache"], "nothing is to be changed"),
        (["tune", "cache", "--sample", "soon"], "--sample: 'soon' is not a time"),
        (["schemes", "quota", "prcl"], "no limit is given"),
        (["schemes", "quota", "prcl", "--size", "big"], "--size: 'big' is not a size"),
        (["schemes", "quota", "prcl", "--time", "1us"], "--time: 1 us is not a whole number of milliseconds"),
        (["status", "--interval", "1s"], "--interval is for --watch"),
        (["status", "--watch", "--interval", "1ms"], "--interval: 1 ms is too short"),
        (["regions", "cahce"], "there is no target 'cahce'"),
        (["regions", "--pid", "0"], "'pid' of regions is 0"),
        (["pause", "x\x1b[31m"], "'target' of pause is 'x\\x1b[31m'"),
        (["schemes", "feed", "prcl", "-1"], "'value' of feed is -1"),
    ],
)
def test_what_cannot_be(damosd: Any, words: list[str], told: str) -> None:
    """It is told by our side or by the daemon, with exit code 2."""
    code, out, err = damosd(*words)
    assert (code, out) == (2, "")
    assert told in err


def test_status(damosd: Any, noted: NotedDaemon) -> None:
    """Targets with their processes, schemes with their state, and what there is to say."""
    noted.figures = daemon(
        target("cache"),
        target("batch", paused=True, targets=(), schemes=(scheme("thp", action="hugepage", guard=None),)),
        target("java", targets=(process(77, alive=False),), schemes=(scheme("cold", inactive="no swap"),)),
    )
    code, out, _ = damosd("status")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(
        "damosd 0.1.0, pid 7, for 3 m 20 s: 0.70 % of one CPU (1.50 % since the start), 60.0 MiB"
    )
    rows = [line.split() for line in lines]
    assert ["cache", "42", "400.0", "MiB", "30.0", "MiB", "25", "redis-server"] in rows
    assert ["batch", "-", "paused"] in rows
    assert ["java", "77", "redis-server", "ended"] in rows
    assert "refused: no lru_prio" in out
    states = {tuple(row[:2]): " ".join(row[11:]) for row in rows if row[1:2] in (["cache"], ["batch"], ["java"])}
    assert "EINVAL held back by its guard: tried again in 18 s" in states["prcl", "cache"]
    assert states["thp", "batch"].endswith("EINVAL disabled")
    assert states["cold", "java"].endswith("EINVAL inactive: no swap")
    assert "cache: 5 of 2400 steps began late, the longest took 12.5 ms" in lines
    assert "cache: prcl left 7.0 MiB undone: no swap" in lines


def test_status_as_json(damosd: Any) -> None:
    """All figures."""
    told = json.loads(damosd("status", "--json")[1])
    assert told["schema"] == 1
    assert told["targets"][0]["status"]["schemes"][0]["guard"]["phase"] == "paused"


def test_a_daemon_without_targets(damosd: Any, noted: NotedDaemon) -> None:
    """It says so."""
    noted.figures = replace(daemon(), targets=())
    assert "there are no targets" in damosd("status")[1]
    noted.figures = daemon(target(schemes=(), targets=()))
    assert "scheme" not in damosd("status")[1]
    assert damosd("schemes", "live")[1] == "no scheme runs on any target\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_watching(damosd: Any, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """It goes on until Ctrl-C, which is no failure."""
    stream = Client.stream

    def until_interrupted(*args: Any, **options: Any) -> Iterator[Any]:
        yield from itertools.islice(stream(*args, **options), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "stream", until_interrupted)
    code, out, _ = damosd("status", "--watch", "--interval", "100ms", *(["--json"] if as_json else []))
    assert code == 0
    if as_json:
        assert [json.loads(line)["pid"] for line in out.splitlines()] == [7, 7, 7]
    else:
        assert out.count("damosd 0.1.0, pid 7") == 3


def test_regions(damosd: Any, noted: NotedDaemon) -> None:
    """A line for each, and what is not known looks like nothing else."""
    noted.found = [regions_of_process(), regions_of_process(1, comm=HOSTILE, max_nr_accesses=0)]
    _, out, _ = damosd("regions")
    lines = [line.split() for line in out.splitlines()]
    assert out.splitlines()[0] == "cache: redis-server(42), 3 regions, 20 samples in 100 ms"
    assert lines[1] == ["from", "to", "size", "accesses", "for"]
    assert lines[2] == ["100000", "200000", "1", "MiB", "100", "%", "0", "us", "##########"]
    assert lines[3] == ["200000", "300000", "1", "MiB", "50", "%", "100", "ms", "#####....."]
    assert lines[4] == ["300000", "400000", "1", "MiB", "?", "?", "??????????"]
    assert len(lines) == 9
    told = json.loads(damosd("regions", "--json")[1])
    assert [one["pid"] for one in told["processes"]] == [42, 42]
    noted.found = []
    assert damosd("regions")[1] == "no process is monitored\n"


def test_explain(damosd: Any) -> None:
    """Lines as the daemon made them, below what they are about."""
    assert damosd("explain")[1].splitlines() == [
        "prcl on cache, all processes",
        "  prcl leaves 3 regions",
        "  prcl acted on 1 region",
    ]
    assert damosd("explain", "--pid", "42")[1].startswith("prcl on cache, process 42\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_configuration_that_is_not_taken_over(damosd: Any, noted: NotedDaemon, as_json: bool) -> None:
    """Every mistake is told, and the exit code is 78."""
    noted.outcome = Reloaded(ok=False, problems=("a.yaml:1: bad", f"b.yaml:2: {HOSTILE}"), warnings=("old",))
    code, out, err = damosd("reload", *(["--json"] if as_json else []))
    assert code == 78
    assert err.splitlines()[0] == "damosd: mistake: a.yaml:1: bad"
    assert err.splitlines()[1].startswith("damosd: mistake: b.yaml:2: a\\n\\x")
    assert err.splitlines()[2:] == [
        "damosd: warning: old",
        "damosd: the configuration was not taken over, all goes on as before",
    ]
    assert (json.loads(out)["ok"] is False) if as_json else not out


def test_refusals_of_a_configuration_that_is_taken_over(damosd: Any, noted: NotedDaemon) -> None:
    """They are told, and are no failure."""
    noted.outcome = Reloaded(ok=True, refusals=("thp: needs huge pages",))
    code, out, err = damosd("reload")
    assert (code, err) == (0, "damosd: refused: thp: needs huge pages\n")
    assert "in force" in out


@pytest.mark.parametrize("words", [["status"], ["regions"], ["schemes", "live"], ["explain"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_names(damosd: Any, noted: NotedDaemon, words: list[str], as_json: bool) -> None:
    """They break no table, and no JSON."""
    noted.figures = daemon(target(targets=(process(comm=HOSTILE),)))
    noted.found = [regions_of_process(comm=HOSTILE)]
    code, out, _ = damosd(*words, *(["--json"] if as_json else []))
    assert code == 0
    assert all(line.isprintable() for line in out.splitlines())
    assert "\x1b" not in out
    if as_json:
        json.loads(out)


def test_live_schemes(damosd: Any, noted: NotedDaemon) -> None:
    """Those of each target, with what they do now."""
    noted.figures = daemon(
        target(schemes=(scheme("a", guard=None), scheme("thp"))), target("batch", paused=True, schemes=(scheme("a"),))
    )
    told = json.loads(damosd("schemes", "live", "--json")[1])
    assert [(one["target"], one["name"], one["now"]) for one in told["schemes"]] == [
        ("cache", "a", "runs"),
        ("cache", "thp", "disabled"),
        ("batch", "a", "paused"),
    ]
    assert told["disabled"] == ["thp"]
    assert [line.split()[:3] for line in damosd("schemes", "live")[1].splitlines()] == [
        ["scheme", "target", "action"],
        ["a", "cache", "pageout"],
        ["thp", "cache", "pageout"],
        ["a", "batch", "pageout"],
    ]


def test_something_else_listens(path: Path, run: Any) -> None:
    """What is no daemon of ours is told from none."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert run("status", "--socket", str(path.parent))[0] == 3
