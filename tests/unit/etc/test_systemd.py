# SPDX-License-Identifier: GPL-2.0-only
"""systemd's own judgement of our unit, its drop-ins, and the files for sysusers and tmpfiles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[3] / "etc/systemd"
DROP_INS = sorted(SYSTEMD.glob("damosd.service.d.example/*.conf"), key=lambda path: path.stem)
WORST = 3.5
WORST_WITH = {"seccomp-targets": 7.0}  # the kernel asks for it; see there

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def run(*command: str | Path) -> str:
    """Run a command that must succeed, and return all that it said."""
    outcome = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert outcome.returncode == 0, outcome.stdout
    return outcome.stdout


@pytest.fixture(params=[None, *DROP_INS], ids=lambda path: path.stem if path else "alone")
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit, alone or with a drop-in, as if the program were installed in the folder."""
    program = tmp_path / "damosd"
    program.touch(mode=0o755)
    path = tmp_path / "damosd.service"
    path.write_text((SYSTEMD / "damosd.service").read_text().replace("/usr/local/bin/damosd", str(program)))
    if request.param:
        (tmp_path / "damosd.service.d").mkdir()
        shutil.copy(request.param, tmp_path / "damosd.service.d")
    return path


@needs_analyze
def test_systemd_has_no_complaint(unit: Path) -> None:
    """Every key is known and of some use."""
    assert run("systemd-analyze", "verify", "--man=no", unit) == ""


@needs_analyze
def test_little_is_exposed(unit: Path) -> None:
    """By systemd's figures; the drop-ins count."""
    drop_in = "".join(path.stem for path in unit.parent.glob("damosd.service.d/*"))
    shown = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for damosd.service: ([\d.]+)", shown)
    assert found, shown
    assert float(found[1]) <= WORST_WITH.get(drop_in, WORST)


@needs_analyze
@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("page-frames", "CAP_SYS_ADMIN"),
        ("seccomp-targets", "CAP_SYS_ADMIN"),
        ("process-events", "CAP_NET_ADMIN"),
        ("alone", ""),
    ],
)
def test_a_drop_in_adds_to_the_unit(tmp_path: Path, name: str, capability: str) -> None:
    """It takes no capability away, and adds no other."""
    shutil.copy(SYSTEMD / "damosd.service", tmp_path)
    (tmp_path / "damosd.service.d").mkdir()
    for path in DROP_INS:
        if path.stem == name:
            shutil.copy(path, tmp_path / "damosd.service.d")
    shown = run("systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / "damosd.service")
    given = {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"} & set(
        re.findall(r"✗ CapabilityBoundingSet=~(\w+)", shown)
    )
    assert given == {"CAP_SYS_PTRACE", "CAP_BPF", capability} - {""}


def test_each_drop_in_says_what_it_is_for() -> None:
    """Before its first setting."""
    assert len(DROP_INS) >= 6
    for path in DROP_INS:
        comment, _, settings = path.read_text().partition("[Service]\n")
        assert comment.count("\n# ") >= 1, path.name
        assert settings.strip(), path.name


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="needs systemd-sysusers")
def test_the_group_is_made(tmp_path: Path) -> None:
    """On a system that has none, no user with it."""
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "damosd.sysusers")
    assert re.match(r"damosd:x:\d+:$", (tmp_path / "etc/group").read_text().splitlines()[-1])
    assert not (tmp_path / "etc/passwd").exists()


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="needs systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who owns them")
def test_the_folders_are_made(tmp_path: Path) -> None:
    """As the unit makes them."""
    shutil.copytree("/etc", tmp_path / "etc", ignore=lambda _, names: set(names) - {"passwd", "group"})
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "damosd.tmpfiles")
    modes = {name: (tmp_path / name).stat().st_mode & 0o7777 for name in ("run/damosd", "var/lib/damosd")}
    assert modes == {"run/damosd": 0o755, "var/lib/damosd": 0o700}
