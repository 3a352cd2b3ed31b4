"""The stages `collect` and `curate` over small files, for tests of what they decide."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from gvf.config.collect import CollectConfig, GlbSourceConfig
from gvf.config.curate import CurateConfig
from gvf.data.manifest import read_manifest
from gvf.stages import collect, curate
from gvf.workspace import Workspace
from tests.data.gltf.gltf_files import sliding_triangle
from tests.sections import execution_section, run_section

CONFIG: dict[str, Any] = {
    "num_frames": 4,
    "num_points": 16,
    "min_motion": 0.02,
    "max_triangles": 1000,
    "max_texture_size": 2,
    "min_aesthetic_score": 5.5,
    "max_clips_per_asset": None,
    "max_clips": None,
    "held_out_fraction": 0.25,
    "held_out_seen_fraction": None,
    "split_by": "clip",
    "variants": None,
}


def curate_source(
    source: Path, seed: int = 0, executor: str = "inline", sampled_frames: int | None = None, **config: Any
) -> dict[str, float]:
    """Collect the files below `source` and curate them; returns the metrics. config: fields of CurateConfig."""
    params: Any = SimpleNamespace(
        run=run_section(seed),
        execution=execution_section(executor=executor),
        collect=CollectConfig(sources=("glb",), watch=str(source), glb=GlbSourceConfig(str(source))),
        curate=CurateConfig(**{**CONFIG, **config}),
        sample=SimpleNamespace(num_frames=sampled_frames or {**CONFIG, **config}["num_frames"]),
    )
    collect.run(params, Workspace())
    return curate.run(params, Workspace())


def decided_clips() -> pd.DataFrame:
    """The curated manifest by clip id."""
    return read_manifest(Workspace().curated_manifest).set_index("clip_id")


def write_good(source: Path, count: int = 2) -> None:
    """Files `good0.glb`, `good1.glb`... whose clips `slide0`, `slide1`, `slide2` in turn are accepted."""
    for i in range(count):
        sliding_triangle(f"slide{i % 3}", height=1 + 0.1 * i).glb(source / f"good{i}.glb")
