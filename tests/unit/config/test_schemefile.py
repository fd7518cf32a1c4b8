# SPDX-License-Identifier: GPL-2.0-only
"""Scheme files: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, Action, AgeUnit, Bounds, Scheme

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., list[Scheme]]
Mistakes = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a text as a scheme file named `mine.yaml`, or as told."""

    def load(text: str, name: str = "mine.yaml") -> list[Scheme]:
        path = tmp_path / name
        path.write_text(text)
        return load_scheme_file(path)

    return load


def pattern(load: Load, text: str) -> AccessPattern:
    """Load one scheme with this access pattern, in flow style, and return the pattern."""
    (scheme,) = load(f"access_pattern: {text}")
    return scheme.pattern


def test_every_key(load: Load) -> None:
    """Every key of a scheme arrives where the engine looks for it."""
    text = """
version: 1
schemes:
  - name: reclaim
    description: |
      pages out what is idle
    action: pageout
    access_pattern:
      sz_bytes: {min: 4K, max: 1.5 GiB}
      nr_accesses: {min: 0 %, max: 5 %}
      age: {min: 30 s, max: max}
    apply_interval_us: 1 s
"""
    assert load(text) == [
        Scheme(
            name="reclaim",
            description="pages out what is idle",
            action=Action.PAGEOUT,
            pattern=AccessPattern(
                sz_bytes=Bounds(4096, 3 << 29),
                nr_accesses=Bounds(0, 5),
                access_unit=AccessUnit.PERCENT,
                age=Bounds(30_000_000, UNLIMITED),
                age_unit=AgeUnit.MICROSECONDS,
            ),
            apply_interval_us=1_000_000,
        )
    ]


def test_defaults_are_damos(load: Load) -> None:
    """What is left out, or has nothing behind its key, is every region, action stat, every aggregation interval."""
    plain = Scheme(name="mine", action=Action.STAT)
    assert load("description: ''") == [plain]
    empty = "name:\ndescription: ~\naction: null\naccess_pattern:\napply_interval_us:\n"
    assert load(empty) == [plain]
    assert load("access_pattern: {sz_bytes: , nr_accesses: {min: }, age: {}}") == [plain]


@pytest.mark.parametrize(
    "text",
    ["{schemes: [{action: cold}]}", "{version: 1, schemes: [{action: cold}]}", "[{action: cold}]", "{action: cold}"],
)
def test_three_shapes(load: Load, text: str) -> None:
    """A file is a mapping with `schemes`, a bare list of schemes, or one scheme."""
    assert [scheme.action for scheme in load(text)] == [Action.COLD]


def test_damos_json_drops_in(load: Load) -> None:
    """A scheme list as damo 3.4 writes it into JSON is read unchanged."""
    scheme = {
        "action": "pageout",
        "access_pattern": {
            "sz_bytes": {"min": "4.000 KiB", "max": "max"},
            "nr_accesses": {"min": "0 %", "max": "18,446,744,073,709,551,615 %"},
            "age": {"min": "1 m 30 s", "max": "max"},
        },
        "apply_interval_us": "1 s",
    }
    (read,) = load(json.dumps([scheme], indent="\t"), "mine.json")
    assert read.pattern == AccessPattern(
        sz_bytes=Bounds(4096, UNLIMITED),
        nr_accesses=Bounds(0, UNLIMITED),
        access_unit=AccessUnit.PERCENT,
        age=Bounds(90_000_000, UNLIMITED),
        age_unit=AgeUnit.MICROSECONDS,
    )


@pytest.mark.parametrize(
    ("bounds", "expected", "unit"),
    [
        ("{min: 5 %, max: 10.5%}", Bounds(5, 10.5), AccessUnit.PERCENT),
        ("{min: 5, max: 10}", Bounds(5, 10), AccessUnit.PERCENT),
        ("{min: 3 samples, max: 4 samples}", Bounds(3, 4), AccessUnit.SAMPLES),
        ("{min: 0, max: 3 samples}", Bounds(0, 3), AccessUnit.SAMPLES),
        ("{min: min, max: 3 samples}", Bounds(0, 3), AccessUnit.SAMPLES),
        ("{max: 5 %}", Bounds(0, 5), AccessUnit.PERCENT),
        ("{min: 5 %, max: max}", Bounds(5, UNLIMITED), AccessUnit.PERCENT),
        ("{min: 1 samples}", Bounds(1, UNLIMITED), AccessUnit.SAMPLES),
        ("{min: 100 %, max: 100 %}", Bounds(100, 100), AccessUnit.PERCENT),
    ],
)
def test_access_rate_units(load: Load, bounds: str, expected: Bounds, unit: AccessUnit) -> None:
    """An access rate is percent, as in damo when bare, or samples; 0, `min` and `max` fit both."""
    read = pattern(load, f"{{nr_accesses: {bounds}}}")
    assert (read.nr_accesses, read.access_unit) == (expected, unit)


