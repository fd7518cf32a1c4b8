# SPDX-License-Identifier: GPL-2.0-only
"""Which target has a process, and which processes no target may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.facts import Described

from damosd.targets.questions import Cmdline, Comm, Exe, User
from damosd.targets.selection import Selection, Target

EVERYTHING = Target("all", Comm("*"))
OWN = frozenset((77,))


def chosen(selection: Selection, facts: Described, *followed: str) -> str:
    """Return the name of the target that has a process."""
    target = selection.choose(facts, OWN, frozenset(followed))
    return target.name if target else ""


def test_the_first_target_has_it() -> None:
    """One process is one target."""
    selection = Selection((Target("dogs", Comm("dog")), Target("cats", Comm("cat")), EVERYTHING))
    assert chosen(selection, Described()) == "cats"
    assert chosen(selection, Described(comm="cow")) == "all"


@pytest.mark.parametrize(
    "facts",
    [
        Described(pid=1),
        Described(pid=77),
        Described(ppid=77),
        Described(kernel_thread=True),
        Described(comm="sshd"),
        Described(has_exe="/usr/sbin/sshd"),
        Described(has_exe="/usr/lib/openssh/sshd-session"),
        Described(comm="systemd-resolve"),
        Described(has_exe="/usr/lib/systemd/systemd"),
        Described(comm="dbus-daemon"),
        Described(comm="damosd"),
    ],
)
def test_never(facts: Described) -> None:
    """These are no targets, whatever the configuration says, nor anybody's children."""
    assert chosen(Selection((EVERYTHING,)), facts) == ""
    assert chosen(Selection((EVERYTHING,)), facts, "all") == ""


@given(
    st.sampled_from(["cat", "sshd", "sshd-x", "sshdx", "xsshd", "systemd", "systemd-", "dbus", "dbus-\n", "damosd\n"]),
    st.sampled_from([None, "", "/a/sshd", "/sshd/a", "/x/systemd-x", "/a\n/dbus-x", "/usr/bin/damosd"]),
)
def test_the_list_is_what_reasons_tell(comm: str, exe: str | None) -> None:
    """Its fast form and the one that explains agree."""
    facts = Described(comm=comm, has_exe=exe)
    assert Selection(()).spares(facts) is Selection(()).reason_never(facts).outcome


def test_the_list_can_be_extended() -> None:
    """By any selector; what cannot be told is left alone."""
    selection = Selection((EVERYTHING,), never=(Exe("/usr/bin/*"), User(5, "5")))
    assert chosen(selection, Described()) == ""
    assert chosen(selection, Described(has_exe="/opt/cat", has_uid=5)) == ""
    assert chosen(selection, Described(has_exe="/opt/cat")) == "all"
    assert chosen(selection, Described(has_exe=None)) == ""
    assert selection.reason_never(Described()).outcome is True
    assert selection.reason_never(Described(has_exe="/opt/cat")).outcome is False


def test_what_is_excluded_goes_to_the_next_target() -> None:
    """An exclude list is of one target; what cannot be told is excluded."""
    careful = Target("careful", Comm("cat"), exclude=(User(0, "root"), Cmdline("* -n *")))
    selection = Selection((careful, EVERYTHING))
    assert chosen(selection, Described(has_cmdline="cat")) == "careful"
    for facts in (Described(), Described(has_cmdline="cat", has_uid=0), Described(has_cmdline=None)):
        assert chosen(selection, facts) == "all"


def test_descendants() -> None:
    """They need not match themselves, but are excluded all the same."""
    family = Target("family", Comm("cat"), exclude=(Comm("kitten"),), follow_children=True)
    assert chosen(Selection((family,)), Described(comm="mouse")) == ""
    assert chosen(Selection((family,)), Described(comm="mouse"), "family") == "family"
    assert chosen(Selection((family,)), Described(comm="kitten"), "family") == ""


def test_what_is_no_target_costs_nothing_more() -> None:
    """The list of what must be left alone is asked of those only that would be targets."""
    facts = Described()
    assert chosen(Selection((Target("dogs", Comm("dog")),), never=(Cmdline("*"),)), facts) == ""
    assert facts.asked == []
