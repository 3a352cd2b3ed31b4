"""Bake the clips of one asset, decide which are accepted and why, and write those."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gvf.config.curate import CurateConfig
from gvf.data.curation.decision import DESCRIPTOR, Row, decision
from gvf.data.curation.mesh_hash import mesh_sha256
from gvf.data.curation.reserved import find_reserved
from gvf.data.curation.variants import bake_variant
from gvf.data.curation.variety import motion_descriptor
from gvf.data.gltf.baking import GltfModel, bake_clip, clip_times, load_model, rest_vertices
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh, encode_png, reduced
from gvf.errors import ClipError
from gvf.execution.rejected import Rejected
from gvf.geometry.sampling import motion_amount, sample_surface
from gvf.storage.files import sha256


@dataclass(frozen=True)
class AssetClips:
    """The clips of one asset, so that its file is read once. rows: their rows of the raw manifest.

    aesthetic: returns the aesthetic score of a mesh, or None, and then aesthetic_note says why clips are not scored.
    """

    path: Path
    rows: tuple[Row, ...]
    folder: Path
    config: CurateConfig
    seed: int
    aesthetic: Callable[[AnimatedMesh], float] | None
    aesthetic_note: str | None

    @property
    def readable(self) -> list[Row]:
        """Return the rows of the clips that `collect` could read."""
        return [row for row in self.rows if row["error"] is None]


def curate_asset(asset: AssetClips) -> list[Row]:
    """Decide each clip of one asset and write the accepted ones. Raises ClipError when the whole asset is unusable."""
    decisions = [decision(row, row["error"], row["message"], row["exception"]) for row in asset.rows if row["error"]]
    if asset.readable:
        source = _LoadedAsset(asset)
        decisions += [_curate_clip(source, row) for row in asset.readable]
    return decisions


def try_asset(asset: AssetClips) -> None:
    """Load one asset, to find out whether loading alone fails."""
    _LoadedAsset(asset)


class _LoadedAsset:
    """An asset whose file has been read once, with its textures at the size in which they are stored."""

    def __init__(self, asset: AssetClips) -> None:
        self.asset = asset
        model = load_model(read_gltf(asset.path), asset.config.max_triangles)
        textures = tuple(reduced(texture, asset.config.max_texture_size) for texture in model.textures)
        self.model: GltfModel = dataclasses.replace(model, textures=textures)
        self.mesh_sha256 = mesh_sha256(rest_vertices(model), model.faces)
        first = asset.rows[0]
        names = {asset.path.stem, first["family"], first["asset_sha256"], sha256(asset.path)}
        self.reserved = find_reserved(names, self.mesh_sha256)

    @cached_property
    def encoded_textures(self) -> dict[int, bytes]:
        return {i: encode_png(texture) for i, texture in enumerate(self.model.textures)}


def _curate_clip(source: _LoadedAsset, row: Row) -> Row:
    config, model = source.asset.config, source.model
    facts: Row = {"num_vertices": len(model.colors), "num_triangles": len(model.faces)}
    facts["mesh_sha256"] = source.mesh_sha256
    try:
        if source.reserved is not None:
            raise ClipError("reserved", f"is {source.reserved}, which is kept for testing and never trained on.")
        animation = model.animation(row["animation_index"])
        if animation.end <= animation.start:
            raise ClipError("motion", f"{row['animation']!r} has a single key time, so nothing moves.")
        key = [source.asset.seed, _stable(row["clip_id"])]
        if row.get("variant_of") is None:
            mesh = bake_clip(model, animation, clip_times(animation, config.num_frames)).normalized()
        else:
            assert config.variants is not None, "only a configuration with variants makes rows of them"
            generator = np.random.default_rng([*key, 1])
            mesh, variant = bake_variant(model, animation, config.num_frames, config.variants, generator)
            facts["variant"] = variant.text()
        mesh = with_points(mesh, config.num_points, np.random.default_rng(key))
        assert mesh.points is not None
        facts["motion"] = motion_amount(mesh.points)
        facts[DESCRIPTOR] = motion_descriptor(mesh.vertices)
        if facts["motion"] < config.min_motion:
            reach = f"99 % of its surface moves by no more than {facts['motion']:.4f} of the object's size"
            raise ClipError("motion", f"{reach}; curate.min_motion is {config.min_motion}.")
        if source.asset.aesthetic is None:
            facts["aesthetic_note"] = source.asset.aesthetic_note
        else:
            facts["aesthetic_score"] = source.asset.aesthetic(mesh)
            if facts["aesthetic_score"] < config.min_aesthetic_score:
                message = f"scores {facts['aesthetic_score']:.2f}, less than {config.min_aesthetic_score}."
                raise ClipError("aesthetic", message)
        mesh.save(source.asset.folder / f"{row['clip_id']}.npz", source.encoded_textures)
    except MemoryError:
        raise  # the whole worker is out of memory: the asset's clips are retried one by one
    except Exception as error:
        rejected = Rejected.of(row["clip_id"], error)
        return decision(row, rejected.reason, rejected.message, rejected.exception, **facts)
    return decision(row, **facts)


def with_points(mesh: AnimatedMesh, num_points: int, generator: np.random.Generator) -> AnimatedMesh:
    """Return the mesh with points drawn uniformly on its surface in frame 0. Raises ClipError when it has no surface."""
    try:
        samples = sample_surface(mesh.vertices[0], mesh.faces, num_points, generator)
    except ValueError as error:
        raise ClipError("invalid", f"{error} in its first frame.") from None
    return dataclasses.replace(mesh, points=samples.positions(mesh.vertices, mesh.faces).astype(np.float32))


def _stable(text: str) -> int:
    return zlib.crc32(text.encode())