@pytest.mark.parametrize(
    ("bounds", "expected", "unit"),
    [
        ("{min: 30 s, max: 1 h 2 m}", Bounds(30_000_000, 3_720_000_000), AgeUnit.MICROSECONDS),
        ("{min: 30, max: 40}", Bounds(30, 40), AgeUnit.MICROSECONDS),
        ("{min: 50 aggr_intervals, max: max}", Bounds(50, UNLIMITED), AgeUnit.AGGREGATIONS),
        ("{min: 0, max: 50 aggr_intervals}", Bounds(0, 50), AgeUnit.AGGREGATIONS),
        ("{max: 5 s}", Bounds(0, 5_000_000), AgeUnit.MICROSECONDS),
    ],
)
def test_age_units(load: Load, bounds: str, expected: Bounds, unit: AgeUnit) -> None:
    """An age is a time, microseconds as in damo when bare, or aggregation intervals; 0, `min` and `max` fit both."""
    read = pattern(load, f"{{age: {bounds}}}")
    assert (read.age, read.age_unit) == (expected, unit)


def test_names_default_to_the_file(load: Load) -> None:
    """A scheme without a name is called as its file, the n-th with `-n` behind it."""
    names = [scheme.name for scheme in load("[{action: cold}, {name: other}, {action: stat}]", "50-idle.yaml")]
    assert names == ["50-idle", "other", "50-idle-3"]


