# SPDX-License-Identifier: GPL-2.0-only
"""The main file: targets, and what never is one."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.config.mainfile import load_main_file
from damosd.config.problems import ConfigFileError
from damosd.config.settings import DISCOVERY_US, Settings
from damosd.targets.questions import (
    Cgroup,
    Cmdline,
    CmdlineRegex,
    Comm,
    Container,
    Exe,
    MinRss,
    Named,
    Pid,
    Pod,
    User,
)
from damosd.targets.selection import Target
from damosd.targets.selector import All, Any, Not

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.targets.selector import Selector

Load = Callable[[str], Settings]
POD = "9c1c6a27-5d7b-4a7e-8a55-0c3e1a9d2f40"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a text as the main file."""

    def load(text: str) -> Settings:
        path = tmp_path / "damosd.yaml"
        path.write_text(text)
        return load_main_file(path)

    return load


@pytest.fixture
def mistakes(load: Load, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that loads a wrong main file, and gives its mistakes as `line:column: message`."""

    def mistakes(text: str) -> list[str]:
        with pytest.raises(ConfigFileError) as caught:
            load(text)
        assert caught.value.hint
        return [line.removeprefix(f"{tmp_path / 'damosd.yaml'}:") for line in str(caught.value).splitlines()]

    return mistakes


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("pid: 42", Pid(42)),
        ("comm: redis-*", Comm("redis-*")),
        ("name: redis", Named("redis")),
        ("exe: /usr/bin/x", Exe("/usr/bin/x")),
        ("cmdline: '* -jar *'", Cmdline("* -jar *")),
        (r"cmdline_regex: a\d+$", CmdlineRegex(re.compile(r"a\d+$", re.DOTALL))),
        ("user: 4294967294", User(4294967294, "4294967294")),
        (f"user: {ME}", User(os.getuid(), ME)),
        ("cgroup: /batch/*", Cgroup("/batch/*")),
        ("cgroup: nginx.service", Cgroup("nginx.service")),
        ("container: docker://3F2a9c0d1e4b", Container("3f2a9c0d1e4b")),
        (f"pod: {POD.upper()}", Pod(POD)),
        ("min_rss_bytes: 100 MiB", MinRss(100 << 20)),
        ("comm: [a, b]", Any((Comm("a"), Comm("b")))),
        ("{comm: a, exe: b}", All((Comm("a"), Exe("b")))),
        ("and: [{comm: a}, {comm: b}]", All((Comm("a"), Comm("b")))),
        ("or: [{comm: a}, {exe: b}]", Any((Comm("a"), Exe("b")))),
        ("not: {comm: a}", Not(Comm("a"))),
        ("{comm: a, or: [{not: {user: 5}}]}", All((Comm("a"), Any((Not(User(5, "5")),))))),
        ("{comm: a, and:, or:, not:, pid:}", Comm("a")),
    ],
)
def test_selectors(load: Load, text: str, selector: Selector) -> None:
    """All keys of a mapping hold together, and of several values one; what is empty is as good as absent."""
    body = text if text.startswith("{") else f"{{{text}}}"
    assert load(f"targets: {{web: {body}}}").selection.targets == (Target("web", selector),)


def test_the_whole_file(load: Load) -> None:
    """Targets keep their order; there is a default for everything else."""
    settings = load(
        "version: 1\n"
        "discovery_interval_us: 10 s\n"
        "never: [backup-*, {user: 5}]\n"
        "targets:\n"
        "  web: {comm: web, exclude: [nginx, {pid: 7}], follow_children: yes}\n"
        "  all: {comm: '*'}\n"
    )
    assert settings.discovery_interval_us == 10_000_000
    assert settings.selection.never == (Named("backup-*"), User(5, "5"))
    assert settings.selection.targets == (
        Target("web", Comm("web"), exclude=(Named("nginx"), Pid(7)), follow_children=True),
        Target("all", Comm("*")),
    )
    assert load("targets:").discovery_interval_us == DISCOVERY_US


@pytest.mark.parametrize(
    ("target", "start"),
    [
        ("^{}", "this would be every process: write one of pid, comm"),
        ("^{follow_children: yes}", "this would be every process"),
        ("^{not:}", "this would be every process"),
        ("{comm: x, ^cgrup: y}", "unknown key 'cgrup', did you mean 'cgroup'?"),
        ("{^min_rss: 5}", "unknown key 'min_rss', did you mean 'min_rss_bytes'?"),
        ("{comm: ^[]}", "the list is empty, so that nothing can match"),
        ("{comm: [a, ^{}]}", "expected text such as 'redis-*', not a mapping"),
        ("{comm: ^{}}", "expected text such as 'redis-*', or a list of such, not a mapping"),
        ("{pid: ^0}", "'0' is no pid"),
        ("{pid: ^x}", "'x' is not a whole number"),
        ("{user: ^rooot}", "there is no user 'rooot', did you mean 'root'?"),
        ("{user: ^4294967295}", "'4294967295' is no user"),
        ("{cmdline_regex: ^'('}", "'(' is not a regular expression"),
        ("{exe: ^bin/cat}", "'bin/cat' can match no program"),
        ("{cgroup: ^nginx}", "'nginx' is no systemd unit"),
        ("{cgroup: ^a/b}", "'a/b' is no path of a cgroup"),
        ("{cgroup: ^/a/../b}", "'/a/../b' is no path of a cgroup"),
        ("{container: ^abc}", "'abc' is no id of a container"),
        ("{pod: ^abc}", "'abc' is no uid of a pod"),
        ("{min_rss_bytes: ^0}", "min_rss_bytes must be more than 0"),
        ("{min_rss_bytes: ^1 X}", "'1 X' is not a size"),
        ("{and: ^[]}", "the list is empty"),
        ("{or: ^{comm: a}}", "expected a list, not a mapping"),
        ("{or: [{comm: a}, ^{}]}", "this would be every process"),
        ("{not: {not: {^com: a}}}", "unknown key 'com', did you mean 'comm'?"),
        ("{not: ^[]}", "expected a mapping with keys from pid, comm"),
        ("{comm: a, exclude: [{user: ^nobdy}]}", "there is no user 'nobdy', did you mean 'nobody'?"),
        ('{comm: ^"a\\nb"}', r"'a\nb' is no name"),
    ],
)
def test_mistakes(mistakes: Callable[[str], list[str]], target: str, start: str) -> None:
    """Each is told at its place, with the nearest right word."""
    line = f"targets: {{web: {target}}}"
    before, after = line.split("^")
    (message,) = mistakes(before + after)
    assert message.startswith(f"1:{len(before) + 1}: {start}")


def test_all_mistakes_at_once(mistakes: Callable[[str], list[str]]) -> None:
    """Those of the file, of names of targets and of what is never one, in the file's order."""
    text = 'version: 2\ndiscovery_interval_us: 1 ms\ntarget:\n"a\\nb": 1\nnever: [{exe: a/b}, "", {user: -1}]\n'
    found = mistakes(text + 'targets:\n  " x": {comm: a}\n  y: [comm]\n  y: {}\n')
    places = [message.split(": ")[0] for message in found]
    assert places == ["1:10", "2:24", "3:1", "4:1", "5:15", "5:21", "5:32", "7:3", "8:6", "9:3"]
    assert "did you mean 'targets'?" in found[2]


@pytest.mark.parametrize("text", ["[]", "x", "- comm: a"])
def test_what_is_no_main_file(mistakes: Callable[[str], list[str]], text: str) -> None:
    """It is a mapping."""
    assert "expected a mapping with the key 'targets'" in mistakes(text)[0]
