# SPDX-License-Identifier: GPL-2.0-only
"""How it is said: one JSON object a line, in UTF-8, each with the version of the protocol. See docs/control.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from damosd.report.names import valid
from damosd.units import nearest, shown

VERSION = 1
MAX_REQUEST_BYTES = 64 << 10
MAX_ANSWER_BYTES = 256 << 20
_MAX_ID_CHARS = 256
_MAX_ID = 2**63 - 1
_KEYS = ("version", "id", "command", "arguments")
_EXAMPLE = '{"version": 1, "id": 1, "command": "status", "arguments": {}}'

RequestId = str | int | None


class Kind(StrEnum):
    """Why a request was refused, as programs tell it."""

    USAGE = "usage"
    CONFIG = "config"
    PRIVILEGE = "privilege"
    INTERNAL = "internal"
    VERSION = "version"


class RequestError(Exception):
    """A request that is refused: as an answer to `request_id`, after which the connection ends if `final`."""

    def __init__(
        self, kind: Kind, message: str, *, hint: str = "", request_id: RequestId = None, final: bool = False
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.request_id = request_id
        self.final = final


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks. `arguments` is any JSON object yet."""

    id: RequestId
    command: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        """Return the request as it is sent."""
        content = {"version": VERSION, "id": self.id, "command": self.command, "arguments": self.arguments}
        return f"{json.dumps(content)}\n".encode()


def parse_request(line: bytes) -> Request:
    """Read a line. Raise RequestError for what is no request of our version."""
    content = _object(line)
    request_id = _id(content.get("id"))

    def refuse(message: str, hint: str, kind: Kind = Kind.USAGE) -> NoReturn:
        raise RequestError(kind, message, hint=hint, request_id=request_id)

    version = content.get("version")
    if type(version) is not int or version != VERSION:
        refuse(
            f"the version of the request is {in_words(version)}, this daemon speaks {VERSION}",
            f'add "version": {VERSION}, or use the damosd that the daemon is of',
            Kind.VERSION,
        )
    for key in content:
        if key not in _KEYS:
            guess = nearest(key, _KEYS)
            hint = f"did you mean {guess!r}?" if guess else f"a request has {', '.join(_KEYS)}"
            refuse(f"a request has no {shown(key)}", hint)
    command, arguments = content.get("command"), content.get("arguments", {})
    if not isinstance(command, str):
        refuse(f"the command must be a text, not {in_words(command)}", f"a request is {_EXAMPLE}")
    if not isinstance(arguments, dict):
        refuse(f"the arguments must be an object, not {in_words(arguments)}", f"a request is {_EXAMPLE}")
    return Request(request_id, command, arguments)


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line.decode(), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"it is not JSON: {error.msg}, at column {error.colno}") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except ValueError as error:  # also from int(), for a number of very many digits
        raise _malformed(f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise _malformed(f"it is {in_words(content)} and not an object")
    return content


def _malformed(why: str) -> RequestError:
    return RequestError(
        Kind.USAGE, f"the request cannot be read: {why}", hint=f"a request is one line: {_EXAMPLE}", final=True
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has a key twice")
    return content


def _id(value: object) -> RequestId:
    if value is None:
        return None
    if type(value) is int and abs(value) <= _MAX_ID:
        return value
    if isinstance(value, str) and len(value) <= _MAX_ID_CHARS:
        return value
    raise RequestError(
        Kind.USAGE,
        f"the id is {in_words(value)}",
        hint=f"it must be a whole number, a text of at most {_MAX_ID_CHARS} characters, or null",
    )


def in_words(value: object) -> str:
    """Return a JSON value for a message, however large it is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, int | float):
        return shown(str(value)).strip("'")
    return "a list" if isinstance(value, list) else "an object"


def answer(request_id: RequestId, result: bytes) -> bytes:
    """Return the line that answers a request. `result` is JSON."""
    head = f'{{"version":{VERSION},"id":{json.dumps(request_id)},"ok":true,"result":'
    return b"%b%b}\n" % (head.encode(), result)


def event(request_id: RequestId, what: str, result: bytes, skipped: int) -> bytes:
    """Return the line of one event of a stream, before which `skipped` others were left out. `result` is JSON."""
    head = f'{{"version":{VERSION},"id":{json.dumps(request_id)},"event":{json.dumps(what)},"skipped":{skipped}'
    return b'%b,"result":%b}\n' % (head.encode(), result)


def refusal(error: RequestError) -> bytes:
    """Return the line that answers a request that is refused."""
    told = {"kind": error.kind, "message": valid(str(error)), "hint": valid(error.hint)}
    content = {"version": VERSION, "id": error.request_id, "ok": False, "error": told}
    return f"{json.dumps(content)}\n".encode()
