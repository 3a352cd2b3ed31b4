"""Scores of the objects that are generated for held-out clips' first frames, beside references that need no such network.

Voxel IoU is measured in the axes in which the networks learned, the distance of the surfaces and the image metrics on the
evaluation views of the first frame. In all of them the mesh tells where the object's axes lie, so that only shape and looks count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from gvf.data.clips import load_points, load_views
from gvf.methods import SHAPES
from gvf.metrics.iou import voxel_iou
from gvf.metrics.metric import ImageMetric, Metric, PointMetric
from gvf.storage.files import load_npz
from gvf.workspace import Workspace
from gvf_evaluation.clip_scores import clip_views
from gvf_evaluation.held_out import CLIP_COLUMNS, Clip, groups_of
from gvf_evaluation.scoring import score_frames

IOU = "iou"


def score_shapes(
    workspace: Workspace, clip_id: str, metrics: Sequence[Metric], device: torch.device
) -> dict[str, dict[str, float]]:
    """Score every shape of a clip that was sampled: metric -> value, by method.

    A method without voxels has no IoU, one without Gaussians nothing else. Metrics of videos are not computed.
    """
    arrays = load_npz(workspace.shapes / f"{clip_id}.npz")
    first = load_views(workspace, clip_id, "eval").rgba[:1].to(device)
    points = load_points(workspace, clip_id)[:1].to(device)
    scores: dict[str, dict[str, float]] = {}
    for method in SHAPES:
        found: dict[str, float] = {}
        if f"{method}_voxels" in arrays:
            found[IOU] = intersection_over_union(arrays[f"{method}_voxels"], arrays["voxels"])
        if f"{method}_rgb" in arrays:
            images = torch.from_numpy(arrays[f"{method}_rgb"])[None].to(device)
            compared = [metric for metric in metrics if isinstance(metric, ImageMetric)]
            found |= score_frames(clip_views(images, first), compared, device).means
            centres = torch.from_numpy(arrays[f"{method}_means"])[None].to(device)
            found |= {one.name: float(one.compute(centres, points)) for one in metrics if isinstance(one, PointMetric)}
        if found:
            scores[method] = found
    return scores


def intersection_over_union(voxels: np.ndarray, others: np.ndarray) -> float:
    """Return the voxel IoU of two shapes, given as indices [M, 3] and [N, 3] of active voxels."""
    size = 1 + max(int(indices.max(initial=0)) for indices in (voxels, others))
    grids = torch.zeros(2, size, size, size, dtype=torch.bool)
    for grid, indices in zip(grids, (voxels, others)):
        grid[tuple(torch.from_numpy(indices).long().T)] = True
    return float(voxel_iou(*grids[:, None]))


def shape_table(
    scores: Iterable[tuple[Clip, Mapping[str, Mapping[str, float]]]], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return one row per clip and method that has a shape of it. scores: of `score_shapes`; metrics: order of the columns."""
    rows: list[dict[str, Any]] = [
        {**{name: getattr(clip, name) for name in CLIP_COLUMNS}, "method": method, **values}
        for clip, by_method in scores
        for method, values in by_method.items()
    ]
    measured = {name for row in rows for name in row}
    return pd.DataFrame(
        rows, columns=[*CLIP_COLUMNS, "method", *(name for name in (IOU, *metrics) if name in measured)]
    )


def shape_summary(shapes: pd.DataFrame) -> pd.DataFrame:
    """Return means over clips, one row per group and method, with the groups of `groups_of`. shapes: of `shape_table`."""
    names = [name for name in shapes.columns if name not in (*CLIP_COLUMNS, "method")]
    rows = []
    for group, part in groups_of(shapes).items():
        for method in (name for name in SHAPES if name in set(part["method"])):
            own = part[part["method"] == method]
            rows.append({"group": group, "method": method, "num_clips": len(own), **own[names].mean()})
    return pd.DataFrame(rows)


def flat_shapes(summary: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of group `all` under flat names, such as `shape_video_iou`."""
    return {
        f"shape_{row['method']}_{name}": float(value)
        for row in summary[summary["group"] == "all"].to_dict("records")
        for name, value in row.items()
        if name not in ("group", "method", "num_clips") and pd.notna(value)
    }
