# SPDX-License-Identifier: GPL-2.0-only
"""The unit on this machine's systemd: what works under exactly what it leaves to damosd, and what does not.

Where the daemon would be, a program stands in that does what is in question: `damosd run`, or a few lines with a
Notifier. All else is the unit as it was installed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from installed.booted import boot, why_not

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

PYTHON = "/usr/lib/damosd/venv/bin/python -I"
FOLDER = "/etc/systemd/system/damosd.service.d"

# Memory of another user's: one half is written all the time, and all of it could be of huge pages.
VICTIM = """
import mmap
size = 16 << 20
memory = mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(bytes(2 * size))
while True:
    for place in range(0, size, mmap.PAGESIZE):
        memory[place] = 1
"""

SCHEMES = """
version: 1
schemes:
  - {name: cold, action: cold, access_pattern: {nr_accesses: {min: 0, max: 0}, age: {min: 500 ms, max: max}}}
  - {name: huge, action: hugepage, access_pattern: {nr_accesses: {min: 1 samples, max: max}}, apply_interval_us: 1 s}
  - {name: first, action: lru_prio, access_pattern: {nr_accesses: {min: 1 samples, max: max}}, apply_interval_us: 1 s}
"""

PRELUDE = f"""
systemd-sysusers
mkdir -p {FOLDER}
. /mnt/functions
"""

FUNCTIONS = f"""
stand_in() {{ # TYPE COMMAND: let the unit start COMMAND
    printf '[Service]\\nType=%s\\nExecStart=\\nExecStart=%s\\n' "$1" "$2" >{FOLDER}/stand-in.conf
    systemctl daemon-reload
}}
until_it_is() {{ # PROPERTY=VALUE
    for _ in $(seq 200); do
        if systemctl show damosd | grep -qx "$1"; then return; fi
        sleep 0.05
    done
    systemctl status damosd
    return 1
}}
"""


def service(work: Path, tree: Path, script: str, **files: str) -> str:
    """Boot with these files in /mnt, run the script, and return what it printed."""
    (work / "functions").write_text(FUNCTIONS)
    for name, text in files.items():
        (work / name.replace("_", ".")).write_text(text)
    return boot(work, PRELUDE + script, tree)


def run(work: Path, tree: Path, *drop_ins: str) -> dict[str, Any]:
    """Let the service, with these drop-ins, run schemes on another user's process; return the schemes' last figures."""
    script = "".join(f"cp /usr/share/damosd/systemd/{name}.conf {FOLDER}\n" for name in drop_ins)
    script += f"""
cp /mnt/victim.py /tmp
setpriv --reuid=65534 --regid=65534 --clear-groups {PYTHON} /tmp/victim.py &
victim=$!
stand_in oneshot "/usr/bin/damosd run --pid $victim --scheme /mnt/schemes.yaml --duration 5s --json"
printf 'WatchdogSec=0\\nRestart=no\\nStandardOutput=file:/mnt/told\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd || systemctl status damosd
"""
    service(work, tree, script, victim_py=VICTIM, schemes_yaml=SCHEMES)
    summary = json.loads((work / "told").read_text().splitlines()[-1])
    return {scheme["name"]: scheme for scheme in summary["last"]["schemes"]}


def test_another_user_s_process_is_seen_and_advised(tmp_path: Path, tree: Path) -> None:
    """With the capabilities and system calls of the unit: accesses, advice from outside, and from inside."""
    schemes = run(tmp_path, tree)
    assert {name: scheme["errors"] for name, scheme in schemes.items() if scheme["errors"]} == {}
    assert schemes["cold"]["sz_applied"]
    assert schemes["huge"]["sz_applied"]
    assert schemes["first"]["sz_tried"]
    assert not schemes["first"]["effect"]["activated"]  # it does not see that


def test_with_page_frames_it_sees_which_pages_are_active(tmp_path: Path, tree: Path) -> None:
    """The drop-in gives what lru_prio counts by."""
    schemes = run(tmp_path, tree, "page-frames")
    assert schemes["huge"]["sz_applied"]
    assert schemes["first"]["effect"]["activated"]


def test_without_injection_nothing_runs_inside_of_targets(tmp_path: Path, tree: Path) -> None:
    """The drop-in takes that away, and the rest stays."""
    schemes = run(tmp_path, tree, "no-injection")
    assert schemes["huge"]["sz_tried"]
    assert not schemes["huge"]["sz_applied"]
    assert schemes["cold"]["sz_applied"]


CAPABILITIES = ("sys_ptrace", "sys_nice", "dac_override", "bpf", "perfmon")


def test_a_daemon_that_does_no_rounds_is_started_anew(tmp_path: Path, tree: Path) -> None:
    """It is there and has said so, but the watchdog hears nothing; the next one, which does its rounds, stays."""
    stand_in = """
