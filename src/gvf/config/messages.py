"""What users read about wrong values: pydantic's findings in plain words, with full dotted keys."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from gvf.text import clean

MOST_CHARACTERS = 60
"""Length at which a value shown in a message is cut off."""

# Error type of pydantic -> what is allowed; braces refer to pydantic's context.
_ALLOWED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "string_too_short": "text that is not empty",
}


def problems(error: ValidationError, config_type: type, key: str) -> list[tuple[str, str]]:
    """Return the dotted key and the message of every problem of a value that is not a valid `config_type`.

    key: dotted name of the value, empty for a whole file.
    """
    return list(_problems(error, config_type, key))


def kind_of(value: Any) -> str:
    """Return a value as it is shown in a message: cleaned and short."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    return clean(repr(value), MOST_CHARACTERS)


def unknown_field(name: object, known: typing.Iterable[str]) -> str:
    """Return the message about a field that does not exist, with a close name if there is one."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    return "no such field." + (f" Did you mean {close[0]!r}?" if close else f" The fields here are {', '.join(names)}.")


def _problems(error: ValidationError, config_type: type, key: str) -> Iterator[tuple[str, str]]:
    errors = error.errors(include_url=False)
    places = [found["loc"] for found in errors]
    for found in errors:
        below = any(place != found["loc"] and place[: len(found["loc"])] == found["loc"] for place in places)
        if found["type"] == "too_short" and below:
            continue  # a list whose items have all been reported themselves
        place, context = found["loc"], found.get("ctx", {})
        if found["type"] == "clash":
            place = (*place, context["field"])
        yield dotted(key, place), _message(found["type"], found["msg"], found["input"], context, config_type, place)


def _message(
    kind: str, text: str, value: Any, context: Mapping[str, Any], config_type: type, place: tuple[int | str, ...]
) -> str:
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_field(place[-1], _fields_at(config_type, place[:-1]))
    if kind in ("missing", "missing_argument"):
        return "is missing."
    if kind == "clash":
        return text
    if kind in ("too_short", "too_long"):
        least, most, length = context.get("min_length"), context.get("max_length"), context["actual_length"]
        return f"has {length} values, but must have at {f'least {least}' if least is not None else f'most {most}'}."
    if kind in _ALLOWED:
        return f"is {kind_of(value)}, but must be {_ALLOWED[kind].format(**context)}."
    return f"is {kind_of(value)}: {clean(text)}."


def dotted(key: str, place: tuple[int | str, ...]) -> str:
    """Return the dotted name of a place below `key`, such as `train_dit.training.betas[0]`."""
    for part in place:
        key = f"{key}[{part}]" if isinstance(part, int) else f"{key}.{clean(part)}" if key else clean(part)
    return key or "the file"


def _fields_at(config_type: Any, place: tuple[int | str, ...]) -> list[str]:
    """Return the names of the fields at a place of a config, none where it has no fields."""
    for part in place:
        kinds = typing.get_type_hints(config_type) if dataclasses.is_dataclass(config_type) else {}
        config_type = kinds.get(str(part))
        if typing.get_origin(config_type) in (types.UnionType, typing.Union):
            options = typing.get_args(config_type)
            config_type = next((option for option in options if dataclasses.is_dataclass(option)), None)
    if dataclasses.is_dataclass(config_type):
        return [field.name for field in dataclasses.fields(config_type)]
    return list(getattr(config_type, "model_fields", ()))
