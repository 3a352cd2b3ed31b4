"""Stage `curate`: bake every clip, decide which are kept and why, split them. Writes `data/curated`."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gvf.config.curate import CurateConfig
from gvf.data.curation.mesh_hash import mesh_sha256
from gvf.data.curation.reserved import find_reserved
from gvf.data.curation.splits import held_out, pick_evenly
from gvf.data.gltf.baking import GltfModel, bake_clip, clip_times, load_model, rest_vertices
from gvf.data.gltf.document import read_gltf
from gvf.data.manifest import (
    ACCEPTED,
    CURATED_SCHEMA,
    HELD_OUT,
    REJECTED,
    TRAIN,
    read_manifest,
    write_manifest,
)
from gvf.data.mesh import AnimatedMesh, encode_png, reduced
from gvf.errors import ClipError, ConfigError, StageError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.execution.rejected import CRASHED, MEMORY, TIMEOUT
from gvf.geometry.camera import intrinsics, orbit
from gvf.geometry.sampling import motion_amount, sample_surface
from gvf.metrics.aesthetic import AestheticWeights, find_weights, load_scorer
from gvf.rendering.mesh_views import render_mesh
from gvf.storage.files import fresh_directory, sha256
from gvf.workspace import Workspace

if TYPE_CHECKING:
    from gvf.config.execution import ExecutionConfig
    from gvf.config.params import Params

Row = dict[str, Any]

# The views of frame 0 whose mean aesthetic score counts (supplement B: 4 views): level with the object, all round.
_SCORED_AZIMUTHS, _SCORED_SIZE = (0.0, 90.0, 180.0, 270.0), 224  # degrees, pixels


@dataclass(frozen=True)
class AssetClips:
    """The clips of one asset, so that its file is read once. rows: their rows of the raw manifest.

    aesthetic: weights of the scorer, or None, and then aesthetic_note says why clips are not scored.
    """

    path: Path
    rows: tuple[Row, ...]
    folder: Path
    config: CurateConfig
    seed: int
    aesthetic: AestheticWeights | None
    aesthetic_note: str | None

    @property
    def readable(self) -> list[Row]:
        """Return the rows of the clips that `collect` could read."""
        return [row for row in self.rows if row["error"] is None]


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Decide every clip of the raw manifest. Raises StageError when too few are accepted to split them."""
    config, seed = params.curate, params.run.seed
    clips = read_manifest(workspace.raw_manifest)
    records = clips.astype(object).where(clips.notna(), None).to_dict("records")
    raw_rows: list[Row] = [{str(name): value for name, value in record.items()} for record in records]
    weights, note = _aesthetic_weights()
    by_asset: dict[str, list[Row]] = {}
    for row in raw_rows:
        by_asset.setdefault(row["asset"], []).append(row)
    with fresh_directory(workspace.curated) as folder:
        assets = [
            AssetClips(workspace.raw / asset, tuple(rows), folder, config, seed, weights, note)
            for asset, rows in by_asset.items()
        ]
        decided = decide_assets(assets, params.execution, "curate")
        rows = [decided[row["clip_id"]] for row in raw_rows]
        rows = apply_cap(rows, config.max_clips, np.random.default_rng([seed, 1]))
        rows = apply_split(rows, config, np.random.default_rng([seed, 2]))
        rows = with_sampled_frames(rows, assets, params)
        accepted = {row["clip_id"] for row in rows if row["decision"] == ACCEPTED}
        for path in folder.glob("*.npz"):
            if path.stem not in accepted:
                path.unlink()
        write_manifest(folder / workspace.curated_manifest.name, rows, CURATED_SCHEMA)
    return _metrics(rows)


def decide_assets(assets: list[AssetClips], execution: ExecutionConfig, describe: str) -> dict[str, Row]:
    """Return the decision on every clip of the assets, by clip id.

    If a worker fails on an asset (crash, time or memory limit), the asset's clips are retried one by one, so that only
    the clip that causes the failure is rejected, unless the asset itself cannot be loaded.
    """
    decided: dict[str, Row] = {}

    def decide(asset: AssetClips, result: list[Row] | Rejected) -> None:
        rows = [_refused(row, result) for row in asset.rows] if isinstance(result, Rejected) else result
        decided.update({row["clip_id"]: row for row in rows})

    lost = []
    for asset, result in zip(
        assets, map_clips(curate_asset, assets, execution, describe, lambda asset: asset.path.name)
    ):
        if isinstance(result, Rejected) and result.reason in (CRASHED, TIMEOUT, MEMORY) and len(asset.readable) > 1:
            lost.append(asset)
        else:
            decide(asset, result)
    single = []
    for asset, found in zip(
        lost, map_clips(try_asset, lost, execution, f"{describe}, load again", lambda a: a.path.name)
    ):
        if isinstance(found, Rejected):
            decide(asset, found)
        else:
            single += [dataclasses.replace(asset, rows=(row,)) for row in asset.rows]
    alone = map_clips(
        curate_asset, single, execution, f"{describe}, one by one", lambda asset: asset.rows[0]["clip_id"]
    )
    for asset, result in zip(single, alone):
        decide(asset, result)
    return decided


