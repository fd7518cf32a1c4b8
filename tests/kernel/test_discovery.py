# SPDX-License-Identifier: GPL-2.0-only
"""Real processes that become targets, and cease to be."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.lab.cgroup import command_in, limited
from damosd.daemon.discovery.changes import Doubt, End
from damosd.daemon.discovery.discovery import _AT_ONCE, Discovery
from damosd.daemon.discovery.patience import Patience
from damosd.daemon.discovery.tracker import LOCKED
from damosd.linux import proc_connector
from damosd.linux.cgroup import hierarchies
from damosd.linux.pidfd import Pidfd
from damosd.linux.process_table import listing
from damosd.targets.questions import Cgroup, Cmdline, CmdlineRegex, Comm, Exe, MinRss, Named, Pid, User
from damosd.targets.selection import Selection, Target
from damosd.targets.selector import All, Not
from kernel.finding import NOBODY, Finder, Locked, Programs, children, fds, go, only
from kernel.programs import until
from kernel.victims import MIB, Victim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.targets.selector import Selector

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs of our own."""
    with Programs() as programs:
        yield programs


@pytest.fixture(params=["events", "scans"])
def find(request: pytest.FixtureRequest) -> Iterator[Callable[[Selection], Finder]]:
    """Return a function that begins to find processes, in one way and in the other."""
    if request.param == "events" and not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    with ExitStack() as stack:
        yield lambda selection: stack.enter_context(Finder(selection, request.param == "events"))


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Locked]:
    """Lock memory maps, and unlock them in the end."""
    locked = Locked(monkeypatch)
    yield locked
    locked.unlock()