import os, pathlib, sys, time
from damosd.linux.notify import Notifier
notifier = Notifier.from_environment()
assert notifier.alive_every_s == 0.5, notifier.alive_every_s
starts = pathlib.Path("/var/lib/damosd/starts")
first = not starts.exists()
starts.touch()
notifier.ready("first" if first else "second")
while True:
    time.sleep(0.05)
    if not first:
        notifier.alive()
"""
    script = f"""
stand_in notify "{PYTHON} /mnt/standin.py"
printf 'WatchdogSec=1s\\nRestartSec=0\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd
until_it_is StatusText=first
until_it_is StatusText=second
until_it_is ActiveState=active
systemctl show damosd -p NRestarts -p ActiveState
sleep 1.5
systemctl show damosd -p StatusText -p NRestarts
systemctl stop damosd
"""
    told = service(tmp_path, tree, script, standin_py=stand_in).splitlines()
    assert told.count("NRestarts=1") == 2  # more than a watchdog's time apart
    assert "StatusText=second" in told


@pytest.mark.parametrize(("code", "state"), [(78, "ActiveState=failed"), (1, "SubState=auto-restart")])
def test_what_another_try_would_not_mend_is_not_tried_again(tmp_path: Path, tree: Path, code: int, state: str) -> None:
    """A wrong configuration ends it for good; any other failure does not."""
    script = f"""
stand_in notify "/bin/sh -c 'exit {code}'"
systemctl start damosd || true
until_it_is {state}
systemctl show damosd -p ExecMainStatus
systemctl stop damosd
"""
    assert f"ExecMainStatus={code}" in service(tmp_path, tree, script).splitlines()


def test_it_has_its_folders_and_no_others(tmp_path: Path, tree: Path) -> None:
    """State is its own; the socket's folder is for all to enter, and files there can be given to the group."""
    stand_in = """
import ctypes, grp, os, pathlib, socket
def tried(name, act):
    try:
        print(name, act() or "done")
    except OSError as error:
        print(name, error.strerror)
state = pathlib.Path("/var/lib/damosd/1.json")
runtime = pathlib.Path("/run/damosd/control.sock")
tried("state", state.touch)
tried("socket", lambda: socket.socket(socket.AF_UNIX).bind(str(runtime)))
tried("group", lambda: os.chown(runtime, -1, grp.getgrnam("damosd").gr_gid))
tried("mode", lambda: oct(runtime.stat().st_mode & 0o777) + oct(runtime.parent.stat().st_mode & 0o777))
tried("state mode", lambda: oct(state.stat().st_mode & 0o777) + oct(state.parent.stat().st_mode & 0o777))
tried("configuration", pathlib.Path("/etc/damosd/damosd.yaml").write_text.__get__("")) if 0 else None
tried("etc", pathlib.Path("/etc/damosd/damosd.yaml").touch)
tried("usr", pathlib.Path("/usr/bin/damosd").touch)
tried("sysctl", lambda: os.close(os.open("/proc/sys/vm/swappiness", os.O_WRONLY)))
tried("home", lambda: ", ".join(os.listdir("/root")) or "empty")
tried("setuid", lambda: os.setuid(1))
tried("kill", lambda: os.kill(int(pathlib.Path("/mnt/pid").read_text()), 0))
tried("mount", lambda: os.strerror(ctypes.get_errno()) if ctypes.CDLL(None, use_errno=True).mount(
    b"none", b"/mnt", b"tmpfs", 0, None) else "done")
"""
    script = f"""
setpriv --reuid=65534 --clear-groups sleep 60 &
echo $! >/mnt/pid
stand_in oneshot "{PYTHON} /mnt/standin.py"
printf 'WatchdogSec=0\\nRestart=no\\nStandardOutput=file:/mnt/told\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd
"""
    service(tmp_path, tree, script, standin_py=stand_in)
    assert (tmp_path / "told").read_text().splitlines() == []


@pytest.mark.parametrize("lacking", ["nothing", *CAPABILITIES])
def test_no_capability_is_there_for_nothing(tmp_path: Path, tree: Path, lacking: str) -> None:
    """Without any one of them something that the unit is there for does not work."""
    names = " ".join(f"CAP_{name.upper()}" for name in CAPABILITIES if name != lacking)
    (tmp_path / "own.conf").write_text(f"[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet={names}\n")


