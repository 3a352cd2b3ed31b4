"""The columns of the tables that can be measured here, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gvf.metrics import clip, fvd, lpips
from gvf.metrics.absence import Absence
from gvf.metrics.psnr import psnr
from gvf.metrics.ssim import ssim, ssim_cropped
from gvf.storage.files import sha256
from gvf_evaluation.held_out import PictureMeasure, SetMeasure

LARGEST_PSNR = 100.0  # dB; what a picture that equals the truth counts, where the formula says infinity


@dataclass(frozen=True)
class _Published:
    """Queries about the weights of a metric: why they are missing, their file or folder, whether they load."""

    absence: Callable[[], Absence | None]
    find: Callable[[], Path | None]
    require: Callable[[], None]


_PUBLISHED = {
    "lpips": _Published(lpips.absence, lpips.find_weights, lpips.require_weights),
    "lpips_alex": _Published(
        lambda: lpips.absence("alex"), lambda: lpips.find_weights("alex"), lambda: lpips.require_weights("alex")
    ),
    "clip": _Published(clip.absence, clip.find_weights, clip.require_weights),
    "fvd": _Published(fvd.absence, fvd.find_weights, fvd.require_weights),
}


@dataclass(frozen=True)
class Measures:
    """pictures: one value a picture. sets: one of all videos. absent: name -> what is missing and how to get it."""

    pictures: dict[str, PictureMeasure]
    sets: dict[str, SetMeasure]
    absent: dict[str, str]


def load_measures(names: Sequence[str]) -> Measures:
    """Load those of psnr, ssim, ssim_cropped, lpips, clip and fvd in `names` whose weights are on this machine.

    Raises UserError for damaged weights, so that they do not reject clips.
    """
    require_weights(names)
    pictures: dict[str, PictureMeasure] = {
        "psnr": finite_psnr,
        "ssim": ssim,
        "ssim_cropped": ssim_cropped,
        "lpips": lpips.lpips,
        "clip": clip.clip_similarity,
    }
    sets: dict[str, SetMeasure] = {"fvd": SetMeasure(fvd.video_features, fvd.fvd)}
    absent = absent_measures(names)
    here = [name for name in names if name not in absent]
    return Measures(
        {name: pictures[name] for name in here if name in pictures},
        {name: sets[name] for name in here if name in sets},
        absent,
    )


def absent_measures(names: Sequence[str]) -> dict[str, str]:
    """Measures whose weights are not on this machine: name -> what is missing and how to get it."""
    return {name: why(gap) for name in names if name in _PUBLISHED and (gap := _PUBLISHED[name].absence()) is not None}


def require_weights(names: Sequence[str]) -> None:
    """Check that the weights of these metrics load. Raises UserError naming the first damaged ones; missing ones pass."""
    for name in names:
        if name in _PUBLISHED:
            _PUBLISHED[name].require()


def weights_digests(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of every weight file of these measures that is on this machine, by file name."""
    found = [path for name in names if name in _PUBLISHED and (path := _PUBLISHED[name].find()) is not None]
    files = [file for path in found for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return {file.name: sha256(file) for file in files if file.is_file()}


def why(absence: Absence) -> str:
    """What is missing and what to do about it."""
    return f"{absence.reason}. {absence.remedy}"


def finite_psnr(prediction: Tensor, truth: Tensor, data_range: float | None = 1.0) -> Tensor:
    """PSNR of each picture in dB, at most `LARGEST_PSNR`. data_range: as in `psnr`."""
    return psnr(prediction, truth, data_range).clamp(max=LARGEST_PSNR)
