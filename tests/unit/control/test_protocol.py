# SPDX-License-Identifier: GPL-2.0-only
"""What is a request, and how it is answered."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from support.daemon_status import daemon, process, target

from damosd.control.access import Right
from damosd.control.answers import checked
from damosd.control.commands import COMMANDS
from damosd.control.controlled import Controlled
from damosd.control.encoding import encode
from damosd.control.protocol import Kind, Request, RequestError, answer, parse_request, refusal

DEEP = 20_000


def request(**changes: Any) -> bytes:
    """Return a request for the status, changed; what is Ellipsis is left out."""
    content = {"version": 1, "id": 1, "command": "status", "arguments": {}} | changes
    return json.dumps({key: value for key, value in content.items() if value is not ...}).encode()


def test_a_request_is_read_as_it_was_sent() -> None:
    """With or without what may be left out."""
    sent = Request("a", "pause", {"target": "cache"})
    assert parse_request(sent.line()) == sent
    assert parse_request(request(id=..., arguments=...)) == Request(None, "status", {})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"status", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "a list and not an object"),
        (b'"status"', "'status' and not an object"),
        (b'{"version": NaN}', "NaN is no number"),
        (b'{"version": 1, "version": 2}', "a key twice"),
        (b"9" * 5000, "not JSON"),
        (b"[" * DEEP, "nested too deeply"),
        (b'{"a":' * DEEP, "nested too deeply"),
    ],
)
def test_what_is_no_request_ends_the_connection(line: bytes, told: str) -> None:
    """As nobody knows what else comes on it."""
    with pytest.raises(RequestError, match=told) as caught:
        parse_request(line)
    assert caught.value.kind is Kind.USAGE
    assert caught.value.final
    assert '"version": 1' in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "kind", "told", "hint"),
    [
        ({"version": 2}, Kind.VERSION, "version of the request is 2", '"version": 1'),
        ({"version": ...}, Kind.VERSION, "is null", '"version": 1'),
        ({"version": True}, Kind.VERSION, "is true", '"version": 1'),
        ({"version": 1.0}, Kind.VERSION, "is 1.0", '"version": 1'),
        ({"comand": "x"}, Kind.USAGE, "no 'comand'", "did you mean 'command'"),
        ({"command": ...}, Kind.USAGE, "must be a text, not null", '"command": "status"'),
        ({"command": ["status"]}, Kind.USAGE, "must be a text, not a list", '"command": "status"'),
        ({"arguments": []}, Kind.USAGE, "must be an object, not a list", '"arguments": {}'),
        ({"id": [1]}, Kind.USAGE, "id is a list", "whole number"),
        ({"id": 1.5}, Kind.USAGE, "id is 1.5", "whole number"),
        ({"id": True}, Kind.USAGE, "id is true", "whole number"),
        ({"id": 10**100}, Kind.USAGE, "id is 1000", "whole number"),
        ({"id": "x" * 257}, Kind.USAGE, "id is 'xxx", "256"),
    ],
)
def test_what_is_wrong_with_a_request(changes: dict[str, Any], kind: Kind, told: str, hint: str) -> None:
    """It is said, and what would be right, and the connection goes on."""
    with pytest.raises(RequestError, match=told) as caught:
        parse_request(request(**changes))
    assert caught.value.kind is kind
    assert hint in caught.value.hint
    assert not caught.value.final
    assert caught.value.request_id == (None if "id" in changes else 1)


@pytest.mark.parametrize(
    ("command", "arguments", "told", "hint"),
    [
        ("stauts", {}, "no command 'stauts'", "did you mean 'status'"),
        ("x\x1b[31m", {}, r"no command 'x\\x1b\[31m'", "there are ping, status"),
        ("status", {"target": "a"}, "status has no argument 'target'", "it has none"),
        ("enable", {"sheme": "a"}, "enable has no argument 'sheme'", "did you mean 'scheme'"),
        ("enable", {}, "enable needs 'scheme'", "a name"),
        ("enable", {"scheme": None}, "enable needs 'scheme'", "a name"),
        ("enable", {"scheme": ""}, "'scheme' of enable is ''", "a name"),
        ("enable", {"scheme": "a\nb"}, r"'scheme' of enable is 'a\\nb'", "printable"),
        ("enable", {"scheme": "\ud800"}, r"'scheme' of enable is '\\ud800'", "printable"),
        ("enable", {"scheme": "x" * 257}, "'scheme' of enable is 'xxx", "256"),
        ("enable", {"scheme": 1}, "'scheme' of enable is 1", "a name"),
        ("feed", {"scheme": "a", "value": True}, "'value' of feed is true", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": 1.0}, "'value' of feed is 1.0", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": 1e999}, "'value' of feed is inf", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": "1"}, "'value' of feed is '1'", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": -1}, "'value' of feed is -1", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": 2**63}, "'value' of feed is 9223372036854775808", "a whole number from 0"),
        ("feed", {"scheme": "a", "value": {"b": 1}}, "'value' of feed is an object", "a whole number from 0"),
        ("tune", {"target": "a"}, "tune changes nothing", "sample_us"),
        ("tune", {"target": "a", "sample_us": 0}, "'sample_us' of tune is 0", "from 1"),
        ("set_quota", {"scheme": "a", "time_ms": None}, "set_quota changes nothing", "time_ms, sz_bytes"),
        ("regions", {"pid": 0}, "'pid' of regions is 0", "from 1 to 4194304"),
        ("subscribe", {"what": "all", "interval_ms": 100}, "'what' of subscribe is 'all'", "'status' or 'regions'"),
        ("subscribe", {"what": "status", "interval_ms": 99}, "'interval_ms' of subscribe is 99", "from 100"),
    ],
)
def test_what_is_wrong_with_arguments(command: str, arguments: dict[str, Any], told: str, hint: str) -> None:
    """It is said, with what is right or the nearest name, on one line."""
    line = request(command=command, arguments=arguments)
    if "inf" in told:
        line = line.replace(b"Infinity", b"1e999")
    with pytest.raises(RequestError, match=told) as caught:
        checked(parse_request(line), Right.ALL)
    assert caught.value.kind is Kind.USAGE
    assert hint in caught.value.hint
    assert str(caught.value).isprintable()


def test_arguments_that_are_left_out_are_none() -> None:
    """And so are those that are null."""
    _, given = checked(Request(1, "tune", {"target": "a", "aggr_us": 5, "sample_us": None}), Right.ALL)
    assert given.pop("target") == "a"
    assert given.pop("aggr_us") == 5
    assert set(given.values()) == {None}


def test_all_that_can_be_controlled_is_a_command() -> None:
    """None is forgotten when one is added."""
    methods = {name for name in vars(Controlled) if not name.startswith("_")}
    assert methods - {"enable"} <= set(COMMANDS)
    assert set(COMMANDS) - methods == {"ping", "disable", "subscribe", "unsubscribe"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_changes_need_every_right(command: str) -> None:
    """Whoever may read may change nothing."""
    assert not COMMANDS[command].changes or COMMANDS[command].right is Right.ALL


@pytest.mark.parametrize(
    ("command", "arguments", "right"),
    [
        ("status", {}, Right.NOTHING),
        ("ping", {}, Right.NOTHING),
        ("regions", {}, Right.READ),
        ("explain", {}, Right.READ),
        ("stop", {}, Right.READ),
        ("subscribe", {"what": "regions", "interval_ms": 100}, Right.READ),
    ],
)
def test_who_may_not(command: str, arguments: dict[str, Any], right: Right) -> None:
    """They are told so, and who may."""
    with pytest.raises(RequestError, match=f"you may not {command}") as caught:
        checked(Request(1, command, arguments), right)
    assert caught.value.kind is Kind.PRIVILEGE
    assert "group damosd may" in caught.value.hint
    checked(Request(1, command, arguments), Right(right + 1))


def test_hostile_names_in_answers() -> None:
    """JSON that any reader takes, on one line, whatever processes call themselves."""
    comm = os.fsdecode(b'a\n\xff"},{\x1b[31m')
    line = answer(1, encode(daemon(target(targets=(process(comm=comm),)))))
    assert line.count(b"\n") == 1
    assert b"\\ud" not in line
    told = json.loads(line)["result"]["targets"][0]["status"]["targets"][0]["comm"]
    assert told == 'a\n\\xff"},{\x1b[31m'


def test_hostile_names_in_errors() -> None:
    """The same, where a message has a file's name."""
    line = refusal(RequestError(Kind.CONFIG, os.fsdecode(b"/etc/\xff.yaml: bad\nworse"), request_id="x"))
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "version": 1,
        "id": "x",
        "ok": False,
        "error": {"kind": "config", "message": "/etc/\\xff.yaml: bad\nworse", "hint": ""},
    }


def test_figures_that_are_no_numbers_are_no_answer() -> None:
    """JSON has no word for them."""
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(daemon(cpu_percent=float("nan")))
