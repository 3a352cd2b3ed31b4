"""Typed, checked access to the JSON of a glTF file: a wrong type or a missing property names its place in the file."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from gvf.errors import ClipError
from gvf.text import clean

_MAX_WARNINGS = 50  # kept per file

_logger = logging.getLogger(__name__)


class FileWarnings:
    """Faults that do not prevent reading a file; each kind is logged and kept in `messages` at its first occurrence."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._kinds: set[str] = set()

    def add(self, where: str, fault: str) -> None:
        """Log and keep `<where>: <fault>`, unless the same fault was already found elsewhere in the file."""
        if fault not in self._kinds and len(self._kinds) < _MAX_WARNINGS:
            self._kinds.add(fault)
            self.messages.append(clean(f"{where}: {fault}"))
            _logger.warning("%s", self.messages[-1])


class _Required:
    """Type of the default that marks a property as required."""


REQUIRED = _Required()


class Fields:
    """One JSON object of a glTF file. Every reader raises ClipError("invalid") on a wrong type or a missing property.

    A property that is null counts as absent.
    where: the place in the file, for messages, e.g. `knight.glb: meshes[3]`. warnings: collects the file's warnings.
    """

    __slots__ = ("values", "warnings", "where")

    def __init__(self, values: Any, where: str, warnings: FileWarnings | None = None) -> None:
        if not isinstance(values, dict):
            raise ClipError("invalid", f"{where}: must be a JSON object, but is {_kind(values)}.")
        self.values: dict[str, Any] = values
        self.where = where
        self.warnings = FileWarnings() if warnings is None else warnings

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def warn(self, message: str) -> None:
        """Warn that this place violates the specification, although its meaning is clear."""
        self.warnings.add(self.where, message)

    def fail(self, message: str) -> NoReturn:
        """Raise ClipError("invalid") about this place."""
        raise ClipError("invalid", f"{self.where}: {message}")

    def integer(self, name: str, default: Any = REQUIRED, low: int = 0) -> Any:
        """Return a whole number of at least `low`."""
        value = self._value(name, default)
        if value is default:
            return value
        # Some writers store whole numbers as 3.0.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            self.fail(f"{name} must be a whole number of at least {low}, but is {_kind(value)}.")
        return value

    def index(self, name: str, count: int, default: Any = REQUIRED) -> Any:
        """Return an index into a list of `count` entries."""
        value = self.integer(name, default)
        if value is not default and value >= count:
            self.fail(f"{name} is {value}, but the file has only {count} of them.")
        return value

    def indices(self, name: str, count: int) -> tuple[int, ...]:
        """Return indices into a list of `count` entries; none when absent."""
        values = self._value(name, [])
        if not isinstance(values, list):
            self.fail(f"{name} must be a list of indices, but is {_kind(values)}.")
        return tuple(Fields({name: value}, self.where, self.warnings).index(name, count) for value in values)

    def number(self, name: str, default: Any = REQUIRED) -> Any:
        """Return a finite number as float."""
        value = self._value(name, default)
        if value is default:
            return value
        if not _is_number(value):
            self.fail(f"{name} must be a finite number, but is {_kind(value)}.")
        return float(value)

    def numbers(self, name: str, length: int | None, default: Any = REQUIRED) -> Any:
        """Return a tuple of `length` finite floats; of any length when None."""
        values = self._value(name, default)
        if values is default:
            return values
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            self.fail(f"{name} must be a list of finite numbers, but is {_kind(values)}.")
        if length is not None and len(values) != length:
            self.fail(f"{name} must have {length} numbers, but has {len(values)}.")
        return tuple(float(value) for value in values)

    def text(self, name: str, default: Any = REQUIRED, allowed: Collection[str] | None = None) -> Any:
        """Return text, one of `allowed` when given. Without `allowed`, a number is accepted as its digits, with a warning."""
        value = self._value(name, default)
        if value is default:
            return value
        if allowed is None and _is_number(value):
            self.warn(f"{name} is the number {value}, but must be text; it is read as {str(value)!r}.")
            return str(value)
        if not isinstance(value, str):
            self.fail(f"{name} must be text, but is {_kind(value)}.")
        if allowed is not None and value not in allowed:
            self.fail(f"{name} is {value!r}, but must be one of {', '.join(allowed)}.")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of text as a tuple; empty when absent."""
        values = self._value(name, [])
        if not isinstance(values, list):
            self.fail(f"{name} must be a list of text, but is {_kind(values)}.")
        return tuple(Fields({name: value}, self.where, self.warnings).text(name) for value in values)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false; 1 and 0 are accepted with a warning."""
        value = self._value(name, default)
        if not isinstance(value, bool) and value in (0, 1):
            self.warn(f"{name} is {value}, but must be true or false; it is read as {str(bool(value)).lower()}.")
            return bool(value)
        if not isinstance(value, bool):
            self.fail(f"{name} must be true or false, but is {_kind(value)}.")
        return value

    def child(self, name: str) -> Fields:
        """Return a nested object; an empty one when absent."""
        return Fields(self._value(name, {}), f"{self.where}.{name}", self.warnings)

    def children(self, name: str, required: bool = False) -> list[Fields]:
        """Return a list of nested objects; empty when absent, unless `required`."""
        values = self._value(name, REQUIRED if required else [])
        if not isinstance(values, list) or (required and not values):
            self.fail(f"{name} must be a list{' of at least one entry' if required else ''}, but is {_kind(values)}.")
        return [Fields(value, f"{self.where}.{name}[{i}]", self.warnings) for i, value in enumerate(values)]

    def extension(self, name: str) -> Fields | None:
        """Return the content of one extension, or None when it is not used here."""
        extensions = self.child("extensions")
        return extensions.child(name) if name in extensions else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def _value(self, name: str, default: Any) -> Any:
        if name in self:
            return self.values[name]
        if default is REQUIRED:
            self.fail(f"{name} is missing.")
        return default


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
