# SPDX-License-Identifier: GPL-2.0-only
"""Sizes, times, percentages and counts."""

from __future__ import annotations

import pytest

from damosd.units import (
    MAX,
    UnitError,
    format_size,
    format_time_us,
    nearest,
    parse_count,
    parse_fraction,
    parse_number,
    parse_parts,
    parse_percent,
    parse_size,
    parse_time_us,
    shown,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096 B", 4096),
        ("4K", 4096),
        ("4 KB", 4096),
        ("4KiB", 4096),
        (" 4 K ", 4096),
        ("1.5G", 3 << 29),
        (".5M", 1 << 19),
        ("1,024", 1024),
        ("1,048,576K", 1 << 30),
        ("010", 10),
        ("2T", 2 << 40),
        ("3P", 3 << 50),
        ("1E", 1 << 60),
        ("9007199254740993", 2**53 + 1),
        ("min", 0),
        ("max", MAX),
    ],
)
def test_size_grammar(text: str, size_bytes: int) -> None:
    """A size is read exactly, with 1024-based units, fractions, thousands commas, `min` and `max`."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["4k", "4kb", "4kB", "4kib", "4KIB"])
def test_size_units_in_any_case(text: str) -> None:
    """The case of a size unit does not matter, unlike in damo."""
    assert parse_size(text) == 4096


def test_huge_size_is_max() -> None:
    """A size that no address space has, such as damo's 2^64-1, means no limit."""
    assert parse_size("18,446,744,073,709,551,615") == parse_size("16E") == MAX


@pytest.mark.parametrize("text", ["0.1", "0.4 B", "0.0001K"])
def test_little_is_not_nothing(text: str) -> None:
    """A size below half a byte becomes 1 and not 0, which would mean no limit."""
    assert parse_size(text) == 1


@pytest.mark.parametrize(
    "text", ["", " ", "K", "-1", "+1", "0x1000", "1e3", "1_000", "1,5G", "10,24", "1.5.5", "4 5", "4K 5K", "4 X", "Max"]
)
def test_bad_size_is_refused_with_an_example(text: str) -> None:
    """What is no size is refused by an error that quotes it and shows right ones."""
    with pytest.raises(UnitError, match=r"is not a size: .*; write for example '4K', '1.5 GiB', 'max'") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


def test_misspelt_unit_gets_the_nearest() -> None:
    """A unit that is nearly one of ours is answered with that one."""
    with pytest.raises(UnitError, match=r"unknown unit 'GiBs' \(did you mean 'GiB'\?\)"):
        parse_size("2 GiBs")


def test_unknown_unit_gets_the_list() -> None:
    """A unit that is like none of ours is answered with all of them."""
    with pytest.raises(UnitError, match=r"unknown unit 'mins' \(ns us ms s m h d, where m is minutes\)"):
        parse_time_us("5 mins")


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("7", 7),
        ("1500 ns", 2),
        ("7us", 7),
        ("7 ms", 7000),
        ("1.5 s", 1_500_000),
        ("2 m", 120_000_000),
        ("1 h 2 m", 3_720_000_000),
        ("1h2m3s", 3_723_000_000),
        ("1 d", 86_400_000_000),
        ("1,000 ms", 1_000_000),
        ("1 ns", 1),
        ("min", 0),
        ("max", MAX),
    ],
)
def test_time_grammar(text: str, time_us: int) -> None:
    """A time is read in every unit and in combinations; what is not 0 does not become 0."""
    assert parse_time_us(text) == time_us


def test_bare_time_is_in_the_default_unit() -> None:
    """A number without a unit is in the unit that its field names."""
    assert parse_time_us("5", "ms") == 5000


@pytest.mark.parametrize("text", ["", "s", "12:30", "1 h 30", "5 30 s", "-5 s", "5 S", "5 sec", "MAX"])
def test_bad_time_is_refused_with_an_example(text: str) -> None:
    """What is no time is refused by an error that quotes it and shows right ones."""
    with pytest.raises(UnitError, match=r"is not a time: .*; write for example '100 ms', '1 h 30 m', 'max'") as caught:
        parse_time_us(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["12.5", "12.5%", "12.5 %", " 12.5  % "])
def test_percent_grammar(text: str) -> None:
    """A percentage is the same with and without its sign."""
    assert parse_percent(text) == 12.5


