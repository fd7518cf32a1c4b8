# SPDX-License-Identifier: GPL-2.0-only
"""Filters of scheme files, and how many snapshots a scheme takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.damos.scheme import UNLIMITED, Filter, FilterType

if TYPE_CHECKING:
    from damosd.damos.scheme import Scheme

AssertMistake = Callable[[str, str], None]
Mistakes = Callable[[str], list[str]]
Only = Callable[[str], "Scheme"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filter_type: anon", Filter(FilterType.ANON)),
        ("filter_type: file", Filter(FilterType.FILE)),
        ("filter_type: young", Filter(FilterType.YOUNG)),
        ("filter_type: active, allow: true", Filter(FilterType.ACTIVE, allow=True)),
        ("filter_type: unmapped, memcg_path: null", Filter(FilterType.UNMAPPED)),
        ("filter_type: addr, address_range: {start: 0, end: 4G}", Filter(FilterType.ADDR, address_range=(0, 4 << 30))),
        ("filter_type: addr, address_range: [4K, max]", Filter(FilterType.ADDR, address_range=(4096, UNLIMITED))),
        ("filter_type: target, target_idx: 2", Filter(FilterType.TARGET, target=2)),
        ("filter_type: target, target_idx: 0", Filter(FilterType.TARGET)),
        ("filter_type: target, damon_target_idx: 2", Filter(FilterType.TARGET, target=2)),
        ("filter_type: memcg, memcg_path: /work/a b", Filter(FilterType.MEMCG, memcg_path="/work/a b")),
        (
            "filter_type: hugepage_size, hugepage_size: [2M, max]",
            Filter(FilterType.HUGEPAGE_SIZE, hugepage_size=(2 << 20, UNLIMITED)),
        ),
        (
            "filter_type: hugepage_size, hugepage_size: {min: 2M, max: 2M}",
            Filter(FilterType.HUGEPAGE_SIZE, hugepage_size=(2 << 20, 2 << 20)),
        ),
        ("filter_type: mapping, mapping: '*/libc.so*'", Filter(FilterType.MAPPING, mapping="*/libc.so*")),
    ],
)
def test_filter_types(only: Only, text: str, expected: Filter) -> None:
    """Every type of filter is read with its argument, and rejects unless it says that it allows."""
    assert only(f"filters: [{{{text}, matching: true}}]").filters == (expected,)


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("'Yes'", True), ("Y", True), ("false", False), ("NO", False), ("n", False)]
)
def test_booleans(only: Only, word: str, value: object) -> None:
    """Booleans are damo's words, in either case, quoted or not."""
    (read,) = only(f"filters: [{{filter_type: anon, matching: {word}, allow: {word}}}]").filters
    assert (read.matching, read.allow) == (value, value)


