# SPDX-License-Identifier: GPL-2.0-only
"""Schemes that are written in one format and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from damosd.config import jsonschema
from damosd.config.entries import Entry, Origin
from damosd.config.problems import Mark
from damosd.config.schemefile import read_scheme_file
from damosd.config.write import to_json, to_yaml
from damosd.config.writedamos import lost, to_damos
from damosd.damos.guard import DEFAULT_GUARD
from damosd.damos.scheme import AccessPattern, Action, Dest, Quota, Scheme, Watermarks
from damosd.units import MAX
from property.config.test_full_schemes import COUNTS, MILLISECONDS, WEIGHTS, filters, guards, quotas, watermarks
from property.config.test_schemefile import PATTERNS

DOC = Path(__file__).parents[3] / "docs" / "schemes.md"
VALIDATOR = Draft202012Validator(jsonschema.schema(DOC.read_text(encoding="utf-8")))
ORIGIN = Origin(Path("mine.yaml"), Mark(1, 1))
NAMES = st.text("abc -_#:'\"\\{}[],&*!é😀0").map(str.strip).filter(bool)
SIMPLE_QUOTAS = st.builds(Quota, MILLISECONDS, st.integers(1, MAX), MILLISECONDS, WEIGHTS)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw a scheme with anything that a file can say, and how it goes with others."""
    dests = tuple(draw(st.lists(st.builds(Dest, COUNTS, COUNTS.filter(bool)), max_size=2)))
    plain = st.sampled_from([one for one in Action if not one.startswith("migrate")])
    scheme = Scheme(
        name=draw(NAMES),
        action=draw(st.sampled_from([Action.MIGRATE_HOT, Action.MIGRATE_COLD]) if dests else plain),
        pattern=draw(st.just(AccessPattern()) | PATTERNS),
        apply_interval_us=draw(st.integers(0, MAX)),
        description=draw(st.text("abc :#-'\"\\{}[]\n\té").map(str.strip)),
        quota=draw(st.just(Quota()) | quotas()),
        watermarks=draw(st.just(Watermarks()) | watermarks()),
        filters=tuple(draw(st.lists(filters(), max_size=3))),
        max_nr_snapshots=draw(COUNTS),
        dests=dests,
        guard=draw(st.just(DEFAULT_GUARD) | guards()),
    )
    targets = tuple(draw(st.lists(NAMES, max_size=2, unique=True)))
    return Entry(scheme, ORIGIN, draw(st.booleans()), draw(st.booleans()), targets)


def read(name: str, text: str) -> list[Entry]:
    """Return what the text of a file comes to, wherever in it."""
    file = read_scheme_file(Path(name), text.encode())
    return [replace(entry, origin=ORIGIN) for entry in file.entries]


@given(written=st.lists(entries(), min_size=1, max_size=3, unique_by=lambda entry: entry.scheme.name))
def test_yaml_and_json_hold_everything(written: list[Entry]) -> None:
    """Whatever a scheme says is said by its YAML and its JSON, read as the same scheme and right by our JSON Schema."""
    assert read("mine.yaml", to_yaml(written)) == written
    assert read("mine.json", to_json(written)) == written
    VALIDATOR.validate(json.loads(to_json(written)))


@given(
    pattern=PATTERNS | st.just(AccessPattern()),
    action=st.sampled_from([one for one in Action if not one.startswith("migrate")]),
    quota=st.just(Quota()) | SIMPLE_QUOTAS,
    marks=st.just(Watermarks()) | watermarks(),
    name=NAMES,
)
def test_one_line_text_holds_what_is_not_told_as_lost(
    pattern: AccessPattern, action: Action, quota: Quota, marks: Watermarks, name: str
) -> None:
    """A scheme of which nothing would be lost is read from its line as the same, but for the name."""
    scheme = Scheme(name, action, pattern, quota=quota, watermarks=marks)
    entry = Entry(scheme, ORIGIN)
    assume(not lost(entry))
    assert read("mine.damos", to_damos([entry])) == [replace(entry, scheme=replace(scheme, name="mine"))]


@given(entry=entries())
def test_one_line_text_is_always_readable(entry: Entry) -> None:
    """Also where something is lost, the line is one that is read, but for schemes that need a node."""
    assume(not entry.scheme.dests)
    (back,) = read("mine.damos", to_damos([entry]))
    assert back.scheme.action is entry.scheme.action
    assert back.scheme.pattern.sz_bytes == entry.scheme.pattern.sz_bytes
