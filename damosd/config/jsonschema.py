# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schema of scheme files, from the models; `python -m damosd.config.jsonschema` writes it.

Editors complete and check by it. It cannot tell everything that damosd does: whether bounds are in order, or which keys
go together. What its keys mean is taken from docs/schemes.md, so that there is one text for people.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from damosd.config.filemodel import FileModel

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

_SECTIONS = {
    "FileModel": "Keys",
    "SchemeModel": "Keys",
    "PatternModel": "Access pattern",
    "SizeRange": "Access pattern",
    "AccessRange": "Access pattern",
    "AgeRange": "Access pattern",
    "QuotaModel": "Quotas",
    "WeightsModel": "Quotas",
    "GoalModel": "Goals and tuners",
    "WatermarksModel": "Watermarks",
    "GuardModel": "Guard",
    "FilterModel": "Filters",
    "CoreFilterModel": "Filters",
    "OpsFilterModel": "Filters",
    "DestModel": "NUMA nodes",
    "KdamondModel": "Files of damo",
    "ContextModel": "Files of damo",
    "TargetModel": "Files of damo",
    "IntervalsModel": "Files of damo",
    "IntervalsGoalModel": "Files of damo",
    "NrRegionsModel": "Files of damo",
}
_ROW = re.compile(r"\| (`\w+`(?:, `\w+`)*) \| ([^|]*) \|")
_ARGUMENT = re.compile(r"\| `(\w+)` \| [^|]* \| (`\w+`(?:, `\w+`)*): ([^|]*) \|")


class _WithoutDefaults(GenerateJsonSchema):
    """Defaults are objects of ours, and docs/schemes.md tells them."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema(doc: str) -> dict[str, Any]:
    """Return the schema, with descriptions from `doc`, the text of docs/schemes.md."""
    _, made = models_json_schema(
        [(FileModel, "validation")], schema_generator=_WithoutDefaults, ref_template="#/$defs/{model}"
    )
    definitions = made["$defs"]
    meanings = {name: _meanings(doc, heading) for name, heading in _SECTIONS.items()}
    for name, definition in definitions.items():
        definition.pop("title", None)
        for key, value in definition.get("properties", {}).items():
            value.pop("title", None)
            if key in meanings.get(name, {}):
                value["description"] = meanings[name][key]
    guard = definitions["GuardModel"]
    switch = {"type": ["string", "boolean"], "enum": ["on", "off", "yes", "no", "true", "false", True, False]}
    definitions["GuardModel"] = {"description": guard.pop("description"), "anyOf": [switch, guard]}
    used = str(definitions) + str(_ref("FileModel"))
    kinds = [_ref("FileModel"), *({"type": "array", "items": _ref(one)} for one in ("SchemeModel", "KdamondModel"))]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scheme file of damosd",
        "anyOf": [*kinds, _ref("SchemeModel")],
        "$defs": {name: one for name, one in definitions.items() if _ref(name)["$ref"] + "'" in used},
    }


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{model}"}


def _meanings(doc: str, heading: str) -> dict[str, str]:
    """Return what the tables of a section say that each key means."""
    section = re.search(rf"^(#+) {heading}\n(.*?)(?=^#{(2,)} |\Z)", doc, re.DOTALL | re.MULTILINE)
    assert section is not None, heading
    found: dict[str, str] = {}
    for row in section[2].splitlines():
        if argument := _ARGUMENT.match(row):
            found |= dict.fromkeys(re.findall(r"\w+", argument[2]), f"of {argument[1]}: {_plain(argument[3])}")
        elif keys := _ROW.match(row):
            found |= dict.fromkeys(re.findall(r"\w+", keys[1]), _plain(keys[2]))
    return found


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "'").strip()


def text(doc: str) -> str:
    """Return the schema as it stands in its file."""
    return json.dumps(schema(doc), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:])
    destination.write_text(text(source.read_text(encoding="utf-8")), encoding="utf-8")
