"""Select among the accepted clips: at most so many of them, each for training or held out."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gvf.config.curate import CurateConfig
from gvf.data.curation.decision import Row
from gvf.data.curation.splits import held_out, pick_evenly
from gvf.data.manifest import ACCEPTED, HELD_OUT, REJECTED, TRAIN
from gvf.errors import ConfigError, StageError


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
