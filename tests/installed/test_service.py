# SPDX-License-Identifier: GPL-2.0-only
"""The unit on this machine's systemd: what works under exactly what it leaves to damosd, and what does not.

Where the daemon would be, a program stands in that does what is in question: `damosd run`, or a few lines with a
Notifier. All else is the unit as it was installed.
"""

from __future__ import annotations

import json
import re
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

# The same behind a seccomp filter, which lets everything through.
FILTERED = f"""
import ctypes, struct
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000), 8)
program = struct.pack("HP", 1, ctypes.addressof(allow))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP
{VICTIM}
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


# What each capability is for: the last line when it is missing, or the scheme that comes to nothing then.
NEEDED_FOR = {
    "BPF": "hint: run as root, or with CAP_BPF and CAP_PERFMON",
    "PERFMON": "hint: run as root, or with CAP_BPF and CAP_PERFMON",
    "SYS_NICE": "hint: needs CAP_SYS_NICE and CAP_SYS_PTRACE, or root",
    "SYS_PTRACE": "huge",
    "DAC_OVERRIDE": "huge",
}


def service(work: Path, tree: Path, script: str, **files: str) -> str:
    """Boot with these files, of Python, in /mnt, run the script, and return what it printed."""
    (work / "functions").write_text(FUNCTIONS)
    for name, text in files.items():
        (work / f"{name}.py").write_text(text)
    return boot(work, PRELUDE + script, tree)


def run(work: Path, tree: Path, drop_ins: dict[str, str], victim: str = VICTIM) -> dict[str, str]:
    """Let the service run SCHEMES on another user's process; return the last line that it printed.

    It runs once with each of `drop_ins`, which are texts by a name, and what it printed is under that name.
    """
    script = f"""
cp /mnt/victim.py /tmp
setpriv --reuid=65534 --regid=65534 --clear-groups {PYTHON} /tmp/victim.py &
"""
    (work / "schemes.yaml").write_text(SCHEMES)
    for name, text in drop_ins.items():
        (work / f"{name}.conf").write_text(text)
        script += f"""
