"""Data source `procedural`: assets that the program generates itself."""

from __future__ import annotations

from pathlib import Path

from gvf.config.collect import ProceduralSourceConfig
from gvf.data.sources.source import ASSETS, AssetFacts, SourceFile
from gvf.procedural.assets import write_assets

LICENCE, AUTHOR, PACK = "Apache-2.0", "gvf", "procedural"


def procedural_files(config: ProceduralSourceConfig, folder: Path, seed: int) -> list[SourceFile]:
    """Generate assets named `<family>-<index>.glb` in the assets folder of `folder` and return them."""
    facts = AssetFacts(licence=LICENCE, author=AUTHOR, pack=PACK)
    return [
        SourceFile(path, folder, folder, path.relative_to(folder), "procedural", path.stem.rpartition("-")[0], facts)
        for path in write_assets(folder / ASSETS, config.families, config.clips_per_family, seed)
    ]
