"""Stage `curate`: bake every clip, decide which are kept and why, split them. Writes `data/curated`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gvf.data.curation.asset import AssetClips
from gvf.data.curation.asset_map import decide_assets
from gvf.data.curation.decision import Row
from gvf.data.curation.selection import apply_asset_cap, apply_cap, apply_split
from gvf.data.manifest import (
    ACCEPTED,
    CURATED_SCHEMA,
    HELD_OUT,
    REJECTED,
    TRAIN,
    read_manifest,
    unique,
    write_manifest,
)
from gvf.data.mesh import AnimatedMesh
from gvf.geometry.camera import intrinsics, orbit
from gvf.metrics.aesthetic import AestheticWeights, find_weights, load_scorer
from gvf.rendering.mesh_views import render_mesh
from gvf.storage.files import fresh_directory
from gvf.workspace import Workspace

if TYPE_CHECKING:
    from gvf.config.params import Params

# The views of frame 0 whose mean aesthetic score counts (supplement B: 4 views): level with the object, all round.
_SCORED_AZIMUTHS, _SCORED_SIZE = (0.0, 90.0, 180.0, 270.0), 224  # degrees, pixels
_OF_SPLIT = ("split", "asset_seen", "skeleton_seen")


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Decide every clip of the raw manifest. Raises StageError when too few are accepted to split them."""
    config, seed = params.curate, params.run.seed
    clips = read_manifest(workspace.raw_manifest)
    records = clips.astype(object).where(clips.notna(), None).to_dict("records")
    raw_rows: list[Row] = [{str(name): value for name, value in record.items()} for record in records]
    scorer, note = aesthetic_scorer()
    by_asset: dict[str, list[Row]] = {}
    for row in raw_rows:
        by_asset.setdefault(row["asset"], []).append(row)
    with fresh_directory(workspace.curated) as folder:
        assets = [
            AssetClips(workspace.raw / asset, tuple(rows), folder, config, seed, scorer, note)
            for asset, rows in by_asset.items()
        ]
        decided = decide_assets(assets, params.execution, "curate")
        rows = [decided[row["clip_id"]] for row in raw_rows]
        rows = apply_asset_cap(rows, config.max_clips_per_asset)
        rows = apply_cap(rows, config.max_clips, np.random.default_rng([seed, 1]))
        rows = apply_split(rows, config, seed)
        rows = with_sampled_frames(rows, assets, params)
        rows += variants(rows, assets, params)
        accepted = {row["clip_id"] for row in rows if row["decision"] == ACCEPTED}
        for path in folder.glob("*.npz"):
            if path.stem not in accepted:
                path.unlink()
        write_manifest(folder / workspace.curated_manifest.name, rows, CURATED_SCHEMA)
    return _metrics(rows)


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
            decided[clip_id] = row | {name: before[clip_id][name] for name in _OF_SPLIT}
    return [decided.get(row["clip_id"], row) for row in rows]


def variants(rows: list[Row], assets: list[AssetClips], params: Params) -> list[Row]:
    """Bake variants of the training clips as `curate.variants` says, and return their rows; none where it is null."""
    config = params.curate.variants
    if config is None:
        return []
    train = {row["clip_id"] for row in rows if row["split"] == TRAIN}
    taken = {row["clip_id"]: 1 for row in rows}
    chosen = []
    for asset in assets:
        part = [
            {**row, "clip_id": unique(f"{row['clip_id']}--v{i + 1}", taken), "variant_of": row["clip_id"]}
            for row in asset.rows
            if row["clip_id"] in train
            for i in range(config.per_clip)
        ]
        if part:
            chosen.append(dataclasses.replace(asset, rows=tuple(part)))
    decided = decide_assets(chosen, params.execution, "curate variants")
    return [row | {"split": TRAIN if row["decision"] == ACCEPTED else None} for row in decided.values()]


def aesthetic_scorer() -> tuple[Callable[[AnimatedMesh], float] | None, str | None]:
    """Return the function that scores a mesh, or None and the reason why clips will not be scored."""
    try:
        weights = find_weights()
    except FileNotFoundError as error:
        return None, f"not scored: {error} absent"
    load_scorer(weights)  # damaged weights are reported once, here
    return partial(aesthetic_score, weights=weights), None


def aesthetic_score(mesh: AnimatedMesh, weights: AestheticWeights) -> float:
    """Return the mean score of the views of frame 0 on white."""
    viewmats = orbit(_SCORED_AZIMUTHS, np.zeros(len(_SCORED_AZIMUTHS)), 2.0)
    Ks = np.tile(intrinsics(49.1), (len(_SCORED_AZIMUTHS), 1, 1))
    views = render_mesh(mesh.vertices[0], mesh, viewmats, Ks, _SCORED_SIZE, samples=2).astype(np.float32)
    alpha = views[..., 3:] / 255.0
    on_white = np.rint(views[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return float(load_scorer(weights).score(on_white).mean())


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
        "held_out_skeleton_seen": float(sum(row["skeleton_seen"] for row in accepted)),
        "variants": float(sum(row["variant_of"] is not None for row in accepted)),
        "mean_motion": float(np.mean([row["motion"] for row in accepted])),
        **{f"rejected_{reason}": float(count) for reason, count in sorted(reasons.items())},
    }
