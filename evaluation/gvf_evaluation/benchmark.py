"""`gvf evaluate --predictions`: any method's rendered frames scored by a named protocol, into MLflow and Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gvf.config.load import load_params
from gvf.config.params import Params
from gvf.errors import StageError, UserError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.tracking import client as tracking
from gvf.tracking.provenance import code_version, device_name
from gvf.workspace import Workspace
from gvf_evaluation.frame_folders import ObjectFrames, joint_digest, pair_folders
from gvf_evaluation.frames import read_frame
from gvf_evaluation.measures import absent_measures, require_weights, weights_digests
from gvf_evaluation.protocols import CONSISTENT4D, Protocol, find_protocol
from gvf_evaluation.reporting.images import fit, stack, strip
from gvf_evaluation.results import file_name, write_result
from gvf_evaluation.scoring import ObjectScores, ScoreTask, code_digest, score_object

STAGE = "benchmark"  # MLflow's experiment
_PICTURE = 128  # pixels a side in the tracked strips


@dataclass(frozen=True)
class Generation:
    """How long one object took: without alignment and rendering, with both; on which device. None where not known."""

    seconds: float | None = None
    seconds_in_all: float | None = None
    device: str | None = None


@dataclass(frozen=True)
class Submission:
    """What is scored. truth: None for the folder `gt` beside the predictions, as Consistent4D lays them out."""

    method: str
    predictions: Path
    truth: Path | None
    protocol: str
    generation: Generation

    @property
    def true_folder(self) -> Path:
        """Where the true frames are."""
        return self.predictions.resolve().parent / "gt" if self.truth is None else self.truth


def run(submission: Submission, params_path: str, workspace: Workspace) -> None:
    """Score a submission with the `run` and `tracking` sections of a params file; print its figures.

    Scores of single objects are kept, so an interrupted run resumes where it stopped. Raises UserError when frames
    are missing, extra, of other sizes or unusable.
    """
    if not submission.method.strip():
        raise UserError("--method is empty. Give the method's name, as Table 1 shall call it.")
    params = load_params(params_path)
    pairs = pair_folders(submission.predictions, submission.true_folder, find_protocol(submission.protocol))
    scores = score_pairs(submission, pairs, params, workspace)
    result = summarize(submission, pairs, scores, params)
    path = write_result(workspace, result)
    with tracking.stage_run(STAGE, _tracked(result), params.tracking):
        tracking.log_metrics(result["metrics"])
        for index, item in enumerate(scores):
            tracking.log(index, {f"object_{name}": value for name, value in item.means.items()})
        if "psnr" in result["metrics"]:
            worst = min(scores, key=lambda item: (item.means["psnr"], item.name)).name
            tracking.log_figure(f"worst-{worst}", _strips(next(pair for pair in pairs if pair.name == worst)))
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result["metrics"].items())
    tqdm.write(f"{result['method']}, protocol {result['protocol']}, {result['data']}: {figures}.")
    for name, reason in result["absent"].items():
        tqdm.write(f"{name}: n/a. {reason}")
    if (reused := sum(item.reused for item in scores)) > 0:
        tqdm.write(f"{reused} of {len(scores)} objects had been scored before and have not changed.")
    tqdm.write(f"Written to {path}; `dvc repro report` puts it into Table 1.")


def score_pairs(
    submission: Submission, pairs: Sequence[ObjectFrames], params: Params, workspace: Workspace
) -> list[ObjectScores]:
    """Score every object with `execution.workers` workers; returns the scores in the order of `pairs`.

    A mean over only some of the objects would be misleading, so one object that cannot be scored raises UserError or
    StageError. Damaged weights raise UserError before any object is scored.
    """
    device, protocol = _device(params), find_protocol(submission.protocol)
    absent = absent_measures(protocol.measures)
    measures = tuple(name for name in protocol.measures if name not in absent)
    i3d = protocol.video_features is CONSISTENT4D.video_features  # a protocol may use another network for FVD
    require_weights([name for name in measures if name != "fvd" or i3d])
    scorer = joint_digest([code_digest(), *map(str, weights_digests(measures).items())])
    name = file_name(submission.method, submission.protocol, str(submission.true_folder.resolve()))
    folder = workspace.benchmark_scores / name
    tasks = [
        ScoreTask(frames, submission.protocol, measures, device, scorer, folder / f"{frames.name}.npz")
        for frames in pairs
    ]
    scores = map_clips(score_object, tasks, params.execution, "score", lambda task: task.frames.name)
    if rejected := [item for item in scores if isinstance(item, Rejected)]:
        kind = UserError if rejected[0].exception == UserError.__name__ else StageError
        raise kind(
            f"{len(rejected)} of {len(scores)} objects cannot be scored. {rejected[0].item_id}: {rejected[0].message}"
        )
    return [item for item in scores if not isinstance(item, Rejected)]


def summarize(
    submission: Submission, pairs: Sequence[ObjectFrames], scores: Sequence[ObjectScores], params: Params
) -> dict[str, Any]:
    """The result as its file holds it."""
    protocol = find_protocol(submission.protocol)
    return {
        "method": submission.method,
        "protocol": protocol.name,
        "data": _data_label([pair.name for pair in pairs], submission.true_folder),
        "truth_sha256": joint_digest([item.truth for item in scores]),
        "predictions_sha256": joint_digest([item.prediction for item in scores]),
        "num_objects": len(pairs),
        "num_views": protocol.num_views,
        "num_frames": protocol.num_frames,
        "frame_sizes": sorted({pair.size for pair in pairs}),
        "image_size": protocol.image_size,
        "fvd_variant": protocol.fvd_variant,
        "device": device_name(_device(params)),
        "code": str(code_version()),
        "generation": asdict(submission.generation),
        "metrics": aggregate(scores, protocol),
        "objects": {item.name: item.means for item in scores},
        "absent": absent_measures(protocol.measures),
        "weights": weights_digests(protocol.measures),
    }


def aggregate(scores: Sequence[ObjectScores], protocol: Protocol) -> dict[str, float]:
    """Each image metric, a mean over objects of their means; FVD as the protocol has it."""
    means = [item.means for item in scores]
    metrics = {name: float(np.mean([values[name] for values in means])) for name in means[0]}
    features = [item.features for item in scores if item.features is not None]
    if features:
        predictions, truths = torch.from_numpy(np.stack(features, axis=1))
        metrics["fvd"] = protocol.fvd(predictions, truths)
    return metrics


def _data_label(objects: Sequence[str], truth: Path) -> str:
    """What the objects are, as far as their names tell."""
    if set(objects) == set(CONSISTENT4D.objects):
        return "Consistent4D's 7 objects"
    return f"{len(objects)} objects of {truth.resolve().parent.name}/{truth.name}"


def _device(params: Params) -> str:
    return "cuda" if params.run.device != "cpu" and torch.cuda.is_available() else "cpu"


def _tracked(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result's settings as the params of an MLflow run, which names it after method and data."""
    settings = {name: value for name, value in result.items() if name not in ("metrics", "objects")}
    return {"run": {"preset": result["method"]}, "collect": {"source": result["data"]}, STAGE: settings}


def _strips(pair: ObjectFrames) -> np.ndarray:
    """uint8 [H, W, 3]: the middle frame of every view, the truth above the prediction."""
    rows = []
    for frames in (pair.truths, pair.predictions):
        middle = np.stack([read_frame(view[len(view) // 2]) for view in frames])
        rows.append(strip(fit(middle, _PICTURE)))
    return stack(rows)
