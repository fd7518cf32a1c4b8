# SPDX-License-Identifier: GPL-2.0-only
"""The Debian package of `make deb`: installed, used, removed and purged on a systemd of its own."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from installed.booted import boot, why_not
from installed.conftest import SOURCE, make

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

SCRIPT = """
files() { find /etc /usr /var/lib /opt -xdev ! -path '/var/lib/dpkg/*' ! -path '/var/lib/systemd/*' | sort; }
rm -f /usr/sbin/policy-rc.d  # images of containers have one, which lets no service start
files >/mnt/before

dpkg -i /mnt/damosd.deb
systemctl is-active damosd
systemctl is-enabled damosd
systemctl show damosd -p StatusText
damosd status
systemctl reload damosd
stat -c '%U:%G %a' /run/damosd/control.sock
damosd check
damosd doctor | tail -2 || true
dpkg --verify damosd

systemctl disable damosd
dpkg -i /mnt/damosd.deb
echo again: $(systemctl is-enabled damosd) $(systemctl is-active damosd)

echo 'targets: {}' >>/etc/damosd/damosd.yaml
dpkg -r damosd
echo removed: $(systemctl is-active damosd) $(tail -n 1 /etc/damosd/damosd.yaml) $(ls /var/lib/damosd)
dpkg -P damosd
files >/mnt/after
echo purged: $(getent group damosd) $(systemctl list-unit-files damosd.service | tail -n 1)
"""


@pytest.fixture(scope="module")
def package() -> Path:
    """The package."""
    return SOURCE / make("deb").splitlines()[-1]


def test_it_starts_with_nothing_to_do_and_is_purged_without_a_trace(tmp_path: Path, package: Path) -> None:
    """It runs, does not overrule who disabled it, keeps configuration when removed, and leaves nothing when purged."""
    shutil.copy(package, tmp_path / "damosd.deb")
    told = [line for line in boot(tmp_path, SCRIPT).splitlines() if not line.startswith("+")]
    text = "StatusText=0 processes of 0 targets, 0 schemes"
    for line in ("active", "enabled", text, "there are no targets", "root:damosd 660", "1 file, 0 schemes: ok"):
        assert line in told
    assert "again: disabled active" in told
    assert "removed: inactive targets: {}" in told
    assert "purged: 0 unit files listed." in told
    before, after = ((tmp_path / name).read_text().splitlines() for name in ("before", "after"))
    assert sorted(set(before) ^ set(after)) == []


@pytest.mark.skipif(not shutil.which("lintian"), reason="needs lintian")
def test_lintian_finds_nothing_serious(package: Path) -> None:
    """Nor does it find that an override is of no use any more."""
    command = ["lintian", "--profile", "debian", "--fail-on", "error", "--tag-display-limit", "0", str(package)]
    outcome = subprocess.run(command, check=False, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout
    assert "unused-override" not in outcome.stdout


def test_who_would_change_it_is_asked_first(package: Path) -> None:
    """The main file is a conffile, and all that belongs to the package belongs to root."""
    shown = subprocess.run(["dpkg-deb", "--info", package, "conffiles"], check=True, capture_output=True, text=True)
    assert shown.stdout == "/etc/damosd/damosd.yaml\n"
    listed = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True)
    assert {line.split()[1] for line in listed.stdout.splitlines()} == {"root/root"}
    modes = {line.split()[0] for line in listed.stdout.splitlines()}
    assert [mode for mode in modes if mode[0] != "l" and "w" in mode[3:]] == []
