# SPDX-License-Identifier: GPL-2.0-only
"""The key `guard` of scheme files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.damos.guard import DEFAULT_GUARD, LIFTED, Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.damos.scheme import Scheme

    Only = Callable[[str], Scheme]
    Mistakes = Callable[[str], list[str]]
    AssertMistake = Callable[[str, str], None]


def test_a_scheme_is_guarded_that_says_nothing(only: Only) -> None:
    """The defaults hold without the key, with an empty one, and with `on`."""
    for text in ("action: pageout", "guard:", "guard: {}", "guard: on"):
        assert only(text).guard == DEFAULT_GUARD
        assert DEFAULT_GUARD.enabled


@pytest.mark.parametrize("word", ["off", "no", "False", "{enabled: n}"])
def test_it_can_be_switched_off(only: Only, word: str) -> None:
    """In one word, or as a key."""
    assert only(f"guard: {word}").guard == Guard(enabled=False)


def test_every_limit_can_be_set(only: Only) -> None:
    """Each in its unit."""
    text = (
        "guard: {refault_per_sec: '1,000', swap_free_permil: 5 %, some_mem_psi_permil: 200, memcg_path: /batch, "
        "swap_out_bytes_per_sec: 10M, rss_floor_bytes: 64 MiB}"
    )
    assert only(text).guard == Guard(
        refault_per_sec=1000,
        swap_free_permil=50,
        some_mem_psi_permil=200,
        memcg_path="/batch",
        swap_out_bytes_per_sec=10 << 20,
        rss_floor_bytes=64 << 20,
    )


def test_every_limit_can_be_lifted(only: Only) -> None:
    """`max` where too much is bad, 0 where too little is."""
    text = (
        "guard: {refault_per_sec: max, swap_free_permil: 0, some_mem_psi_permil: max, swap_out_bytes_per_sec: max, "
        "rss_floor_bytes: 0}"
    )
    lifted = only(text).guard
    assert lifted == Guard(refault_per_sec=LIFTED, swap_free_permil=0, some_mem_psi_permil=LIFTED, rss_floor_bytes=0)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("guard: ^maybe", "'maybe' is neither on nor off"),
        ("guard: ^[on]", "expected a mapping with keys from enabled, refault_per_sec"),
        ("guard: {^refaults_per_sec: 3}", "unknown key 'refaults_per_sec', did you mean 'refault_per_sec'?"),
        ("guard: {refault_per_sec: ^0}", "refault_per_sec must be more than 0, or 'max'"),
        ("guard: {refault_per_sec: ^3 MiB}", "'3 MiB' is not a whole number"),
        ("guard: {some_mem_psi_permil: ^0 %}", "some_mem_psi_permil must be more than 0, or 'max'"),
        ("guard: {some_mem_psi_permil: ^101 %}", "'101 %' is more than all"),
        ("guard: {swap_free_permil: ^1001}", "'1001' is more than all"),
        ("guard: {swap_out_bytes_per_sec: ^4095}", "swap_out_bytes_per_sec must be a page of 4096 bytes at least"),
        ("guard: {some_mem_psi_permil: max, ^memcg_path: /a}", "memcg_path is for some_mem_psi_permil"),
        ("guard: {memcg_path: ^batch}", "'batch' is not a cgroup"),
        ("guard: {enabled: no, ^rss_floor_bytes: 1M}", "rss_floor_bytes means nothing while the guard is not enabled"),
        ("guard: {rss_floor_bytes: ^much}", "'much' is not a size"),
    ],
)
def test_mistakes(assert_mistake: AssertMistake, line: str, start: str) -> None:
    """Each is told where it is, with what would be right."""
    assert_mistake(line, start)


def test_all_mistakes_are_told(mistakes: Mistakes) -> None:
    """Several of one guard come together."""
    assert len(mistakes("guard: {refault_per_sec: 0, some_mem_psi_permil: 0, swap_out_bytes_per_sec: 0}")) == 3