def test_five_mistakes_are_five_lines(mistakes: Mistakes) -> None:
    """A file that is wrong in five places gets exactly five messages, each at its line and column."""
    text = """\
version: 1
schemes:
  - name: idle
    action: pagout
    acess_pattern:
      sz_bytes: {min: 4K}
  - name: cold
    action: cold
    access_pattern:
      sz_bytes: {min: 4 KBs, max: max}
      nr_accesses: {min: 9 %, max: 5 %}
    name: again
"""
    assert mistakes(text) == [
        "4:13: unknown action 'pagout', did you mean 'pageout'?",
        "5:5: unknown key 'acess_pattern', did you mean 'access_pattern'?",
        (
            "10:23: '4 KBs' is not a size: unknown unit 'KBs' (did you mean 'KB'?); "
            "write for example '4K', '1.5 GiB', 'max'"
        ),
        "11:26: min '9 %' is more than max '5 %': nothing can match",
        "12:5: duplicate key 'name', given before on line 7",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("actoin: stat", "1:1: unknown key 'actoin', did you mean 'action'?"),
        ("schems: []", "1:1: unknown key 'schems', did you mean 'schemes'?"),
        ("{version: 1, shemes: []}", "1:14: unknown key 'shemes', did you mean 'schemes'?"),
        ("[{limit: 1}]", "1:3: unknown key 'limit', the keys here are name, description, action,"),
        ("action: PAGEOUT", "1:9: unknown action 'PAGEOUT', did you mean 'pageout'?"),
        ("action: on", "1:9: unknown action 'on', it must be one of pageout, cold, willneed, hugepage, "),
        ("action: [stat]", "1:9: expected text such as 'pageout', not a list"),
        ("access_pattern: {sz_bytes: [4K, max]}", "1:28: expected a mapping with keys from min, max, not a list"),
        ("access_pattern: often", "1:17: expected a mapping with keys from sz_bytes, nr_accesses, age,"),
        ("access_pattern: {age: {min: {s: 5}}}", "1:29: expected text such as '30 s', not a mapping"),
        ("schemes: {}", "1:10: expected a list, not a mapping"),
        ("[stat]", "1:2: expected a mapping with keys from name,"),
        ("- action: stat\n-\n", "2:2: expected a mapping with keys from name,"),
        ("stat", "1:1: expected a scheme or a list of schemes, not text"),
        ("{}", "1:1: there is no scheme in this file"),
        ("[]", "1:1: there is no scheme in this file"),
        ("version: 1\nschemes:\n", "2:9: there is no scheme in this file"),
        ("{version: 2, schemes: [{}]}", "1:11: version '2' is unknown, this damosd reads version 1"),
        ("name: ''", "1:7: '' is no name"),
        ("name: ' a'", "1:7: ' a' is no name"),
        ('name: "a\\nb"', "1:7: 'a\\nb' is no name"),
        ("apply_interval_us: 1 sec", "1:20: '1 sec' is not a time: unknown unit 'sec' (ns us ms s m h d,"),
        ("access_pattern: {sz_bytes: {min: 8M, max: 4M}}", "1:34: min '8M' is more than max '4M'"),
        ("access_pattern: {nr_accesses: {max: 150 %}}", "1:37: '150 %' is more than 100 %"),
        ("access_pattern: {nr_accesses: {min: 2.5 samples}}", "1:37: '2.5 samples' is not a number of samples"),
        ("access_pattern: {nr_accesses: {min: often}}", "1:37: 'often' is not a number of samples: it must start"),
        ("access_pattern: {nr_accesses: {min: 5 %, max: 3 samples}}", "1:47: max is in samples but min in percent"),
        ("access_pattern: {nr_accesses: {min: 5, max: 30 samples}}", "1:45: max is in samples but min in percent"),
        ("access_pattern: {age: {min: 5 s, max: 9 aggr_intervals}}", "1:39: max is in aggr_intervals but min in us"),
        ("access_pattern: {age: {min: 9 aggr_interval}}", "1:29: '9 aggr_interval' is not a number of aggr_intervals"),
        ("access_pattern: {age: {min: 12:30}}", "1:29: '12:30' is not a time"),
        ("access_pattern: {sz_bytes: {min: 1,024}}", "1:36: unknown key '024'"),
        ("[{name: a}, {name: a}]", "1:20: the name 'a' is taken by the scheme on line 1"),
        ("- action: stat\n- name: mine\n", "2:9: the name 'mine' is taken by the scheme on line 1"),
        ("- name: mine-2\n- action: stat\n", "2:3: the name 'mine-2' is taken by the scheme on line 1"),
        ("access_pattern: !x {}", "1:17: tags are not read here: !x"),
    ],
)
def test_mistake_and_advice(mistakes: Mistakes, text: str, mistake: str) -> None:
    """One mistake gives one message, at its place, with the bad value and what would be right."""
    (message,) = mistakes(text)
    assert message.startswith(mistake)


@pytest.mark.parametrize("unit", ["'5 %'", "'3 samples'"])
def test_bad_access_rate_shows_both_units(mistakes: Mistakes, unit: str) -> None:
    """Whoever gets the unit of an access rate wrong is shown both."""
    (message,) = mistakes("access_pattern: {nr_accesses: {min: 5 percent}}")
    assert unit in message


@pytest.mark.parametrize("unit", ["'1 h 30 m'", "'50 aggr_intervals'"])
def test_bad_age_shows_both_units(mistakes: Mistakes, unit: str) -> None:
    """Whoever gets the unit of an age wrong is shown both."""
    (message,) = mistakes("access_pattern: {age: {min: 5 minutes}}")
    assert unit in message


def test_repeated_name_is_told_with_other_mistakes(mistakes: Mistakes) -> None:
    """Repeated names are found although the file is wrong elsewhere too."""
    found = mistakes("- {name: a, action: x}\n- {name: a}\n")
    assert [line.split(" ")[0] for line in found] == ["1:21:", "2:10:"]


def test_path_may_be_a_string(tmp_path: Path) -> None:
    """A path is taken as text as well."""
    (tmp_path / "a.yaml").write_text("action: cold")
    assert load_scheme_file(str(tmp_path / "a.yaml"))[0].name == "a"


@pytest.mark.parametrize("module", ["damosd.config", "damosd.config.yamlload", "damosd.units"])
def test_pydantic_is_loaded_only_for_scheme_files(module: str) -> None:
    """Importing anything but the scheme file's reader leaves pydantic, the slowest import, alone."""
    code = f"import sys, {module}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
