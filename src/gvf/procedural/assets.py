"""List the families of procedural objects and write clips of them."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gvf.errors import UserError
from gvf.procedural import creatures_legged, creatures_limbless, mechanisms, scenes, soft_bodies
from gvf.procedural.motion import Motion, draw_motion
from gvf.storage.files import atomic_path


@dataclass(frozen=True)
class Family:
    """A family of objects.

    build: makes one object with its motion, as the bytes of a binary glTF file. gestures: names of its motions.
    """

    build: Callable[[np.random.Generator, Motion], bytes]
    gestures: Sequence[str]


FAMILIES: Mapping[str, Family] = {
    "biped": Family(creatures_legged.biped, creatures_legged.BIPED_GESTURES),
    "quadruped": Family(creatures_legged.quadruped, creatures_legged.QUADRUPED_GESTURES),
    "spider": Family(creatures_legged.spider, creatures_legged.SPIDER_GESTURES),
    "bird": Family(creatures_limbless.bird, creatures_limbless.BIRD_GESTURES),
    "fish": Family(creatures_limbless.fish, creatures_limbless.FISH_GESTURES),
    "snake": Family(creatures_limbless.snake, creatures_limbless.SNAKE_GESTURES),
    "crane": Family(mechanisms.crane, mechanisms.CRANE_GESTURES),
    "windmill": Family(mechanisms.windmill, mechanisms.WINDMILL_GESTURES),
    "engine": Family(mechanisms.engine, mechanisms.ENGINE_GESTURES),
    "pendulum": Family(mechanisms.pendulum, mechanisms.PENDULUM_GESTURES),
    "slime": Family(soft_bodies.slime, soft_bodies.SLIME_GESTURES),
    "flower": Family(soft_bodies.flower, soft_bodies.FLOWER_GESTURES),
    "ball": Family(soft_bodies.ball, soft_bodies.BALL_GESTURES),
    "jellyfish": Family(soft_bodies.jellyfish, soft_bodies.JELLYFISH_GESTURES),
    "planets": Family(scenes.planets, scenes.PLANETS_GESTURES),
    "balls": Family(scenes.balls, scenes.BALLS_GESTURES),
}


def build_asset(family: str, index: int, seed: int) -> bytes:
    """Build the `index`-th asset of a family as binary glTF; it depends on nothing but the three arguments."""
    entry = FAMILIES[family]
    key = zlib.crc32(family.encode())
    offsets = np.random.default_rng([seed, key]).random(5)
    motion = draw_motion(offsets, index, entry.gestures)
    return entry.build(np.random.default_rng([seed, key, index]), motion)


def write_assets(directory: str | Path, families: Sequence[str], clips_per_family: int, seed: int) -> list[Path]:
    """Write `clips_per_family` assets of each family, `<family>-<index>.glb`, with one animation each, named by its gesture.

    Gestures take turns within a family. The same seed gives the same bytes, and a larger count only adds files.
    Raises UserError for an unknown or repeated family or a count below 1.
    """
    for family in families:
        _demand_family(family)
    if len(set(families)) < len(families):
        raise UserError(f"A procedural family is named twice in {', '.join(families)}. Name each once.")
    if clips_per_family < 1:
        raise UserError(f"{clips_per_family} clips per family are not enough. Ask for at least 1.")
    paths = []
    for family in families:
        for index in range(clips_per_family):
            paths.append(write_asset(Path(directory) / f"{family}-{index:03d}.glb", family, index, seed))
    return paths


def write_asset(path: Path, family: str, index: int, seed: int) -> Path:
    """Write the `index`-th asset of a family and return its path. Raises UserError for an unknown family."""
    _demand_family(family)
    with atomic_path(path) as partial:
        partial.write_bytes(build_asset(family, index, seed))
    return path


def _demand_family(family: str) -> None:
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The families are {', '.join(FAMILIES)}."
        raise UserError(f"There is no procedural family {family!r}. {hint}")
