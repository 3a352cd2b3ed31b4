"""JSON schemas of `params.yaml` and of the files it is composed from, for editors and for Prefect's forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gvf.config.params import Params

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_INTERPOLATION = {"type": "string", "pattern": r"^\$\{.+\}$"}


class _PlainNames(GenerateJsonSchema):
    """Omits titles, which would spell the fields' names differently from the file."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: the name serves as the title."""
        return False


def params_schema() -> dict[str, Any]:
    """Return the JSON schema of `params.yaml`, with the description of every field."""
    whole = TypeAdapter(Params).json_schema(schema_generator=_PlainNames)
    definitions = whole.pop("$defs")
    return {"$schema": DRAFT, **_written_out(whole, definitions)}


def changes_schema() -> dict[str, Any]:
    """Return the JSON schema of some fields of `params.yaml`: of a preset, whose values may refer to others (`${...}`)."""
    return _partial(params_schema())


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "conf/params.schema.json": params_schema,
    "conf/changes.schema.json": changes_schema,
}
"""Files of a checkout that hold the schemas."""


def text_of(schema: dict[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _written_out(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema without references and titles, its descriptions on one line."""
    if isinstance(schema, list):
        return [_written_out(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    schema = {name: value for name, value in schema.items() if name not in ("$ref", "title")}
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].split())
    return {name: _written_out(value, definitions) for name, value in schema.items()}


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which no field is required and every value may be an interpolation."""
    if "properties" not in schema:
        return schema
    loose = {name: value for name, value in schema.items() if name != "required"}
    loose["properties"] = {name: _loose(value) for name, value in schema["properties"].items()}
    return loose


def _loose(schema: dict[str, Any]) -> dict[str, Any]:
    if "properties" in schema:
        return _partial(schema)
    described = {name: value for name, value in schema.items() if name in ("description", "default")}
    rest = {name: value for name, value in schema.items() if name not in described}
    options = [_partial(option) for option in rest["anyOf"]] if "anyOf" in rest else [rest]
    return {**described, "anyOf": [*options, _INTERPOLATION]}
