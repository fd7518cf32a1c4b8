# SPDX-License-Identifier: GPL-2.0-only
"""Quotas and watermarks of scheme files: what they mean, and what is said when they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.damos.scheme import UNLIMITED, Goal, GoalMetric, Quota, Tuner, WatermarkMetric, Watermarks, Weights

if TYPE_CHECKING:
    from damosd.damos.scheme import Scheme

AssertMistake = Callable[[str, str], None]
Mistakes = Callable[[str], list[str]]
Only = Callable[[str], "Scheme"]


def test_every_key_of_a_quota(only: Only) -> None:
    """Every key of a quota, in damo's words, arrives where the engine looks for it."""
    text = """
quotas:
  time_ms: 10 ms
  sz_bytes: 128 MiB
  reset_interval_ms: 1 s
  fail_charge_num: 1
  fail_charge_denom: 4,096
  goals:
    - {metric: some_mem_psi_us, complement: false, nid: null, memcg_path: null, target_value: 10 ms, current_value: 0}
    - {metric: user_input, target_value: 100, current_value: 60}
  goal_tuner: temporal
  weights: {sz_permil: 0 %, nr_accesses_permil: 30 %, age_permil: 70 %}
"""
    assert only(text).quota == Quota(
        time_ms=10,
        sz_bytes=128 << 20,
        reset_interval_ms=1000,
        weights=Weights(sz=0, nr_accesses=300, age=700),
        goals=(Goal(GoalMetric.SOME_MEM_PSI_US, 10_000), Goal(GoalMetric.USER_INPUT, 100, current_value=60)),
        goal_tuner=Tuner.TEMPORAL,
        fail_charge_num=1,
        fail_charge_denom=4096,
    )


