"""The only reader of `params.yaml`: strict, typed, and clear about what is wrong."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gvf.config.messages import kind_of, problems
from gvf.config.params import Params
from gvf.config.rules import clashes
from gvf.errors import ConfigError, UserError

Config = TypeVar("Config")
PARAMS = "params.yaml"


def load_params(path: str | Path = PARAMS) -> Params:
    """Read and check every section. Raises ConfigError naming the keys, UserError when the file cannot be read."""
    return parse_params(read_yaml(path), str(path))


def parse_params(values: Any, file: str = PARAMS) -> Params:
    """Return all sections built from plain values, checked one by one and against each other. Raises ConfigError."""
    params = parse(Params, values, file=file)
    if found := list(clashes(params)):
        raise _error(found, file)
    return params


def parse(config_type: type[Config], values: Any, key: str = "", file: str = PARAMS) -> Config:
    """Return a config built from plain values. Raises ConfigError that names every problem.

    key: dotted name of `values` in the file. file: name of the file for messages.
    """
    try:
        # By way of JSON, whose objects and lists strict validation takes for sections and tuples.
        return _adapter(config_type).validate_json(  # type: ignore[arg-type]
            json.dumps(values, default=str)
        )
    except ValidationError as error:
        raise _error(problems(error, config_type, key), file) from None


def as_dict(config: Any) -> dict[str, Any]:
    """Return the plain nested values of a config, as they would stand in `params.yaml`."""
    return dataclasses.asdict(config)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises UserError when it cannot be read or holds something else."""
    import yaml

    from gvf.config.yaml_loader import Loader

    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run gvf in the project's root, where params.yaml is.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a mapping of sections, but is {kind_of(values)}.")
    return values


def _error(found: list[tuple[str, str]], file: str) -> ConfigError:
    (key, message), *more = found
    return ConfigError(key, message, file, tuple(more))


@lru_cache
def _adapter(config_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(config_type)
