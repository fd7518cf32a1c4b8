# SPDX-License-Identifier: GPL-2.0-only
"""What the files of a machine come to together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from damosd.config.found import find_configuration, read_configuration
from damosd.config.merge import Merged, merge
from damosd.config.schemefile import read_scheme_file

Merge = Callable[..., Merged]

KDAMONDS = "kdamonds: [{contexts: [{ops: vaddr, targets: [{pid: 7}], schemes: [{name: %s}]}]}]"


@pytest.fixture
def merged() -> Merge:
    """Return a function that merges texts, of files named 1.yaml, 2.yaml and so on."""

    def merged(*texts: str, target_names: list[str] | None = None) -> Merged:
        files = [read_scheme_file(Path(f"{number}.yaml"), text.encode()) for number, text in enumerate(texts, start=1)]
        return merge(files, target_names)

    return merged


def names(merged: Merged) -> list[str]:
    """Return the schemes' names and actions, in order."""
    return [f"{entry.scheme.name} {entry.scheme.action}" for entry in merged.entries]


def test_files_are_put_one_behind_the_other(merged: Merge) -> None:
    """Schemes come in the order of the files, and within each in its own."""
    assert names(merged("[{name: b}, {name: a}]", "action: cold")) == ["b stat", "a stat", "2 cold"]


def test_a_second_scheme_of_a_name_is_a_problem(merged: Merge) -> None:
    """It is told where both are and how to mean it; the first stays."""
    outcome = merged("\nname: a", "[{name: b}, {name: a, action: cold}]")
    assert [str(one) for one in outcome.problems] == [
        "2.yaml:1:13: the scheme name 'a' is taken by 1.yaml:2:1: write 'override: true' to replace it"
    ]
    assert names(outcome) == ["a stat", "b stat"]


def test_an_override_takes_the_place(merged: Merge) -> None:
    """Nothing of the first is left but its place in the order, and it is known which was replaced."""
    outcome = merged(
        "[{name: a, action: pageout, quotas: {sz_bytes: 1G}}, {name: b}]",
        "{name: a, override: true, action: cold}",
        "{name: a, override: true, action: stat}",
    )
    assert not outcome.problems
    assert not outcome.warnings
    assert names(outcome) == ["a stat", "b stat"]
    assert not outcome.entries[0].scheme.quota.limits
    assert [str(origin) for origin in outcome.replaced["a"]] == ["1.yaml:1:2", "2.yaml:1:1"]


def test_an_override_of_nothing_is_warned_of(merged: Merge) -> None:
    """What it was for may be gone with its package, so the scheme is there all the same."""
    outcome = merged("{name: a, override: true}")
    assert names(outcome) == ["a stat"]
    assert [one.message for one in outcome.warnings] == [
        "there is no scheme 'a' before this one that it could override"
    ]


def test_a_disabled_scheme_is_known_and_not_run(merged: Merge) -> None:
    """`enabled: false` is how a scheme of a package is switched off."""
    outcome = merged("[{name: a, action: cold}, {name: b}]", "{name: a, override: true, enabled: false}")
    assert [entry.scheme.name for entry in outcome.entries] == ["a", "b"]
    assert [entry.scheme.name for entry in outcome.enabled] == ["b"]


def test_targets_of_kdamonds_files_are_known(merged: Merge) -> None:
    """A scheme may be for a target of another file; one that is nowhere is a problem when all targets are known."""
    texts = (KDAMONDS % "a", "{name: b, targets: ['1', web]}")
    assert not merged(*texts).problems
    assert not merged(*texts, target_names=["web"]).problems
    (problem,) = merged(*texts, target_names=["db"]).problems
    assert problem.message == "there is no target 'web'; the targets are: 1, db"


def test_a_target_of_the_main_file_s_name_is_a_problem(merged: Merge) -> None:
    """It would be monitored as two things at once."""
    (problem,) = merged(KDAMONDS % "a", target_names=["1"]).problems
    assert problem.message == "the main file has a target '1' as well: rename one of them"


def test_a_second_target_of_a_name_is_a_problem(tmp_path: Path) -> None:
    """Two kdamonds files of one stem would mean each other's processes."""
    for number, ending in enumerate(("json", "yaml")):
        (tmp_path / f"web.{ending}").write_text(KDAMONDS % f"s{number}")
    configuration = read_configuration([tmp_path / "web.json", tmp_path / "web.yaml"])
    assert [one.message.split(" by ")[0] for one in configuration.problems] == ["the target name 'web' is taken"]


def test_the_whole_configuration_of_a_machine(tmp_path: Path) -> None:
    """Files are located, read in a child and merged; all that is wrong comes at once, and is told of its file."""
    etc, lib = (tmp_path / folder / "damosd/schemes.d" for folder in ("etc", "usr/lib"))
    etc.mkdir(parents=True)
    lib.mkdir(parents=True)
    main = etc.parent / "damosd.yaml"
    main.write_text("targets: {web: {comm: nginx}}")
    (lib / "10-prcl.yaml").write_text("{name: prcl, action: pageout, targets: [web]}")
    (lib / "20-ethp.damos").write_text("2M max 5 max 0 max hugepage\n")
    (etc / "60-mine.yaml").write_text("{name: prcl, override: true, action: cold}")
    good = find_configuration(tmp_path)
    assert names(good.merged) == ["prcl cold", "20-ethp hugepage"]
    assert not good.problems
    assert good.settings
    assert [target.name for target in good.settings.selection.targets] == ["web"]

    (etc / "70-bad.yaml").write_text("action: pagout")
    (etc / "80-open.yaml").write_text("action: stat")
    (etc / "80-open.yaml").chmod(0o666)
    bad = find_configuration(tmp_path)
    assert [f"{one.path.name}: {one.message}" for one in bad.problems] == [
        "70-bad.yaml: unknown action 'pagout', did you mean 'pageout'?",
        "80-open.yaml: it can be written by others than its owner",
    ]
    assert bad.hint


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("targets: {db: {comm: postgres}}", "there is no target 'web'; the targets are: db"),
        (None, "there is no target 'web'; the targets are: none"),
        ("targets: {db: {com: postgres}}", "unknown key 'com', did you mean 'comm'?"),
    ],
)
def test_targets_of_schemes_are_those_of_the_main_file(tmp_path: Path, main: str | None, said: str) -> None:
    """One that is not there is a mistake; but who knows, while the main file is wrong itself."""
    folder = tmp_path / "etc/damosd/schemes.d"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("{action: stat, targets: [web]}")
    if main:
        (folder.parent / "damosd.yaml").write_text(main)
    assert [one.message for one in find_configuration(tmp_path).problems] == [said]


def test_a_main_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """It says whose memory is acted on."""
    main = tmp_path / "etc/damosd/damosd.yaml"
    main.parent.mkdir(parents=True)
    main.write_text("targets: {}")
    main.chmod(0o666)
    (problem,) = find_configuration(tmp_path).problems
    assert (problem.path, problem.message) == (main, "it can be written by others than its owner")


def test_files_that_are_named_need_no_trust(tmp_path: Path) -> None:
    """Whoever names a file to be looked at knows whose it is."""
    path = tmp_path / "a.yaml"
    path.write_text("action: stat")
    path.chmod(0o666)
    assert not read_configuration([path]).problems
