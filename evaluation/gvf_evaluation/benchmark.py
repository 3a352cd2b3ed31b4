"""Scores of any method's rendered frames by a named protocol, for Table 1 and MLflow: `gvf evaluate --predictions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gvf.config.load import load_params
from gvf.config.params import Params
from gvf.devices import resolve_device
from gvf.errors import StageError, UserError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.metrics.table import absences, require_weights, weights_digests
from gvf.tracking import client as tracking
from gvf.tracking.provenance import code_version, device_name
from gvf.workspace import Workspace
from gvf_evaluation.frame_folders import ObjectFrames, joint_digest, pair_folders
from gvf_evaluation.frames import read_frame
from gvf_evaluation.object_scores import ObjectScores, ScoreTask, code_digest, score_object
from gvf_evaluation.protocols import CONSISTENT4D, Protocol, find_protocol
from gvf_evaluation.reporting.images import fit, stack, strip
from gvf_evaluation.results import file_name, write_result
from gvf_evaluation.scoring import score_sets

STAGE = "benchmark"  # MLflow's experiment
_TILE = 128  # pixels per side of an image in the tracked strips


@dataclass(frozen=True)
class Generation:
    """How long one object took, without and with alignment and rendering, and on which device; None where unknown."""

    seconds: float | None = None
    seconds_in_all: float | None = None
    device: str | None = None


@dataclass(frozen=True)
class Submission:
    """The frames to score. ground_truth: None for the folder `gt` beside the predictions, as Consistent4D lays them out."""

    method: str
    predictions: Path
    ground_truth: Path | None
    protocol: str
    generation: Generation

    @property
    def ground_truth_folder(self) -> Path:
        """Return the folder of the ground-truth frames."""
        return self.predictions.resolve().parent / "gt" if self.ground_truth is None else self.ground_truth


def run(submission: Submission, params_path: str, workspace: Workspace) -> None:
    """Score a submission with the `run` and `tracking` sections of a params file, and print its metrics.

    Scores of single objects are kept, so an interrupted run resumes where it stopped. Raises UserError when frames
    are missing, extra, of other sizes or unusable.
    """
    if not submission.method.strip():
        raise UserError("--method is empty. Give the method's name as it should appear in Table 1.")
    params = load_params(params_path)
    pairs = pair_folders(submission.predictions, submission.ground_truth_folder, find_protocol(submission.protocol))
    scores = score_pairs(submission, pairs, params, workspace)
    result = summarize(submission, pairs, scores, params, workspace)
    path = write_result(workspace, result)
    with tracking.stage_run(STAGE, _tracked(result), params.tracking, workspace):
        tracking.log_metrics(result["metrics"])
        for index, item in enumerate(scores):
            tracking.log(index, {f"object_{name}": value for name, value in item.scores.means.items()})
        if "psnr" in result["metrics"]:
            worst = min(scores, key=lambda item: (item.scores.means["psnr"], item.name)).name
            tracking.log_figure(f"worst-{worst}", _strips(next(pair for pair in pairs if pair.name == worst)))
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result["metrics"].items())
    tqdm.write(f"{result['method']}, protocol {result['protocol']}, {result['data']}: {metrics}.")
    for name, reason in result["absent"].items():
        tqdm.write(f"{name}: n/a. {reason}")
    if (reused := sum(item.reused for item in scores)) > 0:
        tqdm.write(f"{reused} of {len(scores)} objects had been scored before and have not changed since.")
    tqdm.write(f"Written to {path}. Run `dvc repro report` to add it to Table 1.")


def score_pairs(
    submission: Submission, pairs: Sequence[ObjectFrames], params: Params, workspace: Workspace
) -> list[ObjectScores]:
    """Score every object with `execution.workers` workers. Returns the scores in the order of `pairs`.

    A mean over only some of the objects would be misleading, so one object that cannot be scored raises UserError or
    StageError. Damaged weights raise UserError before any object is scored.
    """
    device, protocol = resolve_device(params.run.device).type, find_protocol(submission.protocol)
    require_weights(protocol.metrics)
    scorer = joint_digest([code_digest(), *map(str, weights_digests(protocol.metrics).items())])
    name = file_name(submission.method, submission.protocol, str(submission.ground_truth_folder.resolve()))
    folder = workspace.benchmark_scores / name
    tasks = [ScoreTask(frames, submission.protocol, device, scorer, folder / f"{frames.name}.npz") for frames in pairs]
    scores = map_clips(score_object, tasks, params.execution, "score", lambda task: task.frames.name)
    if rejected := [item for item in scores if isinstance(item, Rejected)]:
        kind = UserError if rejected[0].exception == UserError.__name__ else StageError
        raise kind(
            f"{len(rejected)} of {len(scores)} objects cannot be scored. {rejected[0].item_id}: {rejected[0].message}"
        )
    return [item for item in scores if not isinstance(item, Rejected)]


def summarize(
    submission: Submission,
    pairs: Sequence[ObjectFrames],
    scores: Sequence[ObjectScores],
    params: Params,
    workspace: Workspace,
) -> dict[str, Any]:
    """Return the result as its file holds it."""
    protocol = find_protocol(submission.protocol)
    metrics, absent = aggregate(scores, protocol)
    return {
        "method": submission.method,
        "protocol": protocol.name,
        "data": _data_label([pair.name for pair in pairs], submission.ground_truth_folder),
        "ground_truth_sha256": joint_digest([item.ground_truth for item in scores]),
        "predictions_sha256": joint_digest([item.prediction for item in scores]),
        "num_objects": len(pairs),
        "num_views": protocol.num_views,
        "num_frames": protocol.num_frames,
        "frame_sizes": sorted({pair.size for pair in pairs}),
        "image_size": protocol.image_size,
        "fvd_variant": protocol.fvd_variant,
        "device": device_name(resolve_device(params.run.device).type),
        "code": str(code_version(workspace.checkout)),
        "generation": asdict(submission.generation),
        "metrics": metrics,
        "objects": {item.name: item.scores.means for item in scores},
        "absent": absent,
        "weights": weights_digests(protocol.metrics),
    }


def aggregate(scores: Sequence[ObjectScores], protocol: Protocol) -> tuple[dict[str, float], dict[str, str]]:
    """Return the protocol's metrics, and the reasons of those that are absent.

    Image metrics are means over objects of their means; one that an object lacks is absent altogether.
    """
    absent = absences(protocol.metrics)
    for item in scores:
        for name, reason in item.scores.absent.items():
            absent.setdefault(name, f"{item.name}: {reason}")
    metrics: dict[str, float] = {}
    for name in (name for name in scores[0].scores.values if name not in absent):
        values = [item.scores.means[name] for item in scores if name in item.scores.means]
        if values:
            metrics[name] = float(np.mean(values))
        else:
            absent[name] = "No frame has anything to compare."
    features = {name: [item.scores.features[name] for item in scores] for name in scores[0].scores.features}
    set_metrics, without = score_sets(features, protocol.metrics)
    return metrics | set_metrics, absent | without


def _data_label(objects: Sequence[str], ground_truth: Path) -> str:
    """Return a label of the data, as far as the objects' names determine it."""
    if set(objects) == set(CONSISTENT4D.objects):
        return "Consistent4D's 7 objects"
    return f"{len(objects)} objects of {ground_truth.resolve().parent.name}/{ground_truth.name}"


def _tracked(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result's settings as the params of an MLflow run, which is named after method and data."""
    settings = {name: value for name, value in result.items() if name not in ("metrics", "objects")}
    return {"run": {"preset": result["method"]}, "collect": {"sources": [result["data"]]}, STAGE: settings}


def _strips(pair: ObjectFrames) -> np.ndarray:
    """Return the middle frame of every view, the ground truth above the prediction: uint8 [H, W, 3]."""
    rows = []
    for frames in (pair.ground_truth, pair.predictions):
        middle = np.stack([read_frame(view[len(view) // 2]) for view in frames])
        rows.append(strip(fit(middle, _TILE)))
    return stack(rows)
