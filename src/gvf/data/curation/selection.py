"""Select among the accepted clips: at most so many of them, each for training or held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gvf.config.curate import CurateConfig
from gvf.data.curation.decision import DESCRIPTOR, Row
from gvf.data.curation.splits import held_out, held_out_of_every_kind, held_out_of_seen, pick_evenly
from gvf.data.curation.variety import most_varied
from gvf.data.manifest import ACCEPTED, HELD_OUT, REJECTED, TRAIN
from gvf.errors import ConfigError, StageError


def apply_asset_cap(rows: list[Row], max_clips: int | None) -> list[Row]:
    """Keep at most `max_clips` accepted rows of each asset, the most varied ones; the others are rejected with reason `cap`."""
    by_asset: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row["decision"] == ACCEPTED:
            by_asset.setdefault(row["asset"], []).append(i)
    left_out: set[int] = set()
    for indices in by_asset.values():
        if max_clips is not None and len(indices) > max_clips:
            descriptors, motions = ([rows[i][name] for i in indices] for name in (DESCRIPTOR, "motion"))
            kept = {indices[i] for i in most_varied(descriptors, motions, max_clips)}
            left_out.update(set(indices) - kept)
    message = f"not among the {max_clips} most varied clips of its asset (curate.max_clips_per_asset)."
    return _without(rows, left_out, message)


def apply_cap(rows: list[Row], max_clips: int | None, generator: np.random.Generator) -> list[Row]:
    """Keep at most `max_clips` accepted rows, drawn evenly over families; the others are rejected with reason `cap`."""
    accepted = [i for i, row in enumerate(rows) if row["decision"] == ACCEPTED]
    if max_clips is None or len(accepted) <= max_clips:
        return rows
    kept = {accepted[i] for i in pick_evenly([rows[i]["family"] for i in accepted], max_clips, generator)}
    message = f"not among the {max_clips} clips drawn of {len(accepted)} (curate.max_clips)."
    return _without(rows, set(accepted) - kept, message)


def apply_split(rows: list[Row], config: CurateConfig, seed: int) -> list[Row]:
    """Put every accepted row in `train` or `held_out`. Raises StageError or ConfigError when both cannot have some."""
    accepted = [row for row in rows if row["decision"] == ACCEPTED]
    if len(accepted) < 2:
        reasons = Counter(row["reason"] for row in rows if row["decision"] == REJECTED)
        counts = ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common()) or "none rejected"
        first = next((row["message"] for row in rows if row["decision"] == REJECTED), "")
        raise StageError(f"only {len(accepted)} of {len(rows)} clips were accepted ({counts}; first: {first}).")
    skeletons = grouped_skeletons([row["skeleton"] for row in accepted], [row["mesh_sha256"] for row in accepted])
    apart = _held_out(accepted, skeletons, config, seed)
    if config.held_out_seen_fraction is not None:
        apart = _with_some_of_seen_assets(accepted, skeletons, apart, config.held_out_seen_fraction, seed)
    seen_meshes = {row["mesh_sha256"] for row, out in zip(accepted, apart) if not out}
    seen_skeletons = {skeleton for skeleton, out in zip(skeletons, apart) if not out}
    split = {
        row["clip_id"]: {
            "split": HELD_OUT if out else TRAIN,
            "asset_seen": out and row["mesh_sha256"] in seen_meshes,
            "skeleton_seen": out and skeleton in seen_skeletons,
        }
        for row, skeleton, out in zip(accepted, skeletons, apart)
    }
    return [row | split.get(row["clip_id"], {}) for row in rows]


def grouped_skeletons(skeletons: Sequence[str], meshes: Sequence[str]) -> list[str]:
    """Return the skeleton of each clip, one name for skeletons that some mesh has in copies under both names."""
    names, left = np.unique(np.asarray(skeletons, dtype=object), return_inverse=True)
    _, right = np.unique(np.asarray(meshes, dtype=object), return_inverse=True)
    size = len(names) + int(right.max()) + 1
    edges = coo_matrix((np.ones(len(left)), (left, len(names) + right)), (size, size))
    component = connected_components(edges, directed=False)[1][: len(names)]
    first = {int(label): str(name) for name, label in reversed(list(zip(names, component)))}
    return [first[int(component[i])] for i in left]


def _held_out(accepted: list[Row], skeletons: list[str], config: CurateConfig, seed: int) -> list[bool]:
    """Return whether each accepted clip is held out, by `curate.split_by`."""
    try:
        if config.split_by == "skeleton":
            return held_out_of_every_kind(skeletons, [row["kind"] for row in accepted], config.held_out_fraction, seed)
        # Copies of an asset under other names have its mesh, and stay on its side.
        column = {"clip": "clip_id", "animation": "animation", "asset": "mesh_sha256"}[config.split_by]
        keys, families = [row[column] for row in accepted], [row["family"] for row in accepted]
        return held_out(keys, families, config.held_out_fraction, np.random.default_rng([seed, 2]))
    except ValueError:
        message = f"is {config.split_by}, but all accepted clips have the same. Choose clip."
        raise ConfigError("curate.split_by", message) from None


def _with_some_of_seen_assets(
    accepted: list[Row], skeletons: list[str], apart: list[bool], fraction: float, seed: int
) -> list[bool]:
    """Return whether each accepted clip is held out, now with some clips of assets that stay in training."""
    train = [i for i, out in enumerate(apart) if not out]
    chosen = held_out_of_seen(
        [(skeletons[i], accepted[i]["animation"]) for i in train],
        [accepted[i]["mesh_sha256"] for i in train],
        [accepted[i]["kind"] for i in train],
        fraction,
        seed,
    )
    also = {i for i, out in zip(train, chosen) if out}
    return [out or i in also for i, out in enumerate(apart)]


def _without(rows: list[Row], left_out: set[int], message: str) -> list[Row]:
    dropped = {"decision": REJECTED, "reason": "cap", "message": message, "exception": None}
    return [{**row, **dropped} if i in left_out else row for i, row in enumerate(rows)]