@pytest.mark.parametrize("text", ["", "%", "-1 %", "5 percent", "5 % 3 %"])
def test_bad_percent_is_refused(text: str) -> None:
    """What is no percentage is refused."""
    with pytest.raises(UnitError, match="is not a percentage"):
        parse_percent(text)


@pytest.mark.parametrize("text", ["1/8", " 1 / 8 ", "12.5%", "0.125", ".125"])
def test_fraction_grammar(text: str) -> None:
    """A fraction is written as a ratio, a percentage or a decimal."""
    assert parse_fraction(text) == 0.125


@pytest.mark.parametrize(
    ("text", "why"),
    [("3/2", "more than the whole"), ("50", "more than the whole"), ("1/0", "zero"), ("1/x", "unknown unit")],
)
def test_bad_fraction_is_refused(text: str, why: str) -> None:
    """A fraction above the whole, most likely a forgotten percent sign, is refused, and so is nonsense."""
    with pytest.raises(UnitError, match=why):
        parse_fraction(text)


def test_count_needs_its_unit() -> None:
    """A count is a whole number with the unit that was asked for."""
    assert parse_count("1,000 samples", "samples") == 1000
    for text, why in (("3", "no unit"), ("3 sample", "did you mean 'samples'"), ("2.5 samples", "must be whole")):
        with pytest.raises(UnitError, match=why):
            parse_count(text, "samples")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (4096, "4 KiB"),
        (512 << 20, "512 MiB"),
        (3 << 29, "1.5 GiB"),
        (123_456_789, "117.738 MiB"),
        ((1 << 20) - 512, "1023.5 KiB"),
        ((1 << 30) - 1, "1 GiB"),
        (MAX, "max"),
    ],
)
def test_size_is_shown_short(size_bytes: int, text: str) -> None:
    """A size is shown in the largest unit that fits, without needless zeros and never as 1024 of a unit."""
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "0 us"),
        (999, "999 us"),
        (100_000, "100 ms"),
        (5_000_000, "5 s"),
        (1_234_567, "1.234567 s"),
        (5_400_000_000, "1 h 30 m"),
        (86_400_000_001, "1 d 1 us"),
        (MAX, "max"),
    ],
)
def test_time_is_shown_exactly(time_us: int, text: str) -> None:
    """A time is shown in the units people would say, without losing a microsecond."""
    assert format_time_us(time_us) == text


@pytest.mark.parametrize(
    ("text", "whole", "parts"),
    [("30 %", 1000, 300), ("300", 1000, 300), ("0.1%", 1000, 1), ("99.7 %", 10_000, 9970), ("1,200", 1000, 1200)],
)
def test_parts_are_bare_or_percent(text: str, whole: int, parts: int) -> None:
    """A rate is so many parts of the whole, or percent of it."""
    assert parse_parts(text, whole) == parts


@pytest.mark.parametrize("text", ["0.05 %", "1.5", "5 permil", "max", "", "-1"])
def test_what_is_no_whole_number_of_parts_is_refused(text: str) -> None:
    """A rate that would have to be rounded, or is none, is refused."""
    with pytest.raises(UnitError, match=r"is not a rate in 1/1,000: .*write for example '30 %', '300'"):
        parse_parts(text, 1000)


def test_numbers_are_whole_and_have_no_unit() -> None:
    """A plain number may have commas, and nothing else."""
    assert parse_number(" 1,024 ") == 1024
    for text in ("1.5", "3 s", "-1", "max", ""):
        with pytest.raises(UnitError, match="is not a whole number"):
            parse_number(text)


def test_nearest_ignores_case() -> None:
    """A word is matched in any case, and a word like nothing matches nothing."""
    assert nearest("PAGOUT", ["cold", "pageout"]) == "pageout"
    assert nearest("zzz", ["cold", "pageout"]) is None


def test_shown_is_one_short_line() -> None:
    """A quoted value cannot break the message's line or fill the screen."""
    assert shown("a\n\x1b[1m") == r"'a\n\x1b[1m'"
    assert len(shown("x" * 10_000)) < 60


def test_endless_number_is_refused() -> None:
    """A number far beyond any meaning is refused before it is computed."""
    with pytest.raises(UnitError, match="too long"):
        parse_size("9" * 100_000)
