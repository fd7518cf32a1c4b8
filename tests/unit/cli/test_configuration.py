# SPDX-License-Identifier: GPL-2.0-only
"""`damosd check`, `config show` and `schemes`: what they print, word for word, of a machine in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from damosd.cli.main import main
from damosd.linux import madvise, numa, thp

GOLDEN = Path(__file__).parents[2] / "golden" / "schemes"
Say = Callable[..., tuple[int, str, str]]

FILES = {
    "etc/damosd/damosd.yaml": "targets:\n  cache: {comm: redis-server}\n",
    "usr/lib/damosd/schemes.d/10-prcl.yaml": "name: prcl\naction: pageout\naccess_pattern: {age: {min: 5 s}}\n",
    "usr/lib/damosd/schemes.d/20-ethp.damos": "2M max 5 max 0 max hugepage\n",
    "usr/lib/damosd/schemes.d/30-masked.yaml": "action: cold\n",
    "usr/lib/damosd/schemes.d/40-web.yaml": "action: cold\n",
    "run/damosd/schemes.d/50-thp.yml": "name: no-thp\naction: nohugepage\naccess_pattern: {nr_accesses: {max: 10 %}}\n",
    "etc/damosd/schemes.d/40-web.yaml": """\
kdamonds:
  - contexts:
      - ops: vaddr
        targets: [{pid: 4242}]
        schemes: [{name: web, action: stat}]
      - ops: paddr
        targets: [{pid: null}]
        schemes: [{name: physical, action: pageout}]
""",
    "etc/damosd/schemes.d/60-mine.yaml": """\
- name: prcl
  description: not on this machine
  override: true
  enabled: false
- name: far
  action: migrate_cold
  target_nid: 99
  targets: [cache]
""",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine that has a bit of everything, and one NUMA node."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "etc/damosd/schemes.d/30-masked.yaml").symlink_to("/dev/null")
    monkeypatch.setattr(numa, "nodes_with_memory", lambda *_: (0,))
    monkeypatch.setattr(thp, "mode", lambda: "madvise")
    monkeypatch.setattr(madvise, "knows", lambda _: True)
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Return a function that runs the program and gives its exit code, stdout and stderr, with ROOT for the root."""

    def say(*words: str | Path) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out.replace(str(tmp_path), "ROOT"), err.replace(str(tmp_path), "ROOT")

    return say


def assert_golden(name: str, text: str) -> None:
    """Compare with the file of this name, which `DAMOSD_GOLDEN=write` writes anew."""
    path = GOLDEN / name
    if os.environ.get("DAMOSD_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ("check.txt", ["check"]),
        ("check.json", ["check", "--json"]),
        ("config-show.txt", ["config", "show"]),
        ("config-show-origin.txt", ["config", "show", "--origin"]),
        ("config-show.json", ["config", "show", "--json"]),
        ("schemes-list.txt", ["schemes", "list"]),
        ("schemes-list.json", ["schemes", "list", "--json"]),
        ("schemes-show.txt", ["schemes", "show", "web"]),
    ],
)
def test_output(machine: Path, say: Say, golden: str, words: list[str]) -> None:
    """A machine with files masked, replaced, overridden, disabled, refused and in conflict is shown as it is."""
    code, out, err = say(*words, "--root", machine)
    assert (code, err) == (0, "")
    assert_golden(golden, out)


def test_what_config_show_prints_is_a_scheme_file(machine: Path, say: Say, tmp_path: Path) -> None:
    """Its output can be kept as the one file of another machine."""
    _, out, _ = say("config", "show", "--origin", "--root", machine)
    path = tmp_path / "all.yaml"
    path.write_text(out)
    code, _, _ = say("check", path)
    assert code == 0


def test_a_machine_without_schemes(tmp_path: Path, say: Say) -> None:
    """Nothing is no mistake."""
    assert say("check", "--root", tmp_path)[:2] == (0, "0 files, 0 schemes: ok\n")
    assert say("config", "show", "--root", tmp_path)[:2] == (0, "# there is no scheme\n")
    assert say("schemes", "list", "--root", tmp_path)[0] == 0


def test_one_scheme_as_json_says_the_same(machine: Path, say: Say) -> None:
    """With its origin, and with all that its YAML says."""
    shown = json.loads(say("schemes", "show", "web", "--json", "--root", machine)[1])
    whole = json.loads(say("config", "show", "--json", "--root", machine)[1])
    (entry,) = [one for one in whole["schemes"] if one["scheme"]["name"] == "web"]
    assert (shown["origin"], shown["scheme"]) == (entry["origin"], entry["scheme"])


