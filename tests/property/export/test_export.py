# SPDX-License-Identifier: GPL-2.0-only
"""Names and figures of any kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from damosd.export.exposition import Family, Kind, Metric, text
from damosd.export.totals import Totals

COUNTER = Metric("one_total", Kind.COUNTER, "One.", ("name", "other"))
MORE = Metric("more_total", Kind.COUNTER, "Another.", ("name", "other"))
ANY_TEXT = st.text(st.characters(codec=None), max_size=300)


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_any_names_and_numbers_are_read_back(samples: list[tuple[str, str, float]]) -> None:
    """As many lines and numbers as went in, in their order, and names that are text unchanged."""
    content = text([Family(COUNTER, tuple(((name, other), number) for name, other, number in samples))])
    assert len(content.splitlines()) == len(samples) + 2
    assert content.replace("\n", "").isprintable()
    (family,) = text_string_to_metric_families(content)
    assert [one.value for one in family.samples] == [number for *_, number in samples]
    for sample, (name, other, _) in zip(family.samples, samples, strict=True):
        for label, written in ((sample.labels["name"], name), (sample.labels["other"], other)):
            if written.isprintable() and len(written) <= 200:
                assert label == written


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.tuples(st.integers(0, 100), st.integers(0, 100)), st.booleans()), max_size=40
    )
)
def test_totals_are_the_sum_of_all_increments(steps: list[tuple[int, tuple[int, int], bool]]) -> None:
    """Whatever begins anew or ends, no total falls, and each is what its sources have counted since they began."""
    totals = Totals(COUNTER, MORE)
    last: dict[int, tuple[int, ...]] = {}
    expected = [0, 0]
    for source, values, ends in steps:
        before = last.get(source, (0, 0))
        for index in (0, 1):
            expected[index] += values[index] - (before[index] if values[index] >= before[index] else 0)
        totals.note(("a", "b"), values, source)
        last[source] = values
        if ends:
            totals.end_others(("a", "b"), {source})
            last = {source: values}
        assert [dict(one.samples)["a", "b"] for one in totals.families()] == expected
