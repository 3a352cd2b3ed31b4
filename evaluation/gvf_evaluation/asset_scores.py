"""Score one generated asset, given its folder and the animated model; as JSON, or as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gvf.errors import UserError
from gvf.geometry.camera import CONSISTENT4D_ORBIT
from gvf.geometry.similarity import Similarity
from gvf.metrics.table import METRICS
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_manifest import CanonicalFacts
from gvf.progress import Progress
from gvf.storage.files import sha256
from gvf_evaluation.comparison import (
    ASSET,
    METHODS,
    Candidate,
    compare,
    in_unit_of,
)
from gvf_evaluation.held_out import DISPLACEMENT_ERROR
from gvf_evaluation.true_motion import Pose, TrueMotion, read_true_motion

_SHORT_OF_THE_END = 0.75  # share of the clip; an asset that ends earlier may have been filmed evenly


def score_asset(
    folder: Path,
    truth_file: Path,
    clip: str | None,
    even: bool,
    size: int,
    samples: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """Return all scores of the asset in a folder against an animation of a model, ready for JSON.

    even: compare its frames with evenly spaced times of the clip, whatever their own times are. Raises UserError when the
    folder, the file or the clip cannot be used, or the asset lasts longer than the clip.
    """
    with progress.step("read"):
        asset = Asset4D.load(folder)
        manifest, times = asset.manifest, np.array(asset.manifest.times)
        _require_increasing(folder, times, manifest.num_frames)
        digest = sha256(truth_file) if truth_file.is_file() else ""
        same_file = manifest.canonical.origin == "mesh" and manifest.canonical.sha256 == digest
        pose = Pose(manifest.canonical.clip) if same_file else None
        truth = read_true_motion(truth_file, clip, times, even, pose)
        rendering = manifest.rendering
        candidate = Candidate(asset.gaussians, asset.canonical, rendering.low_pass, rendering.compensate)
        own = _to_file(manifest.canonical)
        if own is not None:
            candidate = in_unit_of(truth.to_file, candidate, own)
    remarks = _remarks(own is not None, same_file, truth, even)
    for remark in remarks:
        progress.warn(remark)
    scores = compare(candidate, truth, size, samples, device, progress)
    return {
        "asset": folder.resolve().name,
        "truth": {"file": truth_file.name, "sha256": digest, "clip": truth.clip},
        "times": truth.times.tolist(),
        "views": {"azimuths": list(CONSISTENT4D_ORBIT.azimuths), "size": size, "samples": samples},
        "remarks": remarks,
        **scores.facts(),
    }


def _require_increasing(folder: Path, times: np.ndarray, num_frames: int) -> None:
    """Raise UserError unless there are several frames, each with a time, and the times increase."""
    if len(times) != num_frames or num_frames < 2 or (np.diff(times) <= 0).any():
        raise UserError(f"{folder}: needs at least 2 frames at increasing times to be compared with an animation.")


def _to_file(canonical: CanonicalFacts) -> Similarity | None:
    """Return the similarity from object units to those of the model file; None for an asset made without a mesh."""
    if canonical.origin != "mesh" or canonical.to_file is None:
        return None
    return canonical.to_file.similarity()


def _remarks(from_mesh: bool, same_file: bool, truth: TrueMotion, even: bool) -> list[str]:
    """Return remarks on what makes the scores not comparable with others."""
    remarks = []
    if not from_mesh:
        remarks.append(
            "The asset was not made from a mesh: its unit is taken as that of the clip, whose longest side is 1. Scores are "
            "low where size or place differ."
        )
    elif not same_file:
        remarks.append(
            "The asset was made from another file than the one given with --truth: both are taken to use the same unit, and "
            "the clip's first frame as the pose of the canonical Gaussians."
        )
    if not even and truth.times[-1] < _SHORT_OF_THE_END * truth.duration:
        remarks.append(
            f"The asset ends at {truth.times[-1]:.3g} s, the clip at {truth.duration:.3g} s. If its frames are spread over the "
            "whole clip, give --times even."
        )
    return remarks


def table(scores: Mapping[str, Any]) -> str:
    """Return the scores as text: one line per metric, then gap closed, the worst frame and what was not measured."""
    methods, truth = scores["methods"], scores["truth"]
    lines = [
        f"{scores['asset']} against {truth['clip']!r} of {truth['file']}: {len(scores['times'])} frames, "
        f"{len(scores['views']['azimuths'])} views of {scores['views']['size']} pixels",
        "",
        f"{'':<28}" + "".join(f"{method:>14}" for method in METHODS),
    ]
    for name in methods[ASSET]["mean"]:
        title, layout = _title(name)
        values = (methods[method]["mean"].get(name) for method in METHODS)
        shown = ("n/a" if value is None else layout.format(value) for value in values)
        lines.append(f"{title:<28}" + "".join(f"{text:>14}" for text in shown))
    gap = scores["gap_closed"]
    lines += ["", f"Gap closed: {'n/a, the clip hardly moves in these views' if gap is None else f'{gap:.1%}'}"]
    psnr = [np.inf if value is None else value for value in methods[ASSET]["frames"]["psnr"]]
    worst = int(np.argmin(psnr))
    lines += [f"Worst frame: {worst} at {scores['times'][worst]:.3g} s, {psnr[worst]:.2f} dB"]
    if scores["absent"]:
        lines += [f"Not measured: {', '.join(scores['absent'])}. --json says why, `gvf weights list` what is here."]
    return "\n".join(lines)


def _title(name: str) -> tuple[str, str]:
    """Return the title of a metric with its unit, and the format of its values."""
    if name == DISPLACEMENT_ERROR:
        return "Displacement error", "{:.3f}"
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title, metric.format
