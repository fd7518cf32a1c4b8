# SPDX-License-Identifier: GPL-2.0-only
"""Which scheme files there are: precedence, masks and order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from damosd.config.locate import FOLDERS, Located, folders_below, locate

Tree = Callable[..., Located]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that makes files such as `etc/10-a.yaml` and locates them; `-> x` makes a link to x."""

    def tree(*names: str) -> Located:
        for name in names:
            path, _, target = name.partition(" -> ")
            place = tmp_path / path
            place.parent.mkdir(exist_ok=True)
            if target:
                place.symlink_to(target)
            else:
                place.write_text("" if "empty" in path else "action: stat\n")
        return locate([tmp_path / folder for folder in ("etc", "run", "lib")])

    return tree


def paths(located: Located) -> list[str]:
    """Return the files that count, as folder/name."""
    return ["/".join(one.path.parts[-2:]) for one in located.files if not one.masked]


def test_folders_are_those_of_systemd() -> None:
    """What the administrator writes is before what a boot leaves, and that before what was installed."""
    assert [str(folder) for folder in FOLDERS] == [
        "/etc/damosd/schemes.d",
        "/run/damosd/schemes.d",
        "/usr/local/lib/damosd/schemes.d",
        "/usr/lib/damosd/schemes.d",
    ]
    assert folders_below(Path("/mnt"))[0] == Path("/mnt/etc/damosd/schemes.d")


def test_order_is_by_name_whatever_the_folder(tree: Tree) -> None:
    """A file of a package may come between two of the administrator's."""
    located = tree("etc/90-z.yaml", "etc/10-a.json", "lib/50-m.damos", "run/60-n.yaml")
    assert paths(located) == ["etc/10-a.json", "lib/50-m.damos", "run/60-n.yaml", "etc/90-z.yaml"]
    assert located.warnings == located.problems == ()


def test_a_namesake_is_replaced(tree: Tree) -> None:
    """The file in the folder that counts most stands for all of its name, and knows which it replaced."""
    located = tree("lib/a.yaml", "run/a.yaml", "etc/a.yaml", "lib/b.yaml", "run/b.yaml")
    assert paths(located) == ["etc/a.yaml", "run/b.yaml"]
    assert ["/".join(path.parts[-2:]) for path in located.files[0].replaces] == ["run/a.yaml", "lib/a.yaml"]


@pytest.mark.parametrize("mask", ["etc/a-empty.yaml", "etc/a-empty.yaml -> /dev/null"])
def test_a_mask_hides_namesakes(tree: Tree, tmp_path: Path, mask: str) -> None:
    """An empty file, or a link to /dev/null, leaves nothing of its name."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a-empty.yaml").write_text("action: stat\n")
    located = tree(mask)
    assert paths(located) == []
    assert [one.masked for one in located.files] == [True]


def test_a_mask_hides_only_what_is_below(tree: Tree) -> None:
    """An empty file of a package cannot mask what the administrator wrote."""
    assert paths(tree("etc/a.yaml", "lib/a.yaml -> /dev/null")) == ["etc/a.yaml"]


def test_leftovers_are_skipped(tree: Tree) -> None:
    """Hidden files, and what editors and package managers leave, are neither read nor told."""
    leftovers = [".a.yaml", ".a.yaml.swp", "a.yaml~", "a.yaml.dpkg-old", "a.yaml.dpkg-dist", "a.yaml.rpmsave", "README"]
    located = tree(*(f"etc/{name}" for name in leftovers))
    assert located == Located((), (), ())


def test_odd_names_are_told(tree: Tree) -> None:
    """A .yml is read with a warning; what has no ending of ours is not read, with one as well."""
    located = tree("etc/a.yml", "etc/b.ymal", "etc/c.yml -> /dev/null")
    assert paths(located) == ["etc/a.yml"]
    assert [(one.path.name, one.message.split(",")[0]) for one in located.warnings] == [
        ("b.ymal", "is not read: its name ends in none of .yaml"),
        ("a.yml", "is read"),
    ]


def test_a_folder_that_others_can_write_is_a_problem(tree: Tree, tmp_path: Path) -> None:
    """Its files are not located, as anybody may have put them there; those of other folders are."""
    tree("etc/a.yaml", "lib/b.yaml")
    (tmp_path / "etc").chmod(0o777)
    located = tree()
    assert paths(located) == ["lib/b.yaml"]
    assert [str(one.path) for one in located.problems] == [str(tmp_path / "etc")]
    assert "chmod go-w" in located.hint
