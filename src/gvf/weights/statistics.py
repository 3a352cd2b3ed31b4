"""The release's means and standard deviations, four files of one tensor each, as our LatentStatistics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from gvf.data.latents import LatentStatistics
from gvf.errors import UserError
from gvf.models.variation.dit import STATIC_CHANNELS
from gvf.storage.files import PathLike
from gvf.weights.catalog import CATALOG
from gvf.weights.containers import read_single_tensor

# Our field -> stem of its published file.
FILES = {
    "latent_mean": "deformation_mean",
    "latent_std": "deformation_std",
    "static_mean": "static_mean",
    "static_std": "static_std",
}


def load_published_statistics(
    folder: PathLike | None = None, *, latent_channels: int = 16, static_channels: int = STATIC_CHANNELS
) -> LatentStatistics:
    """Load the latent statistics of the published diffusion transformer, float32.

    folder: contains `static_mean.pt`, `static_std.pt`, `deformation_mean.pt` and `deformation_std.pt`; by default they are
    searched for as by `gvf weights list`. Raises UserError naming a file that is missing or does not fit.
    """
    paths = _published() if folder is None else {stem: Path(folder) / f"{stem}.pt" for stem in FILES.values()}
    return load_statistics_of(paths, latent_channels=latent_channels, static_channels=static_channels)


def load_statistics_of(
    paths: Mapping[str, Path], *, latent_channels: int = 16, static_channels: int = STATIC_CHANNELS
) -> LatentStatistics:
    """Load latent statistics from the files of `FILES`, float32. paths: by stem.

    Each file holds one value per channel on its last axis, after any number of axes of length 1; the deformation files
    may also hold a single value for all channels. Raises UserError naming a file that is missing or does not fit.
    """
    tensors = {}
    for field, stem in FILES.items():
        count = latent_channels if field.startswith("latent") else static_channels
        tensors[field] = _per_channel(paths[stem], count, one_for_all=field.startswith("latent"))
        if field.endswith("std") and not (tensors[field] > 0).all():
            raise UserError(f"{paths[stem]}: holds deviations that are not above zero.")
    return LatentStatistics(**tensors)


def _published() -> Mapping[str, Path]:
    found = {Path(file.places[0]).stem: file.find() for file in CATALOG["statistics"].files if hasattr(file, "places")}
    missing = [stem for stem in FILES.values() if found.get(stem) is None]
    if missing:
        raise UserError(
            f"{missing[0]}.pt: the statistics of the published latents are not here. Run `gvf weights pull statistics`."
        )
    return {stem: path for stem, path in found.items() if path is not None}


def _per_channel(path: Path, count: int, *, one_for_all: bool) -> Tensor:
    values = read_single_tensor(path)
    flat = values.flatten()
    fits = values.dim() == 0 or values.shape[-1] == len(flat)
    if not fits or len(flat) not in ((1, count) if one_for_all else (count,)):
        raise UserError(f"{path}: has shape {list(values.shape)}; expected {count} values on its last axis.")
    if not flat.is_floating_point() or not flat.isfinite().all():
        raise UserError(f"{path}: holds values that are not finite numbers.")
    return flat.float().expand(count).clone()
