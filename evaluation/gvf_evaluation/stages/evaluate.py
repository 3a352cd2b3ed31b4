"""Stage `evaluate`: scores every method's renders of held-out clips with `gvf_evaluation.held_out`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gvf.config.load import as_dict
from gvf.config.params import Params
from gvf.data.clips import accepted_clips, load_points, load_views, on_white
from gvf.data.curation.leakage import refuse_leaks
from gvf.data.manifest import HELD_OUT, read_manifest
from gvf.data.rejections import NAME as REJECTIONS
from gvf.data.rejections import merge_rejections
from gvf.errors import UserError
from gvf.execution.clip_map import Rejected, attempt
from gvf.gaussians.gaussians import Gaussians
from gvf.metrics.absence import Absence
from gvf.metrics.chamfer import chamfer_over_time
from gvf.storage.files import atomic_path, load_npz, load_tensors, write_json
from gvf.tracking.provenance import device_name, identify
from gvf.workspace import Workspace
from gvf_evaluation import test_sets
from gvf_evaluation.held_out import (
    INTERPOLATED,
    STATIC,
    Clip,
    as_videos,
    clip_table,
    flat_metrics,
    score_frames,
    summary_table,
)
from gvf_evaluation.measures import Measures, load_measures, why
from gvf_evaluation.score_files import ScoreFiles

TRUTH = "truth"


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Score every method, write the tables of `reports/scores`, return the figures of all clips."""
    device = torch.device("cuda" if params.run.device != "cpu" and torch.cuda.is_available() else "cpu")
    measures = load_measures(params.evaluate.metrics)
    files = ScoreFiles(workspace.scores)
    manifest = read_manifest(workspace.curated_manifest)
    refuse_leaks(manifest)
    clips = _held_out(workspace)
    methods = (STATIC, INTERPOLATED, *params.sample.methods)
    with_chamfer = "chamfer" in params.evaluate.metrics
    results = [
        attempt(clip.clip_id, _score_clip, workspace, clip.clip_id, methods, measures, with_chamfer, device)
        for clip in tqdm(clips, desc="evaluate", unit="clip")
    ]
    rejections = merge_rejections("evaluate", results, after=workspace.predictions)
    scored = [(clip, result) for clip, result in zip(clips, results) if not isinstance(result, Rejected)]
    scores = [
        (clip, method, {name: float(np.mean(values)) for name, values in over_time.items()})
        for clip, result in scored
        for method, over_time in result.over_time.items()
    ]
    frame_rows = [
        {"clip_id": clip.clip_id, "method": method, "frame": frame}
        | {n: values[frame] for n, values in over_time.items()}
        for clip, result in scored
        for method, over_time in result.over_time.items()
        for frame in range(result.shape[0])
    ]
    features = {
        name: {method: [result.features[name][method] for _, result in scored] for method in (TRUTH, *methods)}
        for name in measures.sets
    }
    set_scores, absent = _score_sets(features, measures)
    per_clip = clip_table(scores)
    summary = summary_table(per_clip, set_scores)
    _write_csv(per_clip, files.clips)
    _write_csv(_in_order(summary, params.evaluate.metrics), files.summary)
    _write_csv(pd.DataFrame(frame_rows), files.frames)
    frames, views, size = scored[-1][1].shape
    identity = identify("evaluate", as_dict(params), workspace.curated_manifest)
    measurement = {
        "preset": identity.preset,
        "data": identity.data,
        "code": identity.code,
        "data_digest": identity.data_digest,
        "run": identity.name,
        "test_set": test_sets.name_of(manifest),
        "device": device_name(device.type),
        "num_clips": len(scored),
        "num_frames": frames,
        "num_views": views,
        "image_size": size,
        "absent": absent,
        "rejected": [asdict(rejection) for rejection in rejections],  # by all stages after curation
    }
    write_json(files.measurement, measurement)
    return {**flat_metrics(summary), "rejected": sum(isinstance(result, Rejected) for result in results)}


