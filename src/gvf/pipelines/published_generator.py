"""The published weights of the paper as a generator: their files, and the facts that the files do not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gvf.config.featurize import FeaturizeConfig
from gvf.errors import UserError
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.network_folder import WEIGHTS_NAME
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import JointVAE
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines.generator_index import INDEX_NAME, RELEASED_VIEWS, GeneratorIndex, Training, build_index
from gvf.storage import published_files
from gvf.storage.published_files import HubFile
from gvf.weights import canonical_layouts, variation_layouts
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as
from gvf.weights.statistics import load_statistics_of

TITLE = "Gaussian Variation Field Diffusion, published weights"
TRAINING_FRAMES = 24
NUM_DIFFUSION_STEPS = 1000
_FILES = {
    canonical_layouts.STATIC_VAE: published_files.STATIC_VAE,
    variation_layouts.VARIATION_VAE: published_files.VARIATION_VAE,
    variation_layouts.DIT: published_files.DIT,
}


@dataclass(frozen=True)
class Parts:
    """The networks and the index of a generator."""

    index: GeneratorIndex
    vae: JointVAE
    dit: VariationDiT


def is_published(folder: Path) -> bool:
    """Return whether a folder holds published weights of the diffusion transformer."""
    return _find(folder, variation_layouts.DIT, published_files.DIT) is not None


def published_paths(folder: Path) -> list[Path]:
    """Return the weights' files that `load_published_generator` would read, as far as they are there."""
    found = [_find(folder, layout, file) for layout, file in _FILES.items()]
    return [path / WEIGHTS_NAME if path.is_dir() else path for path in found if path is not None]


def load_published_generator(folder: Path) -> Parts:
    """Return the generator of published files in a folder.

    Each network is its published file (as in the repository, or as `gvf weights pull` puts it), or a folder named after
    its kind that `gvf weights convert` wrote: `static-vae`, `variation-vae`, `dit`. Raises UserError that names what is
    missing or does not fit.
    """
    paths = {layout: _find(folder, layout, file) for layout, file in _FILES.items()}
    for layout, path in paths.items():
        if path is None:
            raise UserError(
                f"{folder}: holds neither {INDEX_NAME} nor all published weights: {_FILES[layout].name} is missing (or a "
                f"folder {layout.kind} of `gvf weights convert`). `gvf weights pull {layout.kind}` fetches it."
            )
    static, variation, dit = (load_as(cast(Path, path), layout) for layout, path in paths.items())
    static, variation, dit = cast(StaticVAE, static), cast(VariationVAE, variation), cast(VariationDiT, dit)
    statistics = load_statistics_of(
        {Path(file.path).stem: _existing(folder, file) for file in published_files.STATISTICS},
        latent_channels=dit.latent_channels,
    )
    featurize = FeaturizeConfig("dinov2", None, None, static.config.resolution, "uniform", 16)
    index = build_index(
        TITLE,
        Training(frames=TRAINING_FRAMES),
        statistics,
        NUM_DIFFUSION_STEPS,
        featurize,
        static.config.feature_channels,
        RELEASED_VIEWS,
    )
    return Parts(index, JointVAE.of(static, variation), dit)


def _find(folder: Path, layout: Layout, file: HubFile) -> Path | None:
    """Return the file or converted folder of a kind inside a folder; None if neither is there."""
    candidates = [folder / place for place in file.places]
    converted = folder / layout.kind
    return next((path for path in candidates if path.is_file()), converted if _has_weights(converted) else None)


def _has_weights(folder: Path) -> bool:
    return (folder / WEIGHTS_NAME).is_file()


def _existing(folder: Path, file: HubFile) -> Path:
    places = [folder / place for place in file.places]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{folder / file.name}: no such file. `gvf weights pull statistics` fetches it.")
    return found
