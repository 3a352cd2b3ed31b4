"""Score the frames of one object by a protocol; scores are kept in a file and reused while nothing has changed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from gvf.errors import UserError
from gvf.metrics import metric as metric_module
from gvf.metrics.metric import ImagePairs, MaskedImageMetric
from gvf.storage.files import save_npz, sha256
from gvf_evaluation.frame_folders import ObjectFrames, frames_digest, joint_digest
from gvf_evaluation.frames import read_frame_and_alpha, resized
from gvf_evaluation.protocols import Protocol, find_protocol
from gvf_evaluation.scoring import FramePairs, FrameScores, score_frames

_BATCH = 4  # frames compared at once: 100 MB at 512 x 512
_VALUES, _FEATURES, _ABSENT, _KEY = "values/", "features/", "absent", "key"


@dataclass(frozen=True)
class ScoreTask:
    """An object to score. kept: the file of its scores.

    scorer: digest of whatever else decides the values: code, versions, weights.
    """

    frames: ObjectFrames
    protocol: str
    device: str
    scorer: str
    kept: Path


@dataclass(frozen=True)
class ObjectScores:
    """Scores of one object.

    ground_truth, prediction: digests of the frames' bytes, names and order. reused: whether the scores are from the file.
    """

    name: str
    scores: FrameScores
    ground_truth: str
    prediction: str
    reused: bool


def score_object(task: ScoreTask) -> ObjectScores:
    """Score every frame, or read the scores that were kept of the same frames. Raises UserError for unusable frames."""
    ground_truth, prediction = frames_digest(task.frames.ground_truth), frames_digest(task.frames.predictions)
    key = joint_digest([task.protocol, task.device, task.scorer, ground_truth, prediction])
    scores = _read_kept(task.kept, key)
    reused = scores is not None
    if scores is None:
        scores = _score(task)
        _keep(task.kept, key, scores)
    return ObjectScores(task.frames.name, scores, ground_truth, prediction, reused)


@cache
def code_digest() -> str:
    """Return a digest of the source that scores frames, and of the versions of the libraries it calls."""
    from importlib.metadata import version

    home, metrics = Path(__file__).parent, Path(str(metric_module.__file__)).parent
    packages = ("torch", "torchvision", "torchmetrics", "lpips", "transformers", "numpy", "pillow")
    lines = [f"{path.name} {sha256(path)}" for path in sorted([*home.glob("*.py"), *metrics.glob("*.py")])]
    return joint_digest(lines + [f"{name} {version(name)}" for name in packages])


def _score(task: ScoreTask) -> FrameScores:
    protocol, device = find_protocol(task.protocol), torch.device(task.device)
    views = (
        read_view(predictions, true, protocol, device)
        for predictions, true in zip(task.frames.predictions, task.frames.ground_truth)
    )
    scores = score_frames(views, protocol.metrics, device)
    _require_finite(scores, task.frames, protocol)
    return scores


def read_view(
    predictions: Sequence[Path], ground_truth: Sequence[Path], protocol: Protocol, device: torch.device
) -> Iterator[FramePairs]:
    """Read the frames of one view in batches, resized as the protocol says."""
    for start in range(0, len(ground_truth), _BATCH):
        chosen = slice(start, start + _BATCH)
        predicted = [read_frame_and_alpha(path)[0] for path in predictions[chosen]]
        true, alphas = zip(*(read_frame_and_alpha(path) for path in ground_truth[chosen]))
        yield FramePairs(pair_images(predicted, true, alphas, protocol, device), (predicted, true))


def pair_images(
    predicted: Sequence[np.ndarray],
    true: Sequence[np.ndarray],
    alphas: Sequence[np.ndarray | None],
    protocol: Protocol,
    device: torch.device,
) -> ImagePairs:
    """Return frames, uint8 [S, S, 3] over white, as the protocol compares them.

    alphas: uint8 [S, S] of the ground truth, resized with the same filter as the colours; there is no foreground mask
    when one of them is None.
    """
    step, size = 255.0 / protocol.white, protocol.image_size
    images = [
        torch.from_numpy(np.stack([resized(frame, size) for frame in frames])).to(device).float() / step
        for frames in (predicted, true)
    ]
    present = [alpha for alpha in alphas if alpha is not None]
    foreground = None
    if len(present) == len(alphas):
        foreground = torch.from_numpy(np.stack([resized(alpha, size) for alpha in present]) > 0).to(device)
    return ImagePairs(images[0], images[1], foreground, protocol.white, protocol.data_range)


def _require_finite(scores: FrameScores, frames: ObjectFrames, protocol: Protocol) -> None:
    """Raise UserError that names the first ground-truth frame for which a metric has no value."""
    masked = {metric.name for metric in protocol.metrics if isinstance(metric, MaskedImageMetric)}
    for name, values in scores.values.items():
        wrong = np.argwhere(np.isinf(values) if name in masked else ~np.isfinite(values))
        if len(wrong):
            view, frame = wrong[0]
            raise UserError(
                f"{frames.ground_truth[view][frame]}: {name} is {values[view, frame]}, because the frame is of one colour and "
                f"protocol {protocol.name} takes the value range from it. Score this object by protocol gvf."
            )


def _keep(path: Path, key: str, scores: FrameScores) -> None:
    arrays = {f"{_VALUES}{name}": values for name, values in scores.values.items()}
    arrays |= {f"{_FEATURES}{name}": vectors for name, vectors in scores.features.items()}
    absent = np.array([*scores.absent.items()], dtype=np.str_).reshape(-1, 2)
    save_npz(path, **{_KEY: np.array(key), _ABSENT: absent}, **arrays)


def _read_kept(path: Path, key: str) -> FrameScores | None:
    """Return the scores in a file, None when it is not there, was not finished or belongs to other inputs."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive[_KEY]) != key:
                return None
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return FrameScores(
        _named(arrays, _VALUES), _named(arrays, _FEATURES), {str(name): str(why) for name, why in arrays[_ABSENT]}
    )


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
