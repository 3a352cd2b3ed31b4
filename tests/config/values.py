"""The values of params.yaml, with changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the values of params.yaml with some changed by their dotted names; `...` removes one."""
    values = copy.deepcopy(VALUES)
    for key, value in changes.items():
        *path, name = key.split(".")
        section = values
        for part in path:
            section = section[part]
        if value is ...:
            del section[name]
        else:
            section[name] = value
    return values
