"""Stage `collect`: gather animated assets into `data/raw` and list every clip of every file, readable or not."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvf.clip_map import Rejected, map_clips
from gvf.config.collect import GlbSourceConfig, ProceduralSourceConfig
from gvf.data.gltf import GLTF_SUFFIXES, GltfDocument, read_gltf
from gvf.data.gltf_animation import read_animation
from gvf.data.gltf_geometry import target_counts
from gvf.data.gltf_scene import NodeTree, read_nodes
from gvf.data.manifest import RAW_MANIFEST, RAW_SCHEMA, slug, unique, write_manifest
from gvf.errors import ClipError, ConfigError
from gvf.files import fresh_directory, sha256

if TYPE_CHECKING:
    from gvf.config.params import Params

ASSETS = "assets"


@dataclass(frozen=True)
class Source:
    """A file to list. path: where it is. destination: where it is kept, relative to folder. family: see manifest."""

    path: Path
    folder: Path
    destination: Path
    family: str


def run(params: Params) -> dict[str, float]:
    """Write `data/raw/assets` and `data/raw/clips.parquet`. Raises UserError when the source has no files."""
    config = params.collect
    with fresh_directory(RAW_MANIFEST.parent) as folder:
        if config.procedural is not None:
            sources = procedural_sources(config.procedural, folder, params.run.seed)
        else:
            assert config.glb is not None, "the config holds the source it names"
            sources = glb_sources(replace(config.glb, directory=config.watch), folder)
        results = map_clips(collect_asset, sources, params.run, "collect", lambda source: str(source.path))
        taken: set[str] = set()
        rows: list[dict[str, Any]] = []
        for source, result in zip(sources, results):
            if isinstance(result, Rejected):
                result = [_row(source, "", error=result.reason, message=result.message)]
            for row in result:
                name = f"{slug(source.destination.stem)}--{slug(row['animation'] or 'unreadable')}"
                rows.append({"clip_id": unique(name, taken), **row})
        write_manifest(folder / RAW_MANIFEST.name, rows, RAW_SCHEMA)
    return {
        "assets": float(len(sources)),
        "clips": float(sum(row["animation"] is not None for row in rows)),
        "unreadable": float(sum(row["error"] is not None for row in rows)),
        "families": float(len({row["family"] for row in rows})),
        "seconds_of_animation": sum(row["duration"] or 0.0 for row in rows),
    }


def procedural_sources(config: ProceduralSourceConfig, folder: Path, seed: int) -> list[Source]:
    """Generate assets named `<family>-<index>.glb` straight into the assets folder."""
    from gvf.data.procedural.assets import write_assets

    paths = write_assets(folder / ASSETS, config.families, config.clips_per_family, seed)
    return [Source(path, folder, path.relative_to(folder), path.stem.rpartition("-")[0]) for path in paths]


def glb_sources(config: GlbSourceConfig, folder: Path) -> list[Source]:
    """Files of a directory and its subfolders, sorted by path; each gets a name of its own under the assets folder."""
    directory = Path(config.directory)
    if not directory.is_dir():
        raise ConfigError("collect.glb.directory", f"{directory} is not a folder.")
    paths = sorted(path for path in directory.rglob("*") if path.suffix.lower() in GLTF_SUFFIXES and path.is_file())
    if not paths:
        raise ConfigError("collect.glb.directory", f"{directory} holds no .glb or .gltf file.")
    taken: set[str] = set()
    sources = []
    for path in paths:
        name = unique(slug(path.stem), taken)
        suffix = path.suffix.lower()
        # A .gltf brings its side files, which keep their places relative to it.
        kept = Path(ASSETS, f"{name}{suffix}") if suffix == ".glb" else Path(ASSETS, name, f"{name}{suffix}")
        sources.append(Source(path, folder, kept, path.stem))
    return sources


def collect_asset(source: Source) -> list[dict[str, Any]]:
    """Copy one file into the assets folder and list its clips, still without ids. Raises ClipError if copying fails."""
    kept = source.folder / source.destination
    try:
        if source.path != kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path, kept)
        digest = sha256(kept)
    except OSError as error:
        raise ClipError("invalid", f"{source.path.name}: cannot be copied ({error.strerror}).") from None
    try:
        document = read_gltf(source.path)
        if kept.suffix == ".gltf":
            digest = _copy_side_files(document, kept.parent, digest)
        if not document.animations:
            raise ClipError("motion", f"{document.name}: has no animation, so nothing moves.")
        tree, targets = read_nodes(document), target_counts(document)
        return [_list_clip(document, source, digest, i, tree, targets) for i in range(len(document.animations))]
    except ClipError as error:
        return [_row(source, digest, error=error.reason, message=error.message)]


def _copy_side_files(document: GltfDocument, folder: Path, digest: str) -> str:
    """Copy what a .gltf refers to; what is missing is found out when it is needed. Returns the digest of all of it."""
    digests = [digest]
    for path in document.side_files:
        if path.is_file():
            copy = folder / path.relative_to(document.path.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            digests.append(sha256(copy))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _list_clip(
    document: GltfDocument, source: Source, digest: str, index: int, tree: NodeTree, targets: dict[int, int]
) -> dict[str, Any]:
    name = document.animation_names[index]
    try:
        animation = read_animation(document, index, tree, targets)
    except ClipError as error:
        return _row(source, digest, name, index, error=error.reason, message=error.message)
    return _row(source, digest, name, index, duration=animation.end - animation.start)


def _row(
    source: Source,
    digest: str,
    animation: str | None = None,
    index: int = -1,
    duration: float | None = None,
    error: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    return {
        "asset": source.destination.as_posix(),
        "asset_sha256": digest,
        "family": source.family,
        "animation": animation,
        "animation_index": index,
        "duration": duration,
        "error": error,
        "message": message,
    }
