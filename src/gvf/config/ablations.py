"""`ablations/params.yaml`: variants of a model, each as its difference from the root's `params.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, dataclasses

from gvf.config.fields import STRICT
from gvf.config.load import parse, parse_params, read_yaml
from gvf.config.messages import unknown_field
from gvf.errors import ConfigError, UserError

MODELS = ("vae", "dit")
FILE = "ablations/params.yaml"


@dataclass(frozen=True)
class Ablations:
    """Variants to train.

    seeds: one training run per variant and seed. base: changes of every variant. variants: model -> name -> changes.
    Changes are nested sections of `params.yaml`. file: where they come from, for messages.
    """

    seeds: tuple[int, ...]
    base: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]]
    file: str = FILE

    def values(self, root: Mapping[str, Any], model: str, variant: str, seed: int) -> dict[str, Any]:
        """Return the values of one variant.

        Raises UserError for a variant that is not listed, ConfigError for a change of a field that does not exist.
        """
        listed = self.variants[model]
        if variant not in listed:
            raise UserError(f"{self.file}: {model} has no variant {variant!r}. It has {', '.join(listed)}.")
        values = merged(root, self.base, f"{self.file}: base")
        values = merged(values, listed[variant], f"{self.file}: {model}.{variant}")
        return merged(values, {"run": {"seed": seed}}, self.file)


@dataclasses.dataclass(frozen=True, config=STRICT)
class _File:
    """Sections of the file. A variant without changes may be empty."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    base: dict[str, Any] | None = None
    vae: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    dit: dict[str, dict[str, Any] | None] = field(default_factory=dict)


def load_ablations(path: str | Path, root: Mapping[str, Any]) -> Ablations:
    """Read the variants and check each of them against the root's values.

    Raises ConfigError naming the variant and the key, UserError when the file cannot be read.
    """
    file = parse(_File, read_yaml(path), file=str(path))
    variants = {model: {name: changes or {} for name, changes in getattr(file, model).items()} for model in MODELS}
    ablations = Ablations(file.seeds, file.base or {}, variants, str(path))
    parse_params(dict(root))
    for model in MODELS:
        for variant in variants[model]:
            values = ablations.values(root, model, variant, file.seeds[0])
            parse_params(values, f"{path}: {model}.{variant}")
    return ablations


def merged(values: Mapping[str, Any], changes: Mapping[str, Any], file: str = FILE, key: str = "") -> dict[str, Any]:
    """Return values with changes applied; null turns a mapping off. Raises ConfigError for a field that does not exist.

    file: where the changes come from, for messages. key: dotted name of the values.
    """
    result = dict(values)
    for name, change in changes.items():
        dotted = f"{key}.{name}" if key else str(name)
        if name not in values:
            raise ConfigError(dotted, unknown_field(name, values), file)
        nested = isinstance(values[name], Mapping) and change is not None
        if values[name] is not None and nested != isinstance(change, Mapping):
            raise ConfigError(dotted, f"must be {'a mapping' if nested else 'a value'}, as in params.yaml.", file)
        result[name] = merged(values[name], change, file, dotted) if nested else change
    return result
