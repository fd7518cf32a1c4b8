# SPDX-License-Identifier: GPL-2.0-only
"""`make install` and `make uninstall`: what is where then, that it works, and that it goes again."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from installed.conftest import SOURCE, make

if TYPE_CHECKING:
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is below a folder: the path of everything, and the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        for path in folder.rglob("*")
    }


def damosd(tree: Path, *words: str) -> str:
    """Run the installed program where it lies, and return what it printed."""
    command = [str(tree / "usr/lib/damosd/venv/bin/python"), "-I", str(tree / "usr/bin/damosd"), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/").stdout


def test_it_runs_and_is_configured_to_do_nothing(tree: Path) -> None:
    """The main file is right and names no targets; no scheme is on."""
    assert "usage: damosd" in damosd(tree, "--help")
    assert damosd(tree, "check", "--root", str(tree)) == "1 file, 0 schemes: ok\n"
    report = json.loads(damosd(tree, "check", "--root", str(tree), "--json"))
    assert (report["main"], report["targets"]) == (str(tree / "etc/damosd/damosd.yaml"), [])


def test_manual_pages_and_completions_are_there(tree: Path) -> None:
    """As shells and `man` look for them."""
    share = tree / "usr/share"
    assert (share / "man/man8/damosd.8").read_text().startswith(".TH DAMOSD 8 ")
    assert "damosd" in (share / "bash-completion/completions/damosd").read_text()
    assert (share / "zsh/vendor-completions/_damosd").read_text().startswith("#compdef damosd")


def test_running_it_writes_nothing_where_it_is(tree: Path) -> None:
    """Root could, so that files would be left when the program is taken away: all is compiled already."""
    before = contents(tree)
    damosd(tree, "check", *map(str, tree.glob("usr/share/damosd/schemes/*.yaml")))
    assert contents(tree) == before


def test_a_shipped_scheme_is_switched_on_by_a_link(tree: Path) -> None:
    """The examples are where a link to them is trusted, with the schema that their first line names."""
    link = tree / "etc/damosd/schemes.d/60-prcl.yaml"
    link.symlink_to(tree / "usr/share/damosd/schemes/prcl.yaml")
    try:
        assert "2 files, 1 scheme: ok" in damosd(tree, "check", "--root", str(tree))
    finally:
        link.unlink()
    assert (tree / "usr/share/damosd/schemes/../etc/schema/damosd-scheme.schema.json").exists()


def test_nothing_points_to_where_it_was_built(tree: Path) -> None:
    """Paths are those of the system that it will be on."""
    strange = [os.fsencode(tree), os.fsencode(SOURCE)]
    assert [path for path, content in contents(tree).items() if any(one in content for one in strange)] == []
    links = [path for path in tree.rglob("*") if path.is_symlink()]
    assert {os.fspath(path.resolve().parent) for path in links} == {"/usr/bin"}


def test_the_unit_starts_what_was_installed(tree: Path) -> None:
    """Below whatever prefix."""
    unit = (tree / "usr/lib/systemd/system/damosd.service").read_text()
    assert "ExecStart=/usr/bin/damosd daemon\n" in unit
    assert "ExecReload=/usr/bin/damosd reload\n" in unit
    assert "/usr/local" not in unit
    assert os.access(tree / "usr/bin/damosd", os.X_OK)
    assert (tree / "usr/bin/damosd").read_text().startswith("#!/usr/lib/damosd/venv/bin/python -I\n")


def test_what_somebody_has_written_stays_and_all_else_goes(tmp_path: Path) -> None:
    """Installed, installed anew over it, and taken away, by no network."""
    own = {
        "etc/damosd/damosd.yaml": "version: 1\n",
        "etc/damosd/schemes.d/60-own.yaml": "version: 1\n",
        "opt/lib/damosd/schemes.d/10-own.yaml": "version: 1\n",
    }
    for path, text in own.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "opt/bin").mkdir()
    before = contents(tmp_path)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    where = [f"DESTDIR={tmp_path}", "PREFIX=/opt"]

    make("install", *where, **nowhere)
    installed = contents(tmp_path)
    assert installed.items() >= before.items()
    older = tmp_path / "opt/share/damosd/of-an-older-version"
    older.touch()
    with (tmp_path / "opt/lib/damosd/manifest").open("a") as manifest:
        manifest.write("/opt/share/damosd/of-an-older-version\n")

    make("install", *where, **nowhere)
    assert contents(tmp_path) == installed
    make("uninstall", *where)
    assert contents(tmp_path) == before


def test_configuration_goes_unless_it_was_changed(tmp_path: Path) -> None:
    """Ours is taken away with the program; an administrator's stays, and he is told."""
    where = [f"DESTDIR={tmp_path}"]
    make("install", *where)
    assert (tmp_path / "usr/local/bin/damosd").exists()
    make("uninstall", *where)
    assert contents(tmp_path) == {}

    make("install", *where)
    with (tmp_path / "etc/damosd/damosd.yaml").open("a") as main:
        main.write("targets: {mine: {comm: mine}}\n")
    assert "damosd.yaml was changed" in make("uninstall", *where)
    assert [path for path in contents(tmp_path) if path.count("/") > 1] == ["etc/damosd/damosd.yaml"]


def test_taking_away_what_is_not_there_says_so(tmp_path: Path) -> None:
    """And deletes nothing."""
    outcome = subprocess.run(
        ["make", "uninstall", f"DESTDIR={tmp_path}"], cwd=SOURCE, check=False, capture_output=True, text=True
    )
    assert outcome.returncode != 0
    assert "nothing is installed there" in outcome.stderr
