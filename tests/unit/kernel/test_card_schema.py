"""The page that says what a card holds: valid itself, limited everywhere, with no room for anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

SCHEMA: dict[str, Any] = json.loads((files("jupyter_fx_kernel") / "card.schema.json").read_text("utf-8"))


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "type" in schema or "enum" in schema or "const" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from parts(value, f"{path}/{key}")


def test_it_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("path", "part"), list(parts(SCHEMA)), ids=[path or "/" for path, _ in parts(SCHEMA)])
def test_every_text_and_list_has_its_limit_and_nothing_else_gets_in(path: str, part: dict[str, Any]) -> None:
    kinds = part.get("type", [])
    if "string" in kinds:
        assert "maxLength" in part or "pattern" in part
    if "array" in kinds:
        assert "maxItems" in part
    if "object" in kinds:
        assert part["additionalProperties"] is False


def test_every_field_of_a_card_is_described() -> None:
    assert not [name for name, part in SCHEMA["properties"].items() if not part.get("description")]
