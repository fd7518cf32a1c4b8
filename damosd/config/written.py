# SPDX-License-Identifier: GPL-2.0-only
"""What values of files look like, for the JSON Schema. Editors check by it; damosd itself reads them by `units`.

A scalar of YAML or JSON may be a number or text; what is said here of text holds for both.
"""

# Pydantic reads these while models are made: do not postpone annotations.
from typing import Any, Final

from pydantic import WithJsonSchema

_NUMBER: Final = r"([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?|\.[0-9]+"
_N: Final = rf"\s*({_NUMBER})\s*"
_WHOLE: Final = r"\s*([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.0+)?\s*"
_LIMITS: Final = r"\s*(min|max)\s*"
_SIZE: Final = rf"{_LIMITS}|{_N}([bB]|[kKmMgGtTpPeE]([iI]?[bB])?)?\s*"
_TIME: Final = rf"{_LIMITS}|{_N}|({_N}(ns|us|ms|s|m|h|d))+\s*"
_PARTS: Final = rf"{_N}(%\s*)?"


def _written(pattern: str, example: str) -> WithJsonSchema:
    scalar: dict[str, Any] = {"type": ["string", "number"], "minimum": 0, "pattern": f"^({pattern})$"}
    return WithJsonSchema(scalar | {"examples": [example]})


def words(*known: str) -> WithJsonSchema:
    """Return that a value is one of these words."""
    return WithJsonSchema({"type": "string", "enum": list(known)})


SIZE = _written(_SIZE, "4 KiB")
TIME = _written(_TIME, "30 s")
ACCESS_RATE = _written(rf"{_LIMITS}|{_PARTS}|{_WHOLE}samples\s*", "5 %")
AGE = _written(rf"{_TIME}|{_WHOLE}aggr_intervals\s*", "30 s")
PARTS = _written(_PARTS, "50 %")
PARTS_OR_MAX = _written(rf"\s*max\s*|{_PARTS}", "10 %")
COUNT = _written(_WHOLE, "100")
COUNT_OR_MAX = _written(rf"\s*max\s*|{_WHOLE}", "256")
TARGET_VALUE = _written(rf"{_SIZE}|{_TIME}|{_PARTS}", "10 ms")
VERSION = WithJsonSchema({"enum": [1, "1"]})
LINE = WithJsonSchema({"type": ["string", "number", "boolean"], "pattern": r"^\S(.*\S)?$"})
TEXT = WithJsonSchema({"type": ["string", "number", "boolean"]})
CGROUP = WithJsonSchema({"type": "string", "pattern": "^/", "examples": ["/batch"]})
BOOL = WithJsonSchema(
    {"type": ["boolean", "string"], "pattern": "^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY]([eE][sS])?|[nN][oO]?)$"}
)


def two_sizes(first: str, second: str) -> WithJsonSchema:
    """Return that a value is two sizes, a list or a mapping of these keys."""
    size = SIZE.json_schema
    assert size is not None
    mapping = {"properties": {first: size, second: size}, "required": [first, second], "additionalProperties": False}
    in_list = {"type": "array", "items": size, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [in_list, {"type": "object"} | mapping]})
