"""Shared settings and field types of the parameter sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""Configuration of every section: no unknown fields and no silent conversions, except that a whole number may stand for
a float. The string below a field is its description, here and in the JSON schema."""


@dataclass(frozen=True)
class OneOf:
    """Annotation of a string that must be one of `names`, for choices that are listed elsewhere in the program."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return what `Literal` would validate and export."""
        return core_schema.literal_schema(list(self.names))


def clash(field: str, message: str) -> PydanticCustomError:
    """Return the error that a section's validator raises when a field does not fit the section's other fields."""
    return PydanticCustomError("clash", message, {"field": field})  # type: ignore[arg-type]
