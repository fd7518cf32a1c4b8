# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schema of scheme files: up to date, and of one mind with what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from damosd.config import jsonschema

ROOT = Path(__file__).parents[3]
DOC = (ROOT / "docs" / "schemes.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = jsonschema.schema(DOC)
VALIDATOR = Draft202012Validator(SCHEMA)


def test_committed_schema_is_up_to_date() -> None:
    """What editors use is what the models and docs/schemes.md say; `make schema` writes it."""
    committed = ROOT / "etc" / "schema" / "damosd-scheme.schema.json"
    assert committed.read_text(encoding="utf-8") == jsonschema.text(DOC)


def test_it_is_a_schema() -> None:
    """The schema itself is right by the standard that it names."""
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "schemes").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_schemes_are_right_by_it(path: Path) -> None:
    """Every shipped scheme passes, and its first line leads an editor to the schema."""
    text = path.read_text(encoding="utf-8")
    VALIDATOR.validate(yaml.safe_load(text))
    pointer = text.partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / pointer).resolve() == ROOT / "etc" / "schema" / "damosd-scheme.schema.json"


@pytest.mark.parametrize(
    "text",
    [
        "actoin: stat",
        "action: pagout",
        "access_pattern: {sz_bytes: {min: 4 KBs}}",
        "access_pattern: {sz_bytes: {min: -1}}",
        "access_pattern: {age: {min: 5 mins}}",
        "access_pattern: {nr_accesses: {min: often}}",
        "quotas: {sz_byte: 1G}",
        "filters: [{filter_type: anon}]",
        "filters: [{filter_type: anonymous, matching: true}]",
        "filters: [{filter_type: addr, matching: true, address_range: [4K]}]",
        "guard: sometimes",
        "override: perhaps",
        "version: 2",
        "kdamonds: [{contexts: [{ops: vaddr, targets: [{pid: many}]}]}]",
        "kdamonds: [{contexts: [{}]}]",
        "[{schemes: []}]",
        "just text",
    ],
)
def test_common_mistakes_are_wrong_by_it(text: str) -> None:
    """What an editor should mark is marked."""
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "action: stat",
        "- action: stat",
        "guard: off",
        "guard: {refault_per_sec: max, rss_floor_bytes: 4M}",
        "access_pattern: {age: {min: 1 h 30 m, max: 50}, sz_bytes: {min: 4096, max: 1.5 gib}}",
        "access_pattern: {nr_accesses: {min: 3 samples, max: max}}",
        "filters: [{filter_type: addr, matching: yes, address_range: {start: 4 GiB, end: 5 GiB}}]",
        "quotas: {time_ms: 10, sz_bytes: '1,024', reset_interval_ms: 1 s, weights: {age_permil: 30 %}}",
        "{name: x, enabled: no, override: true, targets: [web]}",
    ],
)
def test_what_damosd_reads_is_right_by_it(text: str) -> None:
    """Shapes and units that are documented pass."""
    VALIDATOR.validate(yaml.safe_load(text))


def test_every_key_has_a_meaning() -> None:
    """No key of any mapping is left without words for who writes it."""
    bare = []
    for name, definition in SCHEMA["$defs"].items():
        mapping = next((one for one in definition.get("anyOf", []) if "properties" in one), definition)
        bare += [
            f"{name}.{key}" for key, value in mapping.get("properties", {}).items() if not value.get("description")
        ]
    assert not bare
