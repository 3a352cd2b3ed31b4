"""The published weights of the paper as a generator: their files, and the facts that the files do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from torch import nn

from gvf.config.featurize import FeaturizeConfig
from gvf.diffusion.flow_euler import FlowSettings
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
from gvf.weights.finding import find_published, find_weights
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as
from gvf.weights.statistics import load_statistics_of

TITLE = "Gaussian Variation Field Diffusion, published weights"
TRAINING_FRAMES = 24
NUM_DIFFUSION_STEPS = 1000
FILES: Mapping[Layout, HubFile] = {
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
    return find_weights(folder, variation_layouts.DIT, published_files.DIT) is not None


def is_release(index: GeneratorIndex) -> bool:
    """Return whether a generator is made of the published weights, loaded from their files or from a copy of ours."""
    return index.title == TITLE


def sampled_as_released(structure: FlowSettings, latents: FlowSettings) -> tuple[FlowSettings, FlowSettings]:
    """Return TRELLIS's settings as the release's script changes them; interval of guidance and spacing of times stay."""
    return replace(structure, num_steps=12, guidance=7.5), replace(latents, num_steps=12, guidance=3.0)


def published_paths(folder: Path) -> list[Path]:
    """Return the weights' files that `load_published_generator` would read, as far as they are there."""
    found = [find_weights(folder, layout, file) for layout, file in FILES.items()]
    return [path / WEIGHTS_NAME if path.is_dir() else path for path in found if path is not None]


def load_published_generator(folder: Path) -> Parts:
    """Return the generator of published files in a folder.

    Each network is found as `find_weights` describes: its published file, or a folder named after its kind that `gvf weights
    convert` wrote (`static-vae`, `variation-vae`, `dit`), or a file of other name. Raises UserError that names everything that is
    missing, or what does not fit.
    """
    paths = {layout: find_weights(folder, layout, file) for layout, file in FILES.items()}
    lacking = [layout for layout, path in paths.items() if path is None]
    statistics = [file.name for file in published_files.STATISTICS if find_published(folder, file) is None]
    if lacking or statistics:
        files = [f"{FILES[layout].name} (or a folder {layout.kind})" for layout in lacking] + statistics
        names = [layout.kind for layout in lacking] + (["statistics"] if statistics else [])
        raise UserError(
            f"{folder}: holds neither {INDEX_NAME} nor all published weights. Missing: {', '.join(files)}. `gvf weights pull "
            f"{' '.join(names)}` fetches them; `gvf models check` shows what is there."
        )
    networks = {layout: load_as(cast(Path, path), layout) for layout, path in paths.items()}
    return published_parts(folder, networks)


def published_parts(folder: Path, networks: Mapping[Layout, nn.Module | None]) -> Parts:
    """Return the generator of the networks of `FILES` and the statistics in a folder. Raises UserError as loading does."""
    static = cast(StaticVAE, networks[canonical_layouts.STATIC_VAE])
    variation = cast(VariationVAE, networks[variation_layouts.VARIATION_VAE])
    dit = cast(VariationDiT, networks[variation_layouts.DIT])
    statistics = load_statistics_of(
        {
            Path(file.path).stem: find_published(folder, file) or folder / file.name
            for file in published_files.STATISTICS
        },
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
