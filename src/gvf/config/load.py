"""The only reader of `params.yaml`: strict, typed, and clear about what is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from gvf.config.params import Params
from gvf.errors import ConfigError, UserError

Config = TypeVar("Config")


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check every section. Raises ConfigError naming the key, UserError when the file cannot be read."""
    return parse(Params, read_yaml(path), "")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError when it cannot be read or holds something else."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run gvf in the project's root, where params.yaml is.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a mapping of sections, is {_kind(values)}.")
    return values


def parse(config_type: type[Config], values: Any, key: str) -> Config:
    """Build a config dataclass from plain values, refusing unknown and missing keys and wrong types.

    key: dotted name of `values` in the file, used in messages.
    """
    if not isinstance(values, dict):
        raise ConfigError(key or "the file", f"must be a mapping, is {_kind(values)}.")
    fields = {field.name: field for field in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Its fields are {', '.join(fields)}."
            raise ConfigError(key or "top level", f"has no field {str(name)!r}.{hint}")
    hints = typing.get_type_hints(config_type)
    arguments = {}
    for name, field in fields.items():
        dotted = f"{key}.{name}" if key else name
        if name not in values:
            if field.default is dataclasses.MISSING:
                raise ConfigError(dotted, "is missing.")
            continue
        arguments[name] = _convert(hints[name], values[name], dotted)
    return config_type(**arguments)


def as_dict(config: Any) -> dict[str, Any]:
    """Plain nested values of a config, as they would stand in `params.yaml`."""
    return dataclasses.asdict(config)


def _convert(expected: Any, value: Any, key: str) -> Any:
    origin = typing.get_origin(expected)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(expected)
        if value is None and type(None) in options:
            return None
        (only,) = [option for option in options if option is not type(None)]
        return _convert(only, value, key)
    if dataclasses.is_dataclass(expected):
        return parse(typing.cast(type, expected), value, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(key, f"must be a list, is {_kind(value)}.")
        item_types = typing.get_args(expected)
        if item_types[-1] is Ellipsis:
            return tuple(_convert(item_types[0], item, f"{key}[{i}]") for i, item in enumerate(value))
        if len(value) != len(item_types):
            raise ConfigError(key, f"must have {len(item_types)} values, has {len(value)}.")
        return tuple(_convert(kind, item, f"{key}[{i}]") for i, (kind, item) in enumerate(zip(item_types, value)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(key, f"must be a mapping, is {_kind(value)}.")
        return {
            str(name): _convert(typing.get_args(expected)[1], item, f"{key}.{name}") for name, item in value.items()
        }
    if expected is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 (no dot) as text; people mean a number.
        try:
            value = float(value)
        except ValueError:
            pass
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(key, f"must be {_NAMES.get(expected, expected.__name__)}, is {_kind(value)}.")
    return value


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"{value!r}"