@pytest.mark.parametrize(
    "text",
    [
        "action: stat",
        "quotas:",
        "quotas: {}",
        "quotas: {time_ms: 0 ns, sz_bytes: 0 B, reset_interval_ms: 0 ns, goals: [], weights: {sz_permil: 0 %}}",
    ],
)
def test_no_quota(only: Only, text: str) -> None:
    """A quota that is left out, empty or all zero, as damo writes it, is no limit."""
    assert only(text).quota == Quota()
    assert not only(text).quota.limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{time_ms: 10}", Quota(time_ms=10)),
        ("{time_ms: 1 s}", Quota(time_ms=1000)),
        ("{time_ms: 1.5 s}", Quota(time_ms=1500)),
        ("{time_ms: 1000 us}", Quota(time_ms=1)),
        ("{time_ms: max}", Quota(time_ms=UNLIMITED)),
        ("{time_ms: 1, reset_interval_ms: 200}", Quota(time_ms=1, reset_interval_ms=200)),
        ("{sz_bytes: 4096}", Quota(sz_bytes=4096)),
        ("{sz_bytes: 1.5 GiB}", Quota(sz_bytes=3 << 29)),
        ("{sz_bytes: 1, weights: {age_permil: 1}}", Quota(sz_bytes=1, weights=Weights(age=1))),
        ("{sz_bytes: 1, weights: {age_permil: 1 %}}", Quota(sz_bytes=1, weights=Weights(age=10))),
        ("{sz_bytes: 1, weights: {age_permil: 0.1 %}}", Quota(sz_bytes=1, weights=Weights(age=1))),
        ("{sz_bytes: 1, weights: {sz_permil: 2000}}", Quota(sz_bytes=1, weights=Weights(sz=2000))),
    ],
)
def test_quota_units(only: Only, text: str, expected: Quota) -> None:
    """Times are milliseconds and weights permil when bare, as in damo, and all of a quota may be left out."""
    assert only(f"quotas: {text}").quota == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{metric: user_input, target_value: '1,000'}", Goal(GoalMetric.USER_INPUT, 1000)),
        ("{metric: some_mem_psi_us, target_value: 250}", Goal(GoalMetric.SOME_MEM_PSI_US, 250)),
        (
            "{metric: some_mem_psi_us, target_value: 1 s, memcg_path: /a/b}",
            Goal(GoalMetric.SOME_MEM_PSI_US, 1_000_000, memcg_path="/a/b"),
        ),
        ("{metric: node_mem_used_bp, target_value: 99.7 %, nid: 1}", Goal(GoalMetric.NODE_MEM_USED_BP, 9970, nid=1)),
        ("{metric: node_mem_free_bp, target_value: 50, nid: 0}", Goal(GoalMetric.NODE_MEM_FREE_BP, 50)),
        (
            "{metric: node_memcg_used_bp, target_value: 0.01 %, nid: 2, memcg_path: /a}",
            Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, nid=2, memcg_path="/a"),
        ),
        ("{metric: active_mem_bp, target_value: 50 %}", Goal(GoalMetric.ACTIVE_MEM_BP, 5000)),
        ("{metric: inactive_mem_bp, target_value: 100 %}", Goal(GoalMetric.INACTIVE_MEM_BP, 10_000)),
        ("{metric: target_rss_bytes, target_value: 200 MiB}", Goal(GoalMetric.TARGET_RSS_BYTES, 200 << 20)),
        ("{metric: refault_per_sec, target_value: 30}", Goal(GoalMetric.REFAULT_PER_SEC, 30)),
    ],
)
def test_goal_units(only: Only, text: str, expected: Goal) -> None:
    """The unit of a target value is that of its metric."""
    assert only(f"quotas: {{reset_interval_ms: 1 s, goals: [{text}]}}").quota.goals == (expected,)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{time_ms: ^10 sec}", "'10 sec' is not a time: unknown unit 'sec'"),
        ("{time_ms: ^1500 us}", "'1500 us' is not a whole number of milliseconds"),
        ("{time_ms: ^1 ns}", "'1 ns' is not a whole number of milliseconds"),
        ("{^time: 10 ms}", "unknown key 'time', did you mean 'time_ms'?"),
        ("{^sz_byte: 1}", "unknown key 'sz_byte', did you mean 'sz_bytes'?"),
        ("{sz_bytes: ^1 kb/s}", "'1 kb/s' is not a size: unknown unit 'kb/s'"),
        ("^10 ms", "expected a mapping with keys from time_ms, sz_bytes, reset_interval_ms, weights,"),
        ("{^reset_interval_ms: 1 s}", "reset_interval_ms limits nothing by itself: set time_ms, sz_bytes or goals"),
        ("{^weights: {age_permil: 1}}", "weights limits nothing by itself"),
        ("{fail_charge_num: 1, ^fail_charge_denom: 9}", "fail_charge_denom limits nothing by itself"),
        ("{sz_bytes: 1, fail_charge_num: ^1}", "fail_charge_num is divided by fail_charge_denom, which must be"),
        ("{sz_bytes: 1, fail_charge_num: 1, fail_charge_denom: ^0}", "fail_charge_num is divided by"),
        ("{sz_bytes: 1, fail_charge_num: ^1 %}", "'1 %' is not a whole number: unknown unit '%' (it has none)"),
        ("{sz_bytes: 1, goal_tuner: ^consistent}", "unknown tuner 'consistent', did you mean 'consist'?"),
        ("{sz_bytes: 1, weights: {^age: 1}}", "unknown key 'age', did you mean 'age_permil'?"),
        ("{sz_bytes: 1, weights: {age_permil: ^0.05 %}}", "'0.05 %' is not a rate in 1/1,000: it must be whole"),
        ("{sz_bytes: 1, weights: {age_permil: ^often}}", "'often' is not a rate in 1/1,000: it must start"),
        ("{sz_bytes: 1, goals: ^3}", "expected a list, not text"),
        ("{^goals: [{metric: user_input, target_value: 3}]}", "goals need a reset interval: set reset_interval_ms"),
    ],
)
def test_wrong_quota(assert_mistake: AssertMistake, text: str, mistake: str) -> None:
    """One mistake in a quota gives one message, at the caret, with the value and what would be right."""
    assert_mistake(f"quotas: {text}", mistake)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("^{target_value: 3}", "the key 'metric' is missing"),
        ("^{metric: user_input}", "the key 'target_value' is missing"),
        ("{metric: ^user_imput, target_value: 3}", "unknown metric 'user_imput', did you mean 'user_input'?"),
        ("{metric: ^node_eligible_mem_bp, target_value: 3}", "metric 'node_eligible_mem_bp' is of physical"),
        ("{metric: user_input, ^target: 3, target_value: 3}", "unknown key 'target', did you mean 'target_value'?"),
        ("{metric: user_input, target_value: ^0}", "target_value must be more than 0"),
        ("{metric: user_input, target_value: ^1.5}", "'1.5' is not a whole number: it must be whole"),
        ("{metric: user_input, target_value: ^5 ms}", "'5 ms' is not a whole number: unknown unit 'ms'"),
        ("{metric: user_input, target_value: ^[]}", "expected text such as '100', not a list"),
        ("{metric: some_mem_psi_us, target_value: ^5 %}", "'5 %' is not a time"),
        ("{metric: active_mem_bp, target_value: ^101 %}", "'101 %' is more than all, which is '100 %' or '10000'"),
        ("{metric: active_mem_bp, target_value: ^0.001 %}", "'0.001 %' is not a rate in 1/10,000"),
        ("{metric: target_rss_bytes, target_value: ^5 %}", "'5 %' is not a size"),
        ("{metric: user_input, target_value: 3, ^nid: 1}", "nid is for metrics node_mem_used_bp,"),
        ("{metric: user_input, target_value: 3, ^memcg_path: /a}", "memcg_path is for metrics some_mem_psi_us,"),
        ("^{metric: node_mem_used_bp, target_value: 3}", "the key 'nid' is missing"),
        ("^{metric: node_memcg_used_bp, target_value: 3, nid: 0}", "the key 'memcg_path' is missing"),
        ("{metric: some_mem_psi_us, target_value: 3, memcg_path: ^a}", "'a' is not a cgroup: write its path below"),
        ("{metric: some_mem_psi_us, target_value: 3, memcg_path: ^/a/../b}", "'/a/../b' is not a cgroup"),
        ("{metric: target_rss_bytes, target_value: 3, ^current_value: 1}", "current_value is for metric"),
        ("{metric: user_input, target_value: 3, complement: ^true}", "complement is not in this version"),
        ("{metric: user_input, target_value: 3, complement: ^2}", "'2' is neither true nor false"),
    ],
)
def test_wrong_goal(assert_mistake: AssertMistake, text: str, mistake: str) -> None:
    """One mistake in a goal gives one message, at the caret, with the value and what would be right."""
    assert_mistake(f"quotas: {{reset_interval_ms: 1 s, sz_bytes: 1 M, goals: [{text}]}}", mistake)


