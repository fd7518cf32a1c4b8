# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every size and every time."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from damosd.units import (
    MAX,
    UnitError,
    format_size,
    format_time_us,
    parse_count,
    parse_fraction,
    parse_percent,
    parse_size,
    parse_time_us,
)

ANY_VALUE = st.integers(0, MAX)


@given(ANY_VALUE)
def test_time_round_trip(time_us: int) -> None:
    """A shown time reads back as exactly the same time."""
    assert parse_time_us(format_time_us(time_us)) == time_us


@given(ANY_VALUE)
@example(2**20 - 1)
def test_size_round_trip(size_bytes: int) -> None:
    """A shown size reads back within 0.05 % of the size, rounded to bytes."""
    assert abs(parse_size(format_size(size_bytes)) - size_bytes) <= size_bytes / 2000 + 0.5


@given(st.integers(0, 8191), st.sampled_from(range(10, 50, 10)))
def test_size_round_trip_is_exact_for_eighths(eighths: int, shift: int) -> None:
    """A size of whole eighths of a unit, such as 1.125 GiB, is shown without loss."""
    size_bytes = (eighths << shift) // 8
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(ANY_VALUE, ANY_VALUE)
def test_shown_sizes_keep_their_order(one: int, other: int) -> None:
    """Of two sizes the larger one is never shown as the smaller."""
    assert (parse_size(format_size(one)) <= parse_size(format_size(other))) or one > other


@given(st.text() | st.from_regex(r"[0-9,. ]{0,12}[A-Za-z%/ ]{0,4}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes a reader fail in another way than by UnitError, nor give a value out of range."""
    with suppress(UnitError):
        assert 0 <= parse_size(text) <= MAX
    with suppress(UnitError):
        assert 0 <= parse_time_us(text) <= MAX
    with suppress(UnitError):
        assert parse_percent(text) >= 0
    with suppress(UnitError):
        assert 0 <= parse_fraction(text) <= 1
    with suppress(UnitError):
        assert 0 <= parse_count(text, "samples") <= MAX
