"""Data source `procedural`: assets that the program generates itself."""

from __future__ import annotations

from pathlib import Path

from gvf.config.collect import ProceduralSourceConfig
from gvf.data.sources.source import ASSETS, SourceFile
from gvf.procedural.assets import write_assets


def procedural_files(config: ProceduralSourceConfig, folder: Path, seed: int) -> list[SourceFile]:
    """Generate assets named `<family>-<index>.glb` in the assets folder of `folder` and return them."""
    paths = write_assets(folder / ASSETS, config.families, config.clips_per_family, seed)
    return [SourceFile(path, folder, folder, path.relative_to(folder), path.stem.rpartition("-")[0]) for path in paths]