def curate_asset(asset: AssetClips) -> list[Row]:
    """Decide each clip of one asset and write the accepted ones. Raises ClipError when the whole asset is unusable."""
    decisions = [_decision(row, row["error"], row["message"], row["exception"]) for row in asset.rows if row["error"]]
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
        mesh = bake_clip(model, animation, clip_times(animation, config.num_frames)).normalized()
        mesh = with_points(mesh, config.num_points, np.random.default_rng([source.asset.seed, _stable(row["clip_id"])]))
        assert mesh.points is not None
        facts["motion"] = motion_amount(mesh.points)
        if facts["motion"] < config.min_motion:
            reach = f"99 % of its surface moves by no more than {facts['motion']:.4f} of the object's size"
            raise ClipError("motion", f"{reach}; curate.min_motion is {config.min_motion}.")
        if source.asset.aesthetic is None:
            facts["aesthetic_note"] = source.asset.aesthetic_note
        else:
            facts["aesthetic_score"] = aesthetic_score(mesh, source.asset.aesthetic)
            if facts["aesthetic_score"] < config.min_aesthetic_score:
                message = f"scores {facts['aesthetic_score']:.2f}, less than {config.min_aesthetic_score}."
                raise ClipError("aesthetic", message)
        mesh.save(source.asset.folder / f"{row['clip_id']}.npz", source.encoded_textures)
    except MemoryError:
        raise  # the whole worker is out of memory: the asset's clips are retried one by one
    except Exception as error:
        rejected = Rejected.of(row["clip_id"], error)
        return _decision(row, rejected.reason, rejected.message, rejected.exception, **facts)
    return _decision(row, **facts)


def with_points(mesh: AnimatedMesh, num_points: int, generator: np.random.Generator) -> AnimatedMesh:
    """Return the mesh with points drawn uniformly on its surface in frame 0. Raises ClipError when it has no surface."""
    try:
        samples = sample_surface(mesh.vertices[0], mesh.faces, num_points, generator)
    except ValueError as error:
        raise ClipError("invalid", f"{error} in its first frame.") from None
    return dataclasses.replace(mesh, points=samples.positions(mesh.vertices, mesh.faces).astype(np.float32))