def test_order_of_the_lists(only: Only) -> None:
    """Core filters come first, then those of pages, then the older list, each in the order of the file."""
    text = """
filters: [{filter_type: anon, matching: true}, {filter_type: target, matching: true, target_idx: 1}]
ops_filters: [{filter_type: young, matching: false}, {filter_type: active, matching: true}]
core_filters: [{filter_type: addr, matching: true, address_range: [0, 1]}]
"""
    assert [read.type for read in only(text).filters] == ["addr", "young", "active", "anon", "target"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("^{matching: true}", "the key 'filter_type' is missing"),
        ("^{filter_type: anon}", "the key 'matching' is missing"),
        ("{filter_type: ^anom, matching: true}", "unknown filter type 'anom', did you mean 'anon'?"),
        ("{filter_type: ^x, matching: true}", "unknown filter type 'x', it must be one of addr, target, anon,"),
        ("{filter_type: ^probe_hits_wsum, matching: true}", "filter type 'probe_hits_wsum' is of physical memory"),
        ("{filter_type: anon, matching: ^1}", "'1' is neither true nor false"),
        ("{filter_type: anon, matching: true, allow: ^maybe}", "'maybe' is neither true nor false"),
        ("{filter_type: anon, matching: ^[true]}", "expected text such as 'true', not a list"),
        ("{filter_type: anon, matching: true, ^alow: true}", "unknown key 'alow', did you mean 'allow'?"),
        (
            "{filter_type: anon, matching: true, ^memcg_path: /a}",
            "'memcg_path' is for filter type 'memcg': 'anon' takes no argument",
        ),
        (
            "{filter_type: ^memcg, matching: true}",
            "filter type 'memcg' needs 'memcg_path', for example memcg_path: /batch",
        ),
        ("{filter_type: memcg, matching: true, memcg_path: ^a}", "'a' is not a cgroup"),
        ("{filter_type: memcg, matching: true, memcg_path: ^''}", "'' is not a cgroup"),
        ("{filter_type: target, matching: true, target_idx: ^-1}", "'-1' is not a whole number"),
        (
            "{filter_type: target, matching: true, target_idx: 1, ^damon_target_idx: 1}",
            "'damon_target_idx' is another word for 'target_idx'",
        ),
        ("{filter_type: ^mapping, matching: true}", "filter type 'mapping' needs 'mapping'"),
        ("{filter_type: addr, matching: true, address_range: ^4K}", "expected two sizes, [start, end] or"),
        ("{filter_type: addr, matching: true, address_range: ^[4K]}", "expected two sizes, [start, end] or"),
        ("{filter_type: addr, matching: true, address_range: [4K, ^4 KBs]}", "'4 KBs' is not a size"),
        ("{filter_type: addr, matching: true, address_range: [^~, 4K]}", "expected text such as '4 GiB', not"),
        ("{filter_type: addr, matching: true, address_range: ^{start: 1}}", "the key 'end' is missing"),
        ("{filter_type: addr, matching: true, address_range: {start: ^1, end: 1}}", "start '1' is not below end"),
        ("{filter_type: addr, matching: true, address_range: [^8K, 4K]}", "start '8K' is not below end '4K'"),
        ("{filter_type: hugepage_size, matching: true, hugepage_size: [^4M, 2M]}", "min '4M' is not below max"),
    ],
)
def test_wrong_filter(assert_mistake: AssertMistake, text: str, mistake: str) -> None:
    """One mistake in a filter gives one message, at the caret, with the value and what would be right."""
    assert_mistake(f"filters: [{text}]", mistake)


def test_argument_of_another_type_and_none_of_its_own(mistakes: Mistakes) -> None:
    """Both the argument that is wrong and the one that is missing are told."""
    found = mistakes("filters: [{filter_type: memcg, matching: true, mapping: a}]")
    assert [message.split(": ", 1)[1] for message in found] == [
        "filter type 'memcg' needs 'memcg_path', for example memcg_path: /batch",
        "'mapping' is for filter type 'mapping': 'memcg' takes 'memcg_path'",
    ]


def test_both_sizes_are_wrong(mistakes: Mistakes) -> None:
    """Each size of a range has its own mistake, at its place."""
    found = mistakes("filters: [{filter_type: addr, matching: true, address_range: [x, {}]}]")
    assert [message.split(" ")[0] for message in found] == ["1:63:", "1:66:"]


def test_key_of_a_range_is_misspelt(mistakes: Mistakes) -> None:
    """A misspelt key of a range is told with the one that is missing."""
    text = "filters: [{filter_type: addr, matching: true, address_range: {start: 1, edn: 2}}]"
    assert mistakes(text) == [
        "1:62: the key 'end' is missing",
        "1:73: unknown key 'edn', did you mean 'end'?",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("core_filters: [{filter_type: anon, matching: true}]", "1:30: 'anon' filters belong to ops_filters or"),
        (
            "ops_filters: [{filter_type: target, matching: true, target_idx: 0}]",
            "1:29: 'target' filters belong to core_filters or filters, not to ops_filters",
        ),
    ],
)
def test_filter_in_the_wrong_list(mistakes: Mistakes, text: str, mistake: str) -> None:
    """The two newer lists take only filters of their own layer."""
    (message,) = mistakes(text)
    assert message.startswith(mistake)


def test_max_nr_snapshots(only: Only, mistakes: Mistakes) -> None:
    """The number of snapshots is a whole number without a unit, 0 unless given."""
    assert only("max_nr_snapshots: '1,000'").max_nr_snapshots == 1000
    assert only("action: stat").max_nr_snapshots == 0
    (message,) = mistakes("max_nr_snapshots: 1.5")
    assert message.startswith("1:19: '1.5' is not a whole number: it must be whole; write for example '100'")