@dataclass(frozen=True)
class _ClipScores:
    """The scores of one clip.

    over_time: method -> metric -> value of every frame. features: set metric -> method or truth -> features of its
    videos. shape: frames, views, image size.
    """

    over_time: dict[str, dict[str, Any]]
    features: dict[str, dict[str, Tensor]]
    shape: tuple[int, int, int]


def _score_clip(
    workspace: Workspace,
    clip_id: str,
    methods: Sequence[str],
    measures: Measures,
    with_chamfer: bool,
    device: torch.device,
) -> _ClipScores:
    truth = on_white(load_views(workspace, clip_id, "eval").rgba.to(device))
    path = workspace.predictions / f"{clip_id}.npz"
    arrays = load_npz(path)
    pictures = {method: _prediction(arrays, method, path, device) for method in methods}
    over_time = {method: score_frames(pictures[method], truth, measures.pictures) for method in methods}
    if with_chamfer:
        for method, distances in _chamfer(workspace, clip_id, methods, device).items():
            over_time[method]["chamfer"] = distances
    features = {
        name: {method: measure.features(as_videos(value)) for method, value in {TRUTH: truth, **pictures}.items()}
        for name, measure in measures.sets.items()
    }
    frames, views, size = truth.shape[:3]
    return _ClipScores(over_time, features, (frames, views, size))


def _in_order(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The columns as the params list them; metrics without their weights are there, empty."""
    return summary.reindex(columns=["group", "method", "num_clips", *metrics, "gap_closed"])


def _held_out(workspace: Workspace) -> list[Clip]:
    rows = accepted_clips(workspace, after=workspace.predictions)
    rows = rows[rows["split"] == HELD_OUT]
    if rows.empty:
        raise UserError(
            f"{workspace.curated_manifest}: no held-out clip with a prediction, so there is nothing to evaluate. Raise "
            f"curate.held_out_fraction; {workspace.predictions / REJECTIONS} says which clips were left out on the way, and "
            "why."
        )
    return [Clip(row["clip_id"], row["family"], bool(row["asset_seen"])) for row in rows.to_dict("records")]


def _chamfer(
    workspace: Workspace, clip_id: str, methods: Sequence[str], device: torch.device
) -> dict[str, list[float]]:
    """method -> Chamfer distance of every frame between the Gaussians' centres and the true surface's points."""
    tensors = load_tensors(workspace.predictions / f"{clip_id}.safetensors", device.type)
    points = load_points(workspace, clip_id).to(device)
    canonical = Gaussians.from_activated14(tensors["canonical"]).means
    centres = {
        name: canonical.expand(len(points), -1, -1) if name == STATIC else tensors[f"{name}_means"] for name in methods
    }
    return {method: chamfer_over_time(value, points).tolist() for method, value in centres.items()}


def _score_sets(
    features: Mapping[str, Mapping[str, list[Tensor]]], measures: Measures
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """method -> measures of all its videos, and every measure that is absent with its reason.

    features: by measure and method, of each clip.
    """
    scores: dict[str, dict[str, float]] = {}
    absent = dict(measures.absent)
    for name, measure in measures.sets.items():
        truth = torch.cat(features[name][TRUTH])
        for method in (name for name in features[name] if name != TRUTH):
            value = measure.distance(torch.cat(features[name][method]), truth)
            if isinstance(value, Absence):
                absent[name] = why(value)
            else:
                scores.setdefault(method, {})[name] = value
    return scores, absent


def _prediction(arrays: Mapping[str, np.ndarray], method: str, path: Path, device: torch.device) -> Tensor:
    """float32 [T, V, H, W, 3] in [0, 1] of one method."""
    if f"{method}_rgb" not in arrays:
        raise UserError(f"{path}: has no array '{method}_rgb'. Run `dvc repro sample` again.")
    return torch.from_numpy(arrays[f"{method}_rgb"]).to(device).float() / 255.0


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n", float_format="%.6f")