def aesthetic_score(mesh: AnimatedMesh, weights: AestheticWeights) -> float:
    """Return the mean score of the views of frame 0 on white."""
    viewmats = orbit(_SCORED_AZIMUTHS, np.zeros(len(_SCORED_AZIMUTHS)), 2.0)
    Ks = np.tile(intrinsics(49.1), (len(_SCORED_AZIMUTHS), 1, 1))
    views = render_mesh(mesh.vertices[0], mesh, viewmats, Ks, _SCORED_SIZE, samples=2).astype(np.float32)
    alpha = views[..., 3:] / 255.0
    on_white = np.rint(views[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return float(load_scorer(weights).score(on_white).mean())


def apply_cap(rows: list[Row], max_clips: int | None, generator: np.random.Generator) -> list[Row]:
    """Keep at most `max_clips` accepted rows, drawn evenly over families; the others are rejected with reason `cap`."""
    accepted = [i for i, row in enumerate(rows) if row["decision"] == ACCEPTED]
    if max_clips is None or len(accepted) <= max_clips:
        return rows
    kept = {accepted[i] for i in pick_evenly([rows[i]["family"] for i in accepted], max_clips, generator)}
    left_out = set(accepted) - kept
    message = f"not among the {max_clips} clips drawn of {len(accepted)} (curate.max_clips)."
    dropped = {"decision": REJECTED, "reason": "cap", "message": message, "exception": None}
    return [{**row, **dropped} if i in left_out else row for i, row in enumerate(rows)]


def apply_split(rows: list[Row], config: CurateConfig, generator: np.random.Generator) -> list[Row]:
    """Put every accepted row in `train` or `held_out`. Raises StageError or ConfigError when both cannot have some."""
    accepted = [row for row in rows if row["decision"] == ACCEPTED]
    if len(accepted) < 2:
        reasons = Counter(row["reason"] for row in rows if row["decision"] == REJECTED)
        counts = ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common()) or "none rejected"
        first = next((row["message"] for row in rows if row["decision"] == REJECTED), "")
        raise StageError(f"only {len(accepted)} of {len(rows)} clips were accepted ({counts}; first: {first}).")
    # Copies of an asset under other names have its mesh, and stay on its side.
    column = {"clip": "clip_id", "animation": "animation", "asset": "mesh_sha256"}[config.split_by]
    keys, families = [row[column] for row in accepted], [row["family"] for row in accepted]
    try:
        apart = held_out(keys, families, config.held_out_fraction, generator)
    except ValueError:
        message = f"is {config.split_by}, but all accepted clips have the same. Choose clip."
        raise ConfigError("curate.split_by", message) from None
    splits = {row["clip_id"]: HELD_OUT if out else TRAIN for row, out in zip(accepted, apart)}
    seen = {row["mesh_sha256"] for row in accepted if splits[row["clip_id"]] == TRAIN}
    return [
        {
            **row,
            "split": splits.get(row["clip_id"]),
            "asset_seen": splits.get(row["clip_id"]) == HELD_OUT and row["mesh_sha256"] in seen,
        }
        for row in rows
    ]


def with_sampled_frames(rows: list[Row], assets: list[AssetClips], params: Params) -> list[Row]:
    """Bake the held-out clips again at `sample.num_frames`, the length that is generated and evaluated.

    Does nothing where that is also the length of the training clips. Every held-out clip is decided again with these
    frames, and removed from the split if it is now rejected. Returns all rows.
    """
    num_frames = params.sample.num_frames
    if num_frames == params.curate.num_frames:
        return rows
    before = {row["clip_id"]: row for row in rows if row["split"] == HELD_OUT}
    config = dataclasses.replace(params.curate, num_frames=num_frames)
    chosen = [(asset, tuple(row for row in asset.rows if row["clip_id"] in before)) for asset in assets]
    again = [dataclasses.replace(asset, rows=part, config=config) for asset, part in chosen if part]
    decided = decide_assets(again, params.execution, "curate held out")
    for clip_id, row in decided.items():
        if row["decision"] == ACCEPTED:
            decided[clip_id] = row | {name: before[clip_id][name] for name in ("split", "asset_seen")}
    return [decided.get(row["clip_id"], row) for row in rows]


def _refused(row: Row, rejected: Rejected) -> Row:
    """Return the rejection of a clip whose asset failed; a clip that `collect` could not read keeps its own reason."""
    if row["error"]:
        return _decision(row, row["error"], row["message"], row["exception"])
    return _decision(row, rejected.reason, rejected.message, rejected.exception)


def _decision(
    row: Row, reason: str | None = None, message: str | None = None, exception: str | None = None, **facts: Any
) -> Row:
    """Return a row of the curated manifest, still without a split. facts: what was measured before the decision."""
    return {
        **row,
        "decision": ACCEPTED if reason is None else REJECTED,
        "reason": reason,
        "message": message,
        "exception": exception,
        "motion": None,
        "num_vertices": 0,
        "num_triangles": 0,
        "mesh_sha256": None,
        "aesthetic_score": None,
        "aesthetic_note": None,
        "split": None,
        "asset_seen": False,
        **facts,
    }


def _aesthetic_weights() -> tuple[AestheticWeights | None, str | None]:
    """Return the scorer's weights, or the reason why clips will not be scored."""
    try:
        weights = find_weights()
    except FileNotFoundError as error:
        return None, f"not scored: {error} absent"
    load_scorer(weights)  # damaged weights are reported once, here
    return weights, None


def _stable(text: str) -> int:
    return zlib.crc32(text.encode())


def _metrics(rows: list[Row]) -> dict[str, float]:
    accepted = [row for row in rows if row["decision"] == ACCEPTED]
    reasons = Counter(row["reason"] for row in rows if row["decision"] == REJECTED)
    return {
        "clips": float(len(rows)),
        "accepted": float(len(accepted)),
        "train": float(sum(row["split"] == TRAIN for row in accepted)),
        "held_out": float(sum(row["split"] == HELD_OUT for row in accepted)),
        "rejected": float(len(rows) - len(accepted)),
        "held_out_asset_seen": float(sum(row["asset_seen"] for row in accepted)),
        "mean_motion": float(np.mean([row["motion"] for row in accepted])),
        **{f"rejected_{reason}": float(count) for reason, count in sorted(reasons.items())},
    }
