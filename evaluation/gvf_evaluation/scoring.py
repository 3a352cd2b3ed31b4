"""Scores of one object, read view by view; kept in a file and taken from it while nothing has changed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.metrics import clip, lpips
from gvf.metrics.absence import Absence
from gvf.metrics.ssim import ssim_and_cropped
from gvf.storage.files import save_npz, sha256
from gvf_evaluation.frame_folders import ObjectFrames, frames_digest, joint_digest
from gvf_evaluation.frames import read_frame, resized
from gvf_evaluation.measures import finite_psnr
from gvf_evaluation.protocols import FRAME_MEASURES, Protocol, find_protocol

_BATCH = 4  # frames compared at once: 100 MB at 512 x 512
_PREDICTIONS, _TRUTHS = "prediction_features", "truth_features"


@dataclass(frozen=True)
class ScoreTask:
    """An object to score. measures: the protocol's whose weights are here. kept: the file of its scores.

    scorer: digest of whatever else decides the figures: code, versions, weights, device.
    """

    frames: ObjectFrames
    protocol: str
    measures: tuple[str, ...]
    device: str
    scorer: str
    kept: Path


@dataclass(frozen=True)
class ObjectScores:
    """values: of each image metric, [V, T]. features: of videos, predictions and truths [2, V, D], None without FVD.

    truth, prediction: digests of the frames' bytes, names and order. reused: taken from the file.
    """

    name: str
    values: Mapping[str, np.ndarray]
    features: np.ndarray | None
    truth: str
    prediction: str
    reused: bool

    @property
    def means(self) -> dict[str, float]:
        """Each image metric, a mean over frames, then views."""
        return {name: float(values.mean(1).mean()) for name, values in self.values.items()}


def score_object(task: ScoreTask) -> ObjectScores:
    """Score every frame, or read the scores that were kept of the same frames. Raises UserError for unusable frames."""
    truth, prediction = frames_digest(task.frames.truths), frames_digest(task.frames.predictions)
    key = joint_digest([task.protocol, *task.measures, task.device, task.scorer, truth, prediction])
    arrays = _read_kept(task.kept, key)
    reused = arrays is not None
    if arrays is None:
        arrays = _score(task)
        save_npz(task.kept, key=np.array(key), **arrays)
    values = {name: arrays[name] for name in task.measures if name in FRAME_MEASURES}
    features = np.stack([arrays[_PREDICTIONS], arrays[_TRUTHS]]) if _PREDICTIONS in arrays else None
    return ObjectScores(task.frames.name, values, features, truth, prediction, reused)


def score_frames(
    prediction: np.ndarray, truth: np.ndarray, protocol: Protocol, measures: Sequence[str], device: torch.device
) -> dict[str, np.ndarray]:
    """One value a frame of each image metric. prediction, truth: uint8 [P, S, S, 3] in the protocol's size."""
    one, other = (torch.from_numpy(frames).to(device).float() for frames in (prediction, truth))
    unit = one / 255.0, other / 255.0
    step = 255.0 / protocol.pixel_range
    similarities = cache(lambda: ssim_and_cropped(one / step, other / step, protocol.data_range))
    compute: dict[str, Callable[[], Tensor | Absence]] = {
        "psnr": lambda: finite_psnr(one / step, other / step, protocol.data_range),
        "ssim": lambda: similarities()[0],
        "ssim_cropped": lambda: similarities()[1],
        "lpips": lambda: lpips.lpips(*unit),
        "lpips_alex": lambda: lpips.lpips(*unit, "alex"),
        "clip": lambda: clip.clip_similarity(*unit),
    }
    return {name: _values(compute[name]()) for name in measures if name in FRAME_MEASURES}


@cache
def code_digest() -> str:
    """Digest of the source that scores frames, and of the versions of the libraries it calls."""
    from importlib.metadata import version

    home = Path(__file__).parent
    sources = sorted([*home.glob("*.py"), *Path(lpips.__file__).parent.glob("*.py")])
    packages = ("torch", "torchvision", "torchmetrics", "lpips", "transformers", "numpy", "pillow")
    lines = [f"{path.name} {sha256(path)}" for path in sources] + [f"{name} {version(name)}" for name in packages]
    return joint_digest(lines)


def _score(task: ScoreTask) -> dict[str, np.ndarray]:
    protocol, device = find_protocol(task.protocol), torch.device(task.device)
    views = [
        _score_view(predictions, truths, protocol, task.measures, device)
        for predictions, truths in zip(task.frames.predictions, task.frames.truths)
    ]
    return {name: np.stack([view[name] for view in views]) for name in views[0]}


def _score_view(
    predictions: Sequence[Path],
    truths: Sequence[Path],
    protocol: Protocol,
    measures: Sequence[str],
    device: torch.device,
) -> dict[str, np.ndarray]:
    """[T] of each image metric; features [D] of both videos where FVD is measured, which takes all their frames at once."""
    parts: dict[str, list[np.ndarray]] = {}
    videos: dict[str, list[np.ndarray]] = {_PREDICTIONS: [], _TRUTHS: []}
    for start in range(0, len(truths), _BATCH):
        chosen = slice(start, start + _BATCH)
        guesses, wanted = ([read_frame(path) for path in paths[chosen]] for paths in (predictions, truths))
        one, other = (np.stack([resized(f, protocol.image_size) for f in frames]) for frames in (guesses, wanted))
        for name, values in score_frames(one, other, protocol, measures, device).items():
            _check(name, values, truths[chosen])
            parts.setdefault(name, []).append(values)
        if "fvd" in measures:
            videos[_PREDICTIONS] += guesses
            videos[_TRUTHS] += wanted
    scores = {name: np.concatenate(values) for name, values in parts.items()}
    if "fvd" in measures:
        scores |= {name: protocol.video_features(frames, device).numpy() for name, frames in videos.items()}
    return scores


def _check(name: str, values: np.ndarray, truths: Sequence[Path]) -> None:
    for value, path in zip(values, truths):
        if not np.isfinite(value):
            raise UserError(f"{path}: {name} is {value}: the true frame is of one colour, so it has no range.")


def _values(measured: Tensor | Absence) -> np.ndarray:
    assert isinstance(measured, Tensor), measured
    return measured.double().cpu().numpy()


def _read_kept(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """Arrays of a file of scores, None when it is not there, was not finished or belongs to other inputs."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
