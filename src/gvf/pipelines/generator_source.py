"""Describe the origin of a generator: its name, its licence, and a digest of everything that its results depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from gvf.errors import UserError
from gvf.pipelines.asset_manifest import GeneratorFacts
from gvf.pipelines.generator_folder import generator_digest
from gvf.pipelines.generator_index import INDEX_NAME
from gvf.pipelines.model_card import CARD_NAME
from gvf.pipelines.published_generator import published_paths
from gvf.storage.files import sha256
from gvf.text import MAX_NAME, clean

UNSTATED = "unstated"
_LONGEST_CARD = 1 << 20  # bytes


def describe_generator(folder: Path, title: str) -> GeneratorFacts:
    """Return the facts about the generator in a folder, ours or the published one."""
    if (folder / INDEX_NAME).is_file():
        digest, licence = generator_digest(folder), _licence(folder / CARD_NAME)
        return GeneratorFacts(name=title, folder=_name(folder), sha256=digest, licence=licence)
    lines = [f"{path.name} {sha256(path)}\n" for path in published_paths(folder)]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return GeneratorFacts(name=title, folder=_name(folder), sha256=digest, licence=UNSTATED)


def _name(folder: Path) -> str:
    return clean(folder.resolve().name, MAX_NAME)


def _licence(card: Path) -> str:
    """Return the licence in a model card's front matter; `unstated` where there is none."""
    try:
        if card.stat().st_size > _LONGEST_CARD:
            return UNSTATED
        parts = card.read_text(encoding="utf-8").split("---\n", 2)
        values = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, UserError):
        return UNSTATED
    found = values.get("license") if isinstance(values, dict) else None
    return clean(found, 100) if isinstance(found, str) and found not in ("", "unknown") else UNSTATED
