"""Stage `evaluate`: scores every method's renders of held-out clips and writes the tables of `reports/scores`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from gvf.config.load import as_dict
from gvf.config.params import Params
from gvf.data.clips import accepted_clips
from gvf.data.curation.leakage import refuse_leaks
from gvf.data.failures import Failure, read_failures
from gvf.data.manifest import HELD_OUT, read_manifest
from gvf.data.rejections import NAME as REJECTIONS
from gvf.data.rejections import merge_rejections
from gvf.devices import resolve_device
from gvf.errors import StageError, UserError
from gvf.execution.clip_map import Rejected, attempt
from gvf.methods import SHAPES
from gvf.metrics.metric import Metric
from gvf.metrics.table import METRICS, require_weights
from gvf.storage.files import atomic_path, read_json, write_json
from gvf.tracking.provenance import device_name, identify
from gvf.workspace import Workspace
from gvf_evaluation import test_sets
from gvf_evaluation.clip_scores import ClipScores, score_clip
from gvf_evaluation.held_out import (
    DISPLACEMENT_ERROR,
    INTERPOLATED,
    STATIC,
    Clip,
    clip_table,
    flat_metrics,
    summary_table,
)
from gvf_evaluation.score_files import ScoreFiles
from gvf_evaluation.scoring import mean, score_sets
from gvf_evaluation.shape_scores import flat_shapes, score_shapes, shape_summary, shape_table

Scored = Sequence[tuple[Clip, ClipScores]]


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Score every method, write the tables of `reports/scores`, return the metrics over all clips.

    Raises UserError when there is no held-out clip with a prediction, or when weights are damaged.
    """
    device = resolve_device(params.run.device)
    metrics = [METRICS[name] for name in params.evaluate.metrics]
    require_weights(metrics)
    files = ScoreFiles(workspace.scores)
    manifest = read_manifest(workspace.curated_manifest)
    refuse_leaks(manifest)
    clips = _held_out(workspace)
    methods = (STATIC, INTERPOLATED, *params.sample.methods)
    failures = read_failures(workspace.predictions)
    failed = {(failure.clip_id, failure.method) for failure in failures}
    results = []
    for clip in tqdm(clips, desc="evaluate", unit="clip"):
        sampled = [name for name in methods if (clip.clip_id, name) not in failed]
        results.append(attempt(clip.clip_id, score_clip, workspace, clip.clip_id, sampled, metrics, device))
    rejections = merge_rejections("evaluate", results, after=workspace.predictions)
    scored = [(clip, result) for clip, result in zip(clips, results) if not isinstance(result, Rejected)]
    set_scores, absent = score_methods(scored, methods, metrics)
    per_clip = clip_table(_clip_means(scored))
    summary = summary_table(per_clip, set_scores)
    _write_csv(per_clip, files.clips)
    _write_csv(_in_order(summary, params.evaluate.metrics), files.summary)
    _write_csv(_frame_rows(scored), files.frames)
    measured = _measurement(params, workspace, scored, device)
    rejected = [asdict(rejection) for rejection in rejections]  # by all stages after curation
    more = {
        "test_set": test_sets.name_of(manifest),
        "absent": absent,
        "rejected": rejected,
        "failures": [asdict(failure) for failure in failures],
    }
    shapes, failures = score_all_shapes(workspace, clips, params.evaluate.metrics, device)
    more["shape_failures"] = [asdict(failure) for failure in failures]
    write_json(files.measurement, measured | more)
    lost = sum(isinstance(result, Rejected) for result in results)
    return {**flat_metrics(summary), **shapes, "rejected": lost}


