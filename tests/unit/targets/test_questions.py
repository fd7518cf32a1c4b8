# SPDX-License-Identifier: GPL-2.0-only
"""What can be asked about a process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.facts import Described

if TYPE_CHECKING:
    from damosd.targets.selector import Question

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

ID = "3f2a9c0d1e4b" + "0123456789abcdef" * 3 + "cafe"
POD = "9c1c6a27-5d7b-4a7e-8a55-0c3e1a9d2f40"
UNDERSCORED = POD.replace("-", "_")


def test_numbers_and_sizes() -> None:
    """They are compared as such."""
    facts = Described(pid=7, rss_bytes=4096, has_uid=33)
    assert Pid(7).matches(facts)
    assert not Pid(70).matches(facts)
    assert MinRss(4096).matches(facts)
    assert not MinRss(4097).matches(facts)
    assert User(33, "www-data").matches(facts)
    assert not User(3, "3").matches(facts)


@pytest.mark.parametrize(
    ("glob", "comm", "expected"),
    [
        ("cat", "cat", True),
        ("cat", "Cat", False),
        ("c?t", "cat", True),
        ("ca", "cat", False),
        ("c*", "c\nx", True),
        ("systemd-resolved", "systemd-resolve", True),
        ("systemd-res", "systemd-resolve", False),
        ("[ab]*", "beta", True),
    ],
)
def test_names(glob: str, comm: str, expected: bool) -> None:
    """A glob is for the whole name, of which the kernel keeps 15 characters."""
    assert Comm(glob).matches(Described(comm=comm)) is expected


def test_a_name_is_the_process_s_or_its_program_s() -> None:
    """Either will do; a program that may not be seen does not keep the other from deciding."""
    assert Named("cat").matches(Described(comm="x"))
    assert Named("x").matches(Described(comm="x"))
    assert not Named("bin").matches(Described(comm="x"))
    assert Named("cat").matches(Described(comm="x", has_exe=None)) is False


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("/opt/my app/bin/server", True),
        ("server", True),
        ("serv*", True),
        ("/opt/*", True),
        ("*/server", True),
        ("/opt", False),
        ("bin", False),
        ("/usr/*", False),
    ],
)
def test_programs(glob: str, expected: bool) -> None:
    """A path is compared as a whole, and a glob without a slash with its last step."""
    assert Exe(glob).matches(Described(has_exe="/opt/my app/bin/server")) is expected


def test_command_lines() -> None:
    """A glob is for all of it, a regular expression for a part; neither ends at a line's end."""
    facts = Described(has_cmdline="java -Xmx1g\n -jar app-2.jar")
    assert Cmdline("java*app-?.jar").matches(facts)
    assert not Cmdline("app-2.jar").matches(facts)
    assert CmdlineRegex(re.compile(r"app-\d\.jar$")).matches(facts)
    assert not CmdlineRegex(re.compile(r"^app")).matches(facts)


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("/batch", "/batch", True),
        ("/batch", "/batch/job/7", True),
        ("/batch", "/batches", False),
        ("/batch/*", "/batch", False),
        ("/batch/*", "/batch/job/7", True),
        ("/*/7", "/batch/job/7", False),
        ("/", "/anything", True),
        ("/batch/", "/batch", True),
        ("nginx.service", "/system.slice/nginx.service", True),
        ("nginx.service", "/system.slice/nginx.service/worker", True),
        ("nginx.service", "/system.slice/nginx.service.d", False),
        ("*.service", "/user.slice/user-1.slice/user@1.service/app.slice", True),
    ],
)
def test_cgroups(glob: str, path: str, expected: bool) -> None:
    """A path is for what is below it too, step by step; a name is one of its steps."""
    assert Cgroup(glob).matches(Described(has_cgroups=("/other", path))) is expected


@pytest.mark.parametrize(
    "path",
    [
        f"/system.slice/docker-{ID}.scope",
        f"/docker/{ID}",
        f"/machine.slice/libpod-{ID}.scope/container",
        f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
        f"/kubepods/besteffort/pod{POD}/{ID}",
    ],
)
def test_containers(path: str) -> None:
    """Their id is found however it is wrapped, and by its beginning."""
    facts = Described(has_cgroups=(path,))
    assert Container(ID).matches(facts)
    assert Container(ID[:12]).matches(facts)
    assert not Container(ID[1:13]).matches(facts)


@pytest.mark.parametrize(
    "path",
    [
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
        f"/kubepods/besteffort/pod{POD}/{ID}",
    ],
)
def test_pods(path: str) -> None:
    """Their uid is found in both spellings."""
    assert Pod(POD).matches(Described(has_cgroups=(path,)))
    assert not Pod(POD[:-1] + "f").matches(Described(has_cgroups=(path,)))


@pytest.mark.parametrize(
    "question",
    [
        Exe("x"),
        Cmdline("*"),
        CmdlineRegex(re.compile("")),
        User(0, "root"),
        Cgroup("/"),
        Container(ID),
        Pod(POD),
    ],
)
def test_what_may_not_be_seen(question: Question) -> None:
    """It is neither so nor otherwise."""
    facts = Described(has_uid=None, has_exe=None, has_cmdline=None, has_cgroups=None)
    assert question.matches(facts) is None
    assert question.reason(facts).seen == "not to be seen"