def test_what_runs_already_and_what_comes_later(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Both are found, held, and gone when they have ended."""
    first = programs.sleep()
    finder = find(only(programs.ours))
    finder.until_matches(first)
    second = programs.sleep()
    finder.until_matches(first, second)
    assert [match.pid for match in finder.appeared] == [first.pid, second.pid]
    assert finder.match(first).owner.uid == 0
    first.kill()
    first.wait()
    finder.until_matches(second)
    assert finder.gone == [(first.pid, End.ENDED)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda process: Pid(process.pid),
        lambda _: Comm("sleep"),
        lambda _: Named("slee?"),
        lambda _: Exe("sleep"),
        lambda _: Cmdline("odd name 600"),
        lambda _: CmdlineRegex(re.compile(r"^odd .* \d+$")),
        lambda _: User(NOBODY, "nobody"),
        lambda _: MinRss(4096),
        lambda _: Not(Not(Comm("sleep"))),
    ],
    ids=["pid", "comm", "name", "exe", "cmdline", "cmdline_regex", "user", "min_rss", "not"],
)
def test_everything_that_can_be_asked(
    programs: Programs, find: Callable[[Selection], Finder], ask: Callable[[subprocess.Popen[str]], Selector]
) -> None:
    """The right process is found by it, and by its opposite all others."""
    process = programs.sleep(name="odd name", uid=NOBODY)
    other = programs.run(programs.copy("cat"))
    find(only(All((programs.ours, Not(Pid(other.pid)), ask(process))))).until_matches(process)
    find(only(All((programs.ours, Not(Pid(process.pid)), Not(Pid(other.pid)), ask(process))))).until_matches()


def test_cgroups(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Who is in one below a cgroup is found there, and no more once it has left."""
    with limited(64 * MIB) as folder:
        mount = hierarchies().memory
        assert mount
        path = "/" + str(folder.relative_to(mount))
        finder = find(only(All((programs.ours, Cgroup(path)))))
        process = programs.run("/bin/sh", *command_in(folder, str(programs.copy("sleep")), "600")[1:])
        programs.sleep()
        finder.until_matches(process)
        (mount / "cgroup.procs").write_text(str(process.pid))
        finder.scan()
        assert finder.pids == set()
        assert finder.gone[-1] == (process.pid, End.UNMATCHED)


def test_children_are_followed(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """And their children, whatever they run, also once their parent has ended; but not who is excluded."""
    for program in ("sleep", "cat"):
        programs.copy(program)
    script = "read go; ($HERE/sleep 600 & wait) & $HERE/cat <&0 & wait"
    parent = programs.shell(script)
    other = programs.sleep()
    selector = Pid(parent.pid)
    finder = find(only(selector, exclude=(Comm("cat"),), follow_children=True))
    finder.until_matches(parent)
    go(parent)
    until(lambda: len(children(parent.pid)) == 2, "it has forked")
    subshell = next(pid for pid in children(parent.pid) if Path(f"/proc/{pid}/comm").read_text() == "shell\n")
    until(lambda: bool(children(subshell)), "and again")
    (grandchild,) = children(subshell)
    finder.until_matches(parent, subshell, grandchild)
    assert {match.pid for match in finder.discovery.matches() if match.followed} == {subshell, grandchild}
    os.kill(subshell, 9)
    parent.kill()
    parent.wait()
    finder.until_matches(grandchild)
    assert other.pid not in finder.pids
    os.kill(grandchild, 9)
    finder.until_matches()


def test_children_are_not_followed_unasked(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """A target is what its selector matches."""
    programs.copy("sleep")
    parent = programs.shell("$HERE/sleep 600 & wait")
    finder = find(only(Pid(parent.pid)))
    until(lambda: bool(children(parent.pid)), "it has a child")
    finder.settle()
    finder.until_matches(parent)


def test_another_program(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """A process that runs another program is another match if that is a target as well, and else none."""
    for program in ("sleep", "cat"):
        programs.copy(program)
    process = programs.shell("read go; exec $HERE/cat")
    finder = find(only(All((programs.ours, Not(Comm("sleep"))))))
    finder.until_matches(process)
    first = finder.match(process)
    go(process)
    finder.until(lambda: finder.gone == [(process.pid, End.EXEC)], "it runs another program")
    finder.until_matches(process)
    assert finder.match(process).pidfd is not first.pidfd
    other = programs.shell("read go; exec $HERE/sleep 600")
    finder.until_matches(process, other)
    go(other)
    finder.until_matches(process)
    assert finder.gone[-1] == (other.pid, End.EXEC)


def test_the_same_program_anew(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """It is another match all the same: nothing that was known of its memory holds."""
    programs.copy("bash", "shell")
    process = programs.shell("read go; exec $HERE/shell -c 'read go'")
    finder = find(only(programs.ours))
    finder.until_matches(process)
    go(process)
    finder.until(lambda: finder.gone == [(process.pid, End.EXEC)], "it has begun anew")
    finder.until_matches(process)


def test_more_rights(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """A setuid program is not what was chosen: the match ends, with another reason than for any other program.

    A target of its user has lost it, and one that takes everybody has it anew.
    """
    programs.copy("sleep", "privileged", mode=0o4755)
    script = "read go; exec $HERE/privileged 600"
    process, other = programs.shell(script, uid=NOBODY), programs.shell(script, uid=NOBODY)
    nobody = Target("nobody", All((User(NOBODY, "nobody"), Pid(process.pid))))
    finder = find(Selection((nobody, Target("anybody", Pid(other.pid)))))
    finder.until_matches(process, other)
    go(process)
    finder.until(lambda: (process.pid, End.PRIVILEGES) in finder.gone, "it has got more rights")
    go(other)
    finder.until(lambda: (other.pid, End.PRIVILEGES) in finder.gone, "the other as well")
    finder.until_matches(other)
    assert finder.match(other).owner.uid == 0


def test_children_with_more_rights_are_not_followed(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Neither those that begin with them, nor those that get them later."""
    programs.copy("sleep", "privileged", mode=0o4755)
    programs.copy("sleep")
    parent = programs.shell("(read go; exec $HERE/privileged 600) <&0 & wait", uid=NOBODY)
    until(lambda: bool(children(parent.pid)), "it has a child")
    (child,) = children(parent.pid)
    finder = find(only(Pid(parent.pid), follow_children=True))
    finder.until_matches(parent, child)
    go(parent)
    finder.until_matches(parent)
    assert finder.gone == [(child, End.PRIVILEGES)]
    finder.settle()
    assert finder.pids == {parent.pid}


def test_rights_in_a_namespace(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Who makes a user namespace may do everything there; that is no reason not to follow it."""
    for program in ("unshare", "sleep"):
        programs.copy(program)
    probe = subprocess.run(["unshare", "--user", "true"], user=NOBODY, capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"needs user namespaces: {probe.stderr}")
    parent = programs.shell("read go; $HERE/unshare --user --keep-caps $HERE/sleep 600 & wait", uid=NOBODY)
    finder = find(only(Pid(parent.pid), follow_children=True))
    finder.until_matches(parent)
    go(parent)
    until(lambda: bool(children(parent.pid)), "it has a child")
    (child,) = children(parent.pid)
    until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "it sleeps")
    finder.settle()
    finder.until_matches(parent, child)
    assert finder.appeared[-1].owner.permitted
    assert End.PRIVILEGES not in {end for _, end in finder.gone}


def test_fewer_rights(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Who gives them up stays the same match; a target of the former user has lost it."""
    drop = "import os, sys; sys.stdin.readline(); os.setresuid(65534, 65534, 65534); sys.stdin.readline()"
    process, other = (programs.run("/usr/bin/env", "python3", "-c", drop) for _ in range(2))
    finder = find(Selection((Target("any", Pid(process.pid)), Target("root", All((Pid(other.pid), User(0, "root")))))))
    finder.until(lambda: all(b"-c" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in finder.pids), "they run")
    finder.settle()
    finder.gone.clear()
    go(process)
    go(other)
    finder.until_matches(process)
    finder.until(lambda: finder.match(process).owner.uid == NOBODY, "it is nobody's")
    assert finder.gone == [(other.pid, End.UNMATCHED)]


def test_another_name(find: Callable[[Selection], Finder], victim: Victim) -> None:
    """It is seen in both directions, whatever it holds."""
    finder = find(only(All((Pid(victim.pid), Comm("evil\n*")))))
    finder.until_matches()
    victim.do("rename", "evil\n\x1b[2J")
    finder.until_matches(victim.pid)
    victim.do("rename", "good")
    finder.until_matches()
    assert finder.gone == [(victim.pid, End.UNMATCHED)]


def test_a_target_may_shrink(find: Callable[[Selection], Finder], victim: Victim) -> None:
    """It has to be large when it becomes one: making it small is what targets are for."""
    finder = find(only(All((Pid(victim.pid), MinRss(64 * MIB)))))
    finder.until_matches()
    area = victim.written(64 * MIB)
    finder.scan()
    assert finder.pids == {victim.pid}
    area.unmap()
    finder.scan()
    assert finder.pids == {victim.pid}


def test_threads_outlive_the_first_one(find: Callable[[Selection], Finder], victim: Victim) -> None:
    """A process whose first thread has ended is still there, and still a target."""
    finder = find(only(Pid(victim.pid)))
    finder.until_matches(victim.pid)
    victim.do("end_main_thread")
    until(lambda: " (zombie)" in Path(f"/proc/{victim.pid}/status").read_text(), "its first thread has ended")
    finder.settle()
    assert finder.pids == {victim.pid}
    assert finder.gone == []


def test_zombies(find: Callable[[Selection], Finder], victim: Victim) -> None:
    """They are none, also while nobody has waited for them."""
    finder = find(only(Pid(victim.pid)))
    finder.until_matches(victim.pid)
    os.kill(victim.pid, 9)
    victim.gone()
    finder.until_matches()
    assert finder.gone == [(victim.pid, End.ENDED)]
    assert find(only(Pid(victim.pid))).pids == set()


@pytest.mark.skipif(not LAST_PID.exists(), reason="needs CONFIG_CHECKPOINT_RESTORE, to choose a pid")
def test_a_number_that_is_used_again(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """The next process of that number is another match, or none, even if nothing was seen of the change."""
    process = programs.sleep()
    finder = find(only(All((programs.ours, Comm("sleep")))))
    finder.until_matches(process)
    first = finder.match(process)
    for program, expected in (("cat", ()), ("sleep", (first.pid,))):
        path = programs.copy(program)
        os.kill(process.pid, 9)
        process.wait()
        for _ in range(50):  # somebody else may be faster
            LAST_PID.write_text(str(first.pid - 1))
            process = programs.run(path, *(["600"] if program == "sleep" else []))
            if process.pid == first.pid:
                break
            process.kill()
            process.wait()
        else:
            pytest.skip("the number was taken by others")
        finder.until_matches(*expected)
    assert finder.gone == [(first.pid, End.ENDED)]
    assert finder.match(process).pidfd is not first.pidfd
    assert first.pidfd.ended()


@pytest.mark.skipif(not LAST_PID.exists(), reason="needs CONFIG_CHECKPOINT_RESTORE, to choose a pid")
def test_the_number_of_a_process_that_was_none(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process of it is looked at by the next scan, and not when it would be its turn."""
    process = programs.run(programs.copy("cat"))
    with Finder(only(All((programs.ours, Comm("sleep")))), events=False) as finder:
        finder.scan()
        number = process.pid
        path = programs.copy("sleep")
        process.kill()
        process.wait()
        for _ in range(50):  # somebody else may be faster
            LAST_PID.write_text(str(number - 1))
            process = programs.run(path, "600")
            if process.pid == number:
                break
            process.kill()
            process.wait()
        else:
            pytest.skip("the number was taken by others")
        assert number in finder.discovery._tracker.known
        monkeypatch.setattr("damosd.daemon.discovery.discovery._TURNS", 1 << 30)
        finder.step()
        assert finder.pids == {number}


def test_another_process_when_it_is_opened(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is judged, and not what had the number before."""
    process, other = programs.sleep(), programs.run(programs.copy("cat"))
    monkeypatch.setattr("damosd.daemon.discovery.tracker.Pidfd", lambda _: Pidfd(other.pid))
    before = fds()
    with Finder(only(All((programs.ours, Comm("sleep")))), events=False) as finder:
        finder.scan()
        assert finder.pids == set()
        assert fds() == before
        monkeypatch.undo()
        finder.step()
        assert finder.pids == {process.pid}


def test_never(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """What must be left alone is no target, nor is damosd with its children."""
    process = programs.sleep()
    programs.run(programs.copy("sleep", "sshd"), "600")
    spared = programs.run(programs.copy("sleep", "mine"), "600")
    selection = Selection((Target("ours", programs.ours),), never=(Named("mine"),))
    find(selection).until_matches(process)
    find(only(programs.ours)).until_matches(process, spared)
    with Discovery(only(programs.ours), 1e6, events=False) as discovery:
        discovery.update()
        assert discovery.matches() == ()
    with Discovery(only(Comm("*")), 1e6, events=False, own={7}) as discovery:
        discovery.update()
        found = {match.pid for match in discovery.matches()}
        assert process.pid in found
        assert not found & {1, 2}


def test_another_selection(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """Matches that it has too stay as they are; all others go and come."""
    process, other = programs.sleep(), programs.run(programs.copy("cat"))
    finder = find(only(All((programs.ours, Comm("sleep")))))
    finder.until_matches(process)
    finder.discovery.select(only(programs.ours), 1e6)
    finder.until_matches(process, other)
    assert finder.gone == []
    finder.discovery.select(only(All((programs.ours, Comm("cat")))), 1e6)
    finder.until_matches(other)
    assert finder.gone == [(process.pid, End.UNMATCHED)]


def test_descriptors(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """A match has two, until the update after the one that told of its end."""
    finder = find(only(programs.ours))
    before = fds()
    process = programs.sleep()
    with_pipe = fds()
    finder.until_matches(process)
    assert fds() == with_pipe + 2
    process.kill()
    process.wait()
    finder.until_matches()
    finder.step()
    assert process.stdin
    process.stdin.close()
    assert fds() == before


def test_without_descriptors(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """A process that cannot be held is told of, and found once it can be."""
    finder = find(only(programs.ours))
    process = programs.sleep()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)  # what reading /proc takes, as it is the lowest number that is free
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
    try:
        finder.until(lambda: bool(finder.doubts), "it cannot be held")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finder.doubts[0].pid == process.pid
    assert "too many open files" in finder.doubts[0].reason
    finder.scan()
    assert finder.pids == {process.pid}


def test_a_search_that_would_not_end(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """The process is no target, that is told, and others are found all the same."""
    hostile = programs.run(programs.copy("cat"), "-", "a" * 5000)
    process = programs.sleep(name="aab")
    finder = find(only(All((programs.ours, CmdlineRegex(re.compile(r"(a+)+b"))))))
    finder.until_matches(process)
    finder.until(lambda: hostile.pid in {doubt.pid for doubt in finder.doubts}, "it is told")
    assert "takes too long" in finder.doubts[0].reason


def test_a_match_whose_search_would_not_end(programs: Programs, find: Callable[[Selection], Finder]) -> None:
    """It is none any more: its command line can be read."""
    hostile = programs.run(programs.copy("cat"), "-", "a" * 5000)
    finder = find(only(programs.ours))
    finder.until_matches(hostile)
    finder.discovery.select(only(All((programs.ours, CmdlineRegex(re.compile(r"(a+)+b"))))), 1e6)
    finder.until_matches()
    assert finder.gone == [(hostile.pid, End.UNMATCHED)]
    assert "takes too long" in finder.doubts[0].reason


def test_a_command_line_that_cannot_be_read(
    programs: Programs, find: Callable[[Selection], Finder], locked: Locked
) -> None:
    """Others are found all the same, that is told once, and one thread waits; it is found once it can be read."""
    process, other = programs.sleep(), programs.sleep()
    locked.lock(process.pid)
    finder = find(only(All((programs.ours, Cmdline("*600")))))
    finder.until_matches(other)
    finder.scan()
    assert finder.doubts == [Doubt(process.pid, "sleep", LOCKED)]
    assert finder.discovery.nr_doubts == 1
    assert locked.waiting == [process.pid]
    locked.unlock()
    finder.scan()
    assert finder.pids == {process.pid, other.pid}
    assert finder.discovery.nr_doubts == 0


@pytest.mark.parametrize("ask", [Cmdline("*600"), CmdlineRegex(re.compile("600")), Not(Cmdline("no"))], ids=str)
def test_a_match_whose_command_line_cannot_be_read(
    programs: Programs, find: Callable[[Selection], Finder], locked: Locked, ask: Selector
) -> None:
    """It stays the match that it is, and is told of; it ends when it is none whatever its command line is."""
    process = programs.sleep()
    whole = All((programs.ours, ask))
    finder = find(only(whole, exclude=(Cmdline("x"),)))
    finder.until_matches(process)
    match = finder.match(process)
    locked.lock(process.pid)
    finder.scan()
    assert finder.match(process) is match
    assert finder.doubts == [Doubt(process.pid, "sleep", LOCKED)]
    locked.unlock()
    finder.scan()
    assert finder.match(process) is match
    assert finder.discovery.nr_doubts == 0
    locked.lock(process.pid)
    finder.discovery.select(Selection((Target("ours", whole), Target("mine", whole)), never=(Cmdline("x"),)), 1e6)
    finder.scan()
    assert finder.match(process) is match
    finder.discovery.select(Selection((Target("mine", whole), Target("ours", All((programs.ours, Comm("x")))))), 1e6)
    finder.scan()
    assert finder.pids == set()
    assert finder.gone == [(process.pid, End.UNMATCHED)]


def test_whose_process_it_is_while_that_cannot_be_told(
    programs: Programs, find: Callable[[Selection], Finder], locked: Locked
) -> None:
    """No target takes what an earlier one may have; whoever has it keeps it."""
    process = programs.sleep()
    first = All((programs.ours, Cmdline("*600 x")))
    selection = Selection((Target("first", first), Target("second", programs.ours)))
    locked.lock(process.pid)
    finder = find(selection)
    finder.scan()
    assert finder.pids == set()
    assert finder.doubts == [Doubt(process.pid, "sleep", LOCKED)]
    locked.unlock()
    finder.scan()
    assert [match.target for match in finder.appeared] == ["second"]
    locked.lock(process.pid)
    finder.scan()
    assert locked.waiting == [process.pid]
    assert finder.pids == {process.pid}
    assert finder.gone == []


def test_a_command_line_that_can_be_read_again(
    programs: Programs, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is noticed by the next scan, and not when it would be the process's turn."""
    process = programs.sleep()
    locked.lock(process.pid)
    with Finder(only(All((programs.ours, Cmdline("*600")))), events=False) as finder:
        finder.scan()
        monkeypatch.setattr("damosd.daemon.discovery.discovery._TURNS", 1 << 30)
        finder.step()
        assert finder.pids == set()
        locked.unlock()
        finder.step()
        assert finder.pids == {process.pid}


def test_many_command_lines(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second time on they are read at once: those of matches, and of others."""
    processes = [programs.sleep(name="it" if number % 2 else "") for number in range(20)]
    with Finder(only(All((programs.ours, Cmdline("it 600")))), events=False) as finder:
        assert len(finder.pids) == len(processes) / 2
        works: list[int] = []
        work = Patience._work

        def noted(patience: Patience, what: Any) -> Any:
            works.append(len(what.calls))
            return work(patience, what)

        monkeypatch.setattr(Patience, "_work", noted)
        finder.discovery._everything = True
        finder.step()
        assert sum(works) == len(processes)
        assert len(works) <= 1 + len(listing()) / _AT_ONCE < len(processes)
        assert len(finder.pids) == len(processes) / 2


def test_a_memory_map_that_is_locked(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not let us read a command line then: the match stays one, and can be told again afterwards."""
    area = victim.written(256 * MIB)
    with Finder(only(All((Pid(victim.pid), Cmdline("*victim.py")))), events=False) as finder:
        finder.until_matches(victim.pid)
        descriptors = fds()
        victim.do("keep_protecting", area.start, area.size)
        with monkeypatch.context() as patched:  # less than the map is locked for at a time, on any machine
            patched.setattr("damosd.daemon.discovery.patience.SLICE_S", 0.0002)
            patched.setattr("damosd.daemon.discovery.patience.SLICES", 1)
            finder.until(lambda: bool(finder.doubts), "its command line cannot be read")
        assert finder.doubts[0].reason == LOCKED
        assert finder.pids == {victim.pid}
        victim.do("rest")
        finder.scan()
        assert finder.discovery.nr_doubts == 0
        assert finder.pids == {victim.pid}
        assert finder.gone == []
        assert fds() == descriptors


def test_events_that_are_lost(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened meanwhile is found by a scan at once; when that is not the first time, by the next one."""
    if not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    small = lambda: proc_connector.ProcConnector(buffer_bytes=1)  # noqa: E731
    monkeypatch.setattr("damosd.daemon.discovery.discovery.ProcConnector", small)
    with Finder(only(programs.ours), events=True) as finder:
        for _ in range(50):
            subprocess.run(["/bin/true"], check=True)
        process = programs.sleep()
        finder.until_matches(process)
        for _ in range(50):
            subprocess.run(["/bin/true"], check=True)
        other = programs.sleep()
        finder.step()
        assert finder.discovery.fd < 0  # a second time soon: no more of that
        assert finder.discovery.next_scan > 0
        finder.discovery.next_scan = 0.0
        finder.step()
        assert finder.pids == {process.pid, other.pid}
        assert finder.discovery.fd >= 0


def test_too_much_happens(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that cost too much are left alone, and the next scan listens again."""
    if not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    monkeypatch.setattr("damosd.daemon.discovery.discovery._EVENTS_CPU", 0.0)
    with Finder(only(programs.ours), events=True) as finder:
        process = programs.sleep()
        finder.until(lambda: finder.discovery.fd < 0, "it does not listen")
        assert "too much happens" in finder.discovery.no_events
        finder.discovery.next_scan = 0.0
        finder.step()
        assert finder.pids == {process.pid}
        assert finder.discovery.fd >= 0