def score_all_shapes(
    workspace: Workspace, clips: Sequence[Clip], metrics: Sequence[str], device: torch.device
) -> tuple[dict[str, float], list[Failure]]:
    """Score the objects of first frames where `sample` made some, and write their tables.

    Returns the metrics over all clips, and the methods that have no shape of a clip.
    """
    files = ScoreFiles(workspace.scores)
    if not workspace.shapes.is_dir():
        for path in (files.shapes, files.shape_summary):
            path.unlink(missing_ok=True)
        return {}, []
    failures, scored = read_failures(workspace.shapes), []
    for clip in tqdm(clips, desc="evaluate shapes", unit="clip"):
        found = attempt(
            clip.clip_id, score_shapes, workspace, clip.clip_id, [METRICS[name] for name in metrics], device
        )
        if isinstance(found, Rejected):
            failures += [Failure.of(method, found) for method in SHAPES]
        else:
            scored.append((clip, found))
    if not scored:
        raise StageError(f"evaluate: no shape of {len(clips)} clips could be scored ({failures[-1].message}).")
    table = shape_table(scored, metrics)
    summary = shape_summary(table)
    _write_csv(table, files.shapes)
    _write_csv(summary, files.shape_summary)
    return flat_shapes(summary), failures


def score_methods(
    scored: Scored, methods: Sequence[str], metrics: Sequence[Metric]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the set metrics of every method over all clips, and every absent metric with its reason."""
    absent: dict[str, str] = {}
    for _, result in scored:
        absent |= result.absent
    scores: dict[str, dict[str, float]] = {}
    for method in methods:
        found = [result.features[method] for _, result in scored if method in result.features]
        features = {name: [one[name] for one in found] for name in found[0]} if found else {}
        scores[method], without = score_sets(features, metrics)
        absent |= without
    return scores, absent


def _clip_means(scored: Scored) -> list[tuple[Clip, str, dict[str, float]]]:
    """Return the mean over frames of every clip, method and metric, and the displacement errors."""
    return [
        (
            clip,
            method,
            {name: float(mean(values)) for name, values in over_time.items()}
            | {DISPLACEMENT_ERROR: result.displacement_errors[method]},
        )
        for clip, result in scored
        for method, over_time in result.over_time.items()
    ]


def _frame_rows(scored: Scored) -> pd.DataFrame:
    """Return one row per clip, method and frame."""
    return pd.DataFrame(
        {"clip_id": clip.clip_id, "method": method, "frame": frame}
        | {name: values[frame] for name, values in over_time.items()}
        for clip, result in scored
        for method, over_time in result.over_time.items()
        for frame in range(result.shape[0])
    )


def _measurement(params: Params, workspace: Workspace, scored: Scored, device: torch.device) -> dict[str, Any]:
    """Return what the metrics were measured on, and with what."""
    frames, views, size = scored[-1][1].shape
    identity = identify(workspace, "evaluate", as_dict(params), workspace.curated_manifest)
    return {
        "preset": identity.preset,
        "data": identity.data,
        "code": identity.code,
        "data_digest": identity.data_digest,
        "run": identity.name,
        "device": device_name(device.type),
        "generator_sha256": read_json(workspace.generation).get("generator_sha256"),
        "num_clips": len(scored),
        "num_frames": frames,
        "num_views": views,
        "image_size": size,
    }


def _in_order(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the columns in the order of the parameters; a metric without its weights has an empty column."""
    return summary.reindex(columns=["group", "method", "num_clips", *metrics, DISPLACEMENT_ERROR, "gap_closed"])


def _held_out(workspace: Workspace) -> list[Clip]:
    rows = accepted_clips(workspace, after=workspace.predictions)
    rows = rows[rows["split"] == HELD_OUT]
    if rows.empty:
        raise UserError(
            f"{workspace.curated_manifest}: no held-out clip with a prediction, so there is nothing to score. Raise "
            f"curate.held_out_fraction; {workspace.predictions / REJECTIONS} says which clips earlier stages rejected, "
            "and why."
        )
    return [
        Clip(
            row["clip_id"],
            kind=row["kind"],
            asset_seen=bool(row["asset_seen"]),
            skeleton_seen=bool(row["skeleton_seen"]),
            motion=float(row["motion"]),
        )
        for row in rows.to_dict("records")
    ]


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n", float_format="%.6f")