def test_weights_of_nothing_with_goals(mistakes: Mistakes, only: Only) -> None:
    """Goals with weights that are written and all zero are refused; weights that are left out are not."""
    goal = "reset_interval_ms: 1 s, goals: [{metric: user_input, target_value: 3}]"
    (message,) = mistakes(f"quotas: {{weights: {{age_permil: 0}}, {goal}}}")
    assert message.startswith("1:10: all weights are 0, so goals could not tell regions apart")
    assert only(f"quotas: {{{goal}}}").quota.limits


def test_all_mistakes_of_a_quota_are_told_at_once(mistakes: Mistakes) -> None:
    """What is wrong between the keys of one mapping is told together, and with what is wrong elsewhere."""
    text = """\
- action: pagout
  quotas:
    weights: {age_permil: 0}
    fail_charge_num: 1
    goals: [{metric: user_input, target_value: 3}]
- watermarks:
    metric: free_mem_rate
    interval_us: 0
    high_permil: 20 %
    mid_permil: 40 %
    low_permil: 50 %
"""
    found = [message.split(" ")[0] for message in mistakes(text)]
    assert found == ["1:11:", "3:5:", "4:22:", "5:5:", "8:18:", "9:18:", "10:17:"]


@pytest.mark.parametrize("rates", ["50 %, mid_permil: 40 %, low_permil: 20 %", "500, mid_permil: 400, low_permil: 200"])
def test_every_key_of_watermarks(only: Only, rates: str) -> None:
    """Watermarks arrive as permil, written in percent or bare."""
    text = f"watermarks: {{metric: free_mem_rate, interval_us: 5 s, high_permil: {rates}}}"
    assert only(text).watermarks == Watermarks(WatermarkMetric.FREE_MEM_RATE, 5_000_000, 500, 400, 200)


@pytest.mark.parametrize(
    "text", ["{}", "", "{metric: none}", "{metric: none, interval_us: 0 ns, high_permil: 0 %, mid_permil: 0 %}"]
)
def test_no_watermarks(only: Only, text: str) -> None:
    """Watermarks that are empty, or of metric none, never switch a scheme off."""
    assert only(f"watermarks: {text}").watermarks == Watermarks()


def test_equal_watermarks(only: Only) -> None:
    """High, mid and low may be equal."""
    text = "watermarks: {metric: free_mem_rate, interval_us: 1, high_permil: 9, mid_permil: 9, low_permil: 9}"
    assert only(text).watermarks.low == 9


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{metric: ^free_mem}", "unknown watermark metric 'free_mem', did you mean 'free_mem_rate'?"),
        ("^{interval_us: 5 s}", "the key 'metric' is missing: write 'metric: free_mem_rate'"),
        ("{^high: 1}", "unknown key 'high', did you mean 'high_permil'?"),
        ("{metric: none, high_permil: ^101 %}", "'101 %' is more than all, which is '100 %' or '1000'"),
        ("{metric: none, high_permil: ^1001}", "'1001' is more than all, which is '100 %' or '1000'"),
        (
            "^{metric: free_mem_rate, interval_us: 5 s, high_permil: 1, mid_permil: 1}",
            "the key 'low_permil' is missing: metric 'free_mem_rate' needs it",
        ),
        (
            "{metric: free_mem_rate, interval_us: ^0, high_permil: 1, mid_permil: 1, low_permil: 1}",
            "interval_us must be more than 0",
        ),
        (
            "{metric: free_mem_rate, interval_us: 1, high_permil: ^1, mid_permil: 2, low_permil: 1}",
            "high_permil 1 is less than mid_permil 2: write high >= mid >= low",
        ),
        (
            "{metric: free_mem_rate, interval_us: 1, high_permil: 3, mid_permil: ^1, low_permil: 2}",
            "mid_permil 1 is less than low_permil 2: write high >= mid >= low",
        ),
    ],
)
def test_wrong_watermarks(assert_mistake: AssertMistake, text: str, mistake: str) -> None:
    """One mistake in watermarks gives one message, at the caret, with the value and what would be right."""
    assert_mistake(f"watermarks: {text}", mistake)