stand_in oneshot "/usr/bin/damosd run --pid $! --scheme /mnt/schemes.yaml --duration 3s --json"
cp /mnt/{name}.conf {FOLDER}/drop-in.conf
printf 'WatchdogSec=0\\nRestart=no\\nStandardOutput=file:/mnt/{name}.told\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd || systemctl status damosd || true
"""
    service(work, tree, script, victim=victim)
    return {name: (work / f"{name}.told").read_text().splitlines()[-1] for name in drop_ins}


def schemes(line: str) -> dict[str, Any]:
    """Return the figures of each scheme at the end of a run."""
    return {scheme["name"]: scheme for scheme in json.loads(line)["last"]["schemes"]}


def shipped(tree: Path, name: str) -> dict[str, str]:
    """Return a drop-in of ours."""
    return {name: (tree / f"usr/share/damosd/systemd/{name}.conf").read_text()}


def test_another_user_s_process_is_seen_and_advised(tmp_path: Path, tree: Path) -> None:
    """With the capabilities and system calls of the unit: accesses, advice from outside, and from inside."""
    found = schemes(run(tmp_path, tree, {"none": ""})["none"])
    assert not any(scheme["errors"] for scheme in found.values())
    assert found["cold"]["sz_applied"]
    assert found["huge"]["sz_applied"]
    assert found["first"]["sz_tried"]
    assert not found["first"]["effect"]["activated"]  # it does not see that


def test_drop_ins_give_and_take_what_they_say(tmp_path: Path, tree: Path) -> None:
    """Page frames are what lru_prio counts by. Without injection nothing runs inside of targets, and the rest works."""
    told = run(tmp_path, tree, shipped(tree, "page-frames") | shipped(tree, "no-injection"))
    more, less = schemes(told["page-frames"]), schemes(told["no-injection"])
    assert more["huge"]["sz_applied"]
    assert more["first"]["effect"]["activated"]
    assert less["cold"]["sz_applied"]
    assert less["huge"]["sz_tried"]
    assert not less["huge"]["sz_applied"]


def test_filters_of_targets_are_read_with_the_drop_in_only(tmp_path: Path, tree: Path) -> None:
    """A target that has some, as services do, gets huge pages then, and else is left alone."""
    told = run(tmp_path, tree, {"none": ""} | shipped(tree, "seccomp-targets"), FILTERED)
    without, with_drop_in = schemes(told["none"]), schemes(told["seccomp-targets"])
    assert without["huge"]["sz_tried"]
    assert not without["huge"]["sz_applied"]
    assert without["cold"]["sz_applied"]
    assert with_drop_in["huge"]["sz_applied"]


def test_no_capability_is_there_for_nothing(tmp_path: Path, tree: Path) -> None:
    """Without any one of them something does not work that the unit is there for."""
    unit = (tree / "usr/lib/systemd/system/damosd.service").read_text()
    [names] = re.findall("^CapabilityBoundingSet=(.*)", unit, re.MULTILINE)
    assert set(names.split()) == {f"CAP_{name}" for name in NEEDED_FOR}
    told = run(tmp_path, tree, {name: f"[Service]\nCapabilityBoundingSet=~CAP_{name}\n" for name in NEEDED_FOR})
    for name, lost in NEEDED_FOR.items():
        if lost.startswith("hint"):
            assert told[name] == lost
        else:
            assert not schemes(told[name])[lost]["sz_applied"], name


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
while first:
    time.sleep(1)
for _ in range(40):
    time.sleep(0.05)
    notifier.alive()
notifier.status("twice the time of the watchdog")
while True:
    time.sleep(0.05)
    notifier.alive()
"""
    script = f"""
stand_in notify "{PYTHON} /mnt/standin.py"
printf 'WatchdogSec=1s\\nRestartSec=0\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd
until_it_is StatusText=first
until_it_is StatusText=second
until_it_is "StatusText=twice the time of the watchdog"
systemctl show damosd -p NRestarts -p ActiveState
systemctl stop damosd
"""
    told = service(tmp_path, tree, script, standin=stand_in).splitlines()
    assert "NRestarts=1" in told
    assert "ActiveState=active" in told


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
tried("mode", lambda: oct(runtime.stat().st_mode & 0o777) + " " + oct(runtime.parent.stat().st_mode & 0o777))
tried("state mode", lambda: oct(state.stat().st_mode & 0o777) + " " + oct(state.parent.stat().st_mode & 0o777))
tried("etc", pathlib.Path("/etc/damosd/damosd.yaml").touch)
tried("usr", pathlib.Path("/usr/bin/damosd").touch)
tried("sysctl", lambda: os.close(os.open("/proc/sys/vm/swappiness", os.O_WRONLY)))
tried("home", lambda: ", ".join(os.listdir("/root")) or "empty")
tried("setuid", lambda: os.setuid(1))
tried("kill", lambda: os.kill(int(pathlib.Path("/mnt/pid").read_text()), 0))
ctypes.CDLL(None, use_errno=True).mount(b"none", b"/mnt", b"tmpfs", 0, None)
print("mount", os.strerror(ctypes.get_errno()))
"""
    script = f"""
setpriv --reuid=65534 --clear-groups sleep 60 &
echo $! >/mnt/pid
stand_in oneshot "{PYTHON} /mnt/standin.py"
printf 'WatchdogSec=0\\nRestart=no\\nStandardOutput=file:/mnt/told\\n' >>{FOLDER}/stand-in.conf
systemctl daemon-reload
systemctl start damosd
"""
    service(tmp_path, tree, script, standin=stand_in)
    assert (tmp_path / "told").read_text().splitlines() == [
        "state done",
        "socket done",
        "group done",
        "mode 0o700 0o755",
        "state mode 0o600 0o700",
        "etc Read-only file system",
        "usr Read-only file system",
        "sysctl Read-only file system",
        "home empty",
        "setuid Operation not permitted",
        "kill Operation not permitted",
        "mount Operation not permitted",
    ]