def test_mistakes_end_with_78(machine: Path, say: Say) -> None:
    """Each mistake of each file is a line with its place, and the exit code is that of a bad configuration."""
    folder = machine / "etc" / "damosd" / "schemes.d"
    (folder / "70-bad.yaml").write_text("action: pagout\nquotas: {sz: 1}\n")
    (folder / "71-open.yaml").write_text("action: stat\n")
    (folder / "71-open.yaml").chmod(0o666)
    code, out, _ = say("check", "--root", machine)
    assert code == 78
    assert out.splitlines()[:3] == [
        "ROOT/etc/damosd/schemes.d/70-bad.yaml:1:9: unknown action 'pagout', did you mean 'pageout'?",
        "ROOT/etc/damosd/schemes.d/70-bad.yaml:2:10: unknown key 'sz', did you mean 'sz_bytes'?",
        "ROOT/etc/damosd/schemes.d/71-open.yaml: it can be written by others than its owner",
    ]
    assert out.endswith("3 mistakes\n")
    report = json.loads(say("check", "--json", "--root", machine)[1])
    assert (report["ok"], len(report["mistakes"]), report["mistakes"][0]["line"]) == (False, 3, 1)
    for words in (["config", "show"], ["schemes", "list"], ["schemes", "show", "web"]):
        code, out, err = say(*words, "--root", machine)
        assert (code, out) == (78, "")
        assert "70-bad.yaml:1:9: unknown action" in err
        assert "hint: " in err


def test_check_of_files_that_are_named(say: Say, tmp_path: Path) -> None:
    """Named files are looked at as if they were all there are; a name in two of them is a mistake."""
    (tmp_path / "a.yaml").write_text("name: x\n")
    (tmp_path / "b.yaml").write_text("name: x\n")
    assert say("check", tmp_path / "a.yaml")[:2] == (0, "1 file, 1 scheme: ok\n")
    code, out, _ = say("check", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert code == 78
    assert "ROOT/b.yaml:1:1: the scheme name 'x' is taken by ROOT/a.yaml:1:1" in out
    assert say("check", tmp_path / "none.yaml")[0] == 78


def test_a_scheme_that_is_not_there(machine: Path, say: Say) -> None:
    """The nearest name is offered."""
    code, _, err = say("schemes", "show", "prlc", "--root", machine)
    assert code == 2
    assert err == "damosd: there is no scheme 'prlc'\nhint: did you mean 'prcl'?\n"


@pytest.mark.parametrize("to", ["yaml", "json", "damos"])
def test_convert_and_back(say: Say, tmp_path: Path, to: str) -> None:
    """What a line of old text says is the same after having been in any format."""
    text = "4K max 0% 0% 30s max pageout 10ms 128MiB 1s 0 3 7 free_mem_rate 5s 500 400 200\n"
    old, new = tmp_path / "reclaim.damos", tmp_path / f"new.{to}"
    old.write_text(text)
    assert say("schemes", "convert", old, "-o", new) == (0, "", "")
    code, out, err = say("schemes", "convert", new, "--to", "damos")
    assert (code, err) == (0, "")
    name = "new" if to == "damos" else "reclaim"
    assert out == f"# {name}\n{text.replace('4K', '4KiB')}"
    assert new.stat().st_mode & 0o777 == 0o644


def test_convert_writes_golden_yaml(say: Say) -> None:
    """A kdamonds file becomes YAML that a person would write, and its target is told as lost."""
    code, out, err = say("schemes", "convert", "--lossy", GOLDEN / "kdamonds.json")
    assert code == 0
    assert "target 'kdamonds' is left out" in err
    assert_golden("converted.yaml", out)


def test_convert_loses_nothing_in_silence(say: Say, tmp_path: Path) -> None:
    """Without --lossy nothing is written; with it, what is lost is told."""
    path = tmp_path / "rich.yaml"
    path.write_text("apply_interval_us: 1 s\nguard: off\nfilters: [{filter_type: anon, matching: true}]\n")
    code, out, err = say("schemes", "convert", path, "--to", "damos", "-o", tmp_path / "rich.damos")
    assert (code, out) == (1, "")
    told = "scheme 'rich': one-line text cannot hold apply_interval_us; filters; guard"
    assert told in err
    assert "--lossy" in err
    assert not (tmp_path / "rich.damos").exists()
    code, out, err = say("schemes", "convert", path, "--to", "damos", "--lossy")
    assert (code, out) == (0, "# rich\n0B max min max min max stat\n")
    assert told in err


def test_convert_refuses_to_overwrite(say: Say, tmp_path: Path) -> None:
    """A file that is there stays as it is, and so does what a link points to."""
    path, link = tmp_path / "a.yaml", tmp_path / "link.yaml"
    path.write_text("action: stat\n")
    link.symlink_to("nowhere.yaml")
    for output in (path, link):
        code, _, err = say("schemes", "convert", path, "-o", output)
        assert code == 2
        assert "exists already" in err
    assert path.read_text() == "action: stat\n"
    assert say("schemes", "convert", path, "-o", tmp_path / "a.txt")[0] == 2
