"""`ablations/params.yaml`: variants of a model, each as its difference from the root's `params.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gvf.config.load import parse, read_yaml
from gvf.config.params import Params
from gvf.errors import ConfigError, UserError

MODELS = ("vae", "dit")


@dataclass(frozen=True)
class Ablations:
    """seeds: of which each variant is trained once. base: changes of every variant. variants: model -> name -> changes.

    Changes are nested sections of `params.yaml`.
    """

    seeds: tuple[int, ...]
    base: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def values(self, root: Mapping[str, Any], model: str, variant: str, seed: int) -> dict[str, Any]:
        """The values of one variant. Raises UserError for one that is not listed, ConfigError for a key that is not there."""
        listed = self.variants[model]
        if variant not in listed:
            raise UserError(f"{model} has no variant {variant!r} in ablations/params.yaml. It has {', '.join(listed)}.")
        values = merged(merged(root, self.base), listed[variant])
        return merged(values, {"run": {"seed": seed}})


def load_ablations(path: str | Path, root: Mapping[str, Any]) -> Ablations:
    """Read the variants and check every one of them against the root's values.

    Raises ConfigError naming the key, UserError when the file cannot be read.
    """
    values = read_yaml(path)
    unknown = sorted(set(values) - {"seeds", "base", *MODELS})
    if unknown:
        raise UserError(f"{path}: has no section {unknown[0]!r}. Its sections are seeds, base, {', '.join(MODELS)}.")
    seeds = values.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f"{path}: seeds must be a list of whole numbers from 0 on.")
    variants = {
        model: {str(name): changes or {} for name, changes in (values.get(model) or {}).items()} for model in MODELS
    }
    ablations = Ablations(tuple(seeds), values.get("base") or {}, variants)
    for model in MODELS:
        for variant in variants[model]:
            parse(Params, ablations.values(root, model, variant, seeds[0]), "")
    return ablations


def merged(values: Mapping[str, Any], changes: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """Values with changes laid over them. Raises ConfigError for a change of what is not there."""
    result = dict(values)
    for name, change in changes.items():
        dotted = f"{key}.{name}" if key else str(name)
        if name not in values:
            raise ConfigError(dotted, "is changed by a variant, but params.yaml has no such field.")
        nested = isinstance(values[name], Mapping)
        if nested != isinstance(change, Mapping):
            raise ConfigError(
                dotted, f"must be {'a mapping' if nested else 'a value'} in a variant, as in params.yaml."
            )
        result[name] = merged(values[name], change, dotted) if nested else change
    return result
