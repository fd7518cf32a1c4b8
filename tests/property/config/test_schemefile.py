# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every scheme file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import AccessPattern, AccessUnit, Action, AgeUnit, Bounds, Scheme
from damosd.units import MAX

Load = Callable[[str], list[Scheme]]

KEYS = st.sampled_from(
    ["version", "schemes", "name", "action", "access_pattern", "sz_bytes", "nr_accesses", "age", "min", "max", "x"]
)
SCALARS = st.sampled_from(["", "~", "1", "4K", "5 %", "3 samples", "5 s", "max", "stat", "pageout", "x"])
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Return a function that loads a text as a scheme file."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "mine.json")

        def load(text: str) -> list[Scheme]:
            path.write_text(text, encoding="utf-8", newline="")
            return load_scheme_file(path)

        yield load


@given(text=st.text() | st.text("a:- []{},'\"\\|>&*!%#?~0\n\t"))
def test_any_text_is_read_or_refused(load: Load, text: str) -> None:
    """No text makes the reader fail in another way than by a ConfigFileError."""
    with suppress(ConfigFileError):
        load(text)


@given(tree=TREES)
def test_any_data_is_read_or_refused_within_the_file(load: Load, tree: object) -> None:
    """Well-formed data of any shape is read, or refused with a line and column inside the file for every mistake."""
    text = json.dumps(tree, indent=1)
    lines = text.splitlines()
    try:
        schemes = load(text)
    except ConfigFileError as error:
        for problem in error.problems:
            assert problem.mark is None or problem.mark.column <= len(lines[problem.mark.line - 1])
    else:
        assert schemes


@st.composite
def ordered(draw: st.DrawFn, most: int) -> Bounds:
    """Draw bounds with a minimum that is no larger than the maximum."""
    return Bounds(*sorted(draw(st.tuples(st.integers(1, most), st.integers(1, most)))))


PATTERNS = st.builds(
    AccessPattern,
    sz_bytes=ordered(MAX),
    nr_accesses=ordered(100),
    access_unit=st.sampled_from(AccessUnit),
    age=ordered(2**40),
    age_unit=st.sampled_from(AgeUnit),
)


@given(
    scheme=st.builds(
        Scheme,
        name=st.from_regex(r"[a-zé]([a-z -]*[a-z])?", fullmatch=True),
        action=st.sampled_from([one for one in Action if not one.startswith("migrate")]),
        pattern=PATTERNS,
        apply_interval_us=st.integers(0, MAX),
        description=st.text("abc :#-'\"\\{}[]").map(str.strip),
    )
)
def test_written_scheme_is_read_back(load: Load, scheme: Scheme) -> None:
    """A scheme that is written out in the file's words is read back as the same scheme."""
    access = {AccessUnit.SAMPLES: "{:,} samples".format, AccessUnit.PERCENT: "{} %".format}
    age = {AgeUnit.MICROSECONDS: "{} us".format, AgeUnit.AGGREGATIONS: "{:,} aggr_intervals".format}
    bounds = {
        "sz_bytes": (scheme.pattern.sz_bytes, "{} B".format),
        "nr_accesses": (scheme.pattern.nr_accesses, access[scheme.pattern.access_unit]),
        "age": (scheme.pattern.age, age[scheme.pattern.age_unit]),
    }
    written = {
        "name": scheme.name,
        "description": scheme.description,
        "action": scheme.action,
        "access_pattern": {
            key: {"min": write(value.minimum), "max": write(value.maximum)} for key, (value, write) in bounds.items()
        },
        "apply_interval_us": scheme.apply_interval_us,
    }
    assert load(json.dumps(written)) == [scheme]
