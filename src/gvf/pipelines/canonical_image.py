"""Canonical Gaussians of an image: an image encoder's features, and networks from them to Gaussians, ours or TRELLIS's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.data.image_examples import IMAGE_MAPS, IMAGE_TOKENS
from gvf.diffusion.flow_euler import FlowSettings
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.encoders.image_encoder import ImageEncoder, build_image_encoder
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.layers.precision import BlockNetwork, set_block_dtype
from gvf.pipelines.encoder_weights import require_digest
from gvf.pipelines.generator_index import Encoder, GeneratorIndex
from gvf.pipelines.image_examples import encoded_images
from gvf.pipelines.image_memory import demand_image_memory
from gvf.pipelines.image_networks import find_dinov2, find_image_networks
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import (
    REPOSITORY,
    latent_grid,
    load_index,
    load_networks,
    locate_networks,
)
from gvf.pipelines.image_to_canonical_index import ImageToCanonicalIndex
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.published_generator import is_release, sampled_as_released
from gvf.progress import Progress
from gvf.storage.files import PathLike
from gvf.video.object_crop import cropped

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WEIGHTS = "ss-flow ss-decoder slat-flow slat-gs-decoder dinov2"  # names of `gvf weights list`


@dataclass(frozen=True)
class ImageSettings:
    """How an image becomes Gaussians.

    networks: folder of the image networks, or TRELLIS's name on the model hub; None for those in the generator's folder, else
    TRELLIS's. Only files on this machine are read. encoder: folder of DINOv2's weights, None for the one beside the networks or
    the generator, else the published ones. sampling: steps and guidance `stored` with the networks, or as the paper's release
    samples TRELLIS (`gvfdiffusion`); None for the latter where the generator is that release. steps: of both flows, in place of
    these. seed: of their noise.
    """

    networks: PathLike | None = None
    encoder: PathLike | None = None
    sampling: Literal["stored", "gvfdiffusion"] | None = None
    steps: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ImagedObject:
    """Gaussians [N] of the object in an image. faces_camera: whether the image's camera is at azimuth 0; else it is unknown."""

    gaussians: Gaussians
    faces_camera: bool


def object_of_image(
    rgba: np.ndarray, generator: MotionGenerator, settings: ImageSettings, progress: Progress
) -> ImagedObject:
    """Return the object in an image uint8 [H, W, 4], whose alpha cuts it out.

    Where its latents are those of TRELLIS, the generator's own decoder makes the Gaussians; else TRELLIS's does, and they
    take on the raw values of the generator's decoder. Raises UserError when weights are missing, naming them, when memory
    lacks, and when the image is empty.
    """
    crop = cropped(rgba)  # first of all, since it refuses an image without an object
    source = find_image_networks(generator.folder) if settings.networks is None else settings.networks
    trained_here = False
    try:
        folder = locate_networks(source, local_files_only=True)
        trained_here = load_index(folder).image_encoder is not None
        networks = _networks(folder, generator)
        encoder = _encoder(generator, settings, folder, networks.index.image_encoder)
    except UserError as error:
        if trained_here:
            raise
        raise UserError(
            f"starting from an image needs the weights of TRELLIS ({REPOSITORY}) and of DINOv2; starting from a model does "
            f"not. `gvf weights pull {_WEIGHTS}` fetches them. {error}"
        ) from None
    demand_image_memory(networks)
    with progress.step("image features"):
        features = _features(rgba, crop, encoder, networks.index, generator.device)
    structure, latents = sampling_of(networks, generator.index, settings)
    with progress.step("canonical Gaussians") as step:
        (gaussians,) = networks(features, seed=settings.seed, structure=structure, latents=latents)
        step.note(f"{gaussians.num_gaussians} Gaussians")
    made = Gaussians.from_activated14(gaussians.to_activated14(), generator.vae.static.decoder.activation)
    return ImagedObject(made, networks.index.orientation == "view")


def sampling_of(
    networks: ImageToCanonical, index: GeneratorIndex, settings: ImageSettings
) -> tuple[FlowSettings, FlowSettings]:
    """Return how the structure and the latents are sampled. index: of the generator that uses the networks."""
    structure, latents = networks.index.structure.settings(), networks.index.latents.settings()
    if (settings.sampling or ("gvfdiffusion" if is_release(index) else "stored")) == "gvfdiffusion":
        structure, latents = sampled_as_released(structure, latents)
    if settings.steps is not None:
        structure, latents = (replace(flow, num_steps=settings.steps) for flow in (structure, latents))
    return structure, latents


def _networks(folder: Path, generator: MotionGenerator) -> ImageToCanonical:
    """Return the networks in a folder, with the generator's own decoder where it takes their latents.

    On CUDA, blocks keep the half precision of the release; processors compute them in float32.
    """
    own = generator.vae.static.decoder
    fits = (own.config.latent_channels, own.config.resolution) == latent_grid(folder)
    loaded: dict[str, Any] = load_networks(folder, without=("gaussian_decoder",) if fits else ())
    if generator.device.type == "cpu":
        for network in loaded.values():
            if isinstance(network, BlockNetwork):
                set_block_dtype(network, torch.float32)
    return ImageToCanonical(
        **(loaded | ({"gaussian_decoder": own} if fits else {})), index=load_index(folder), device=generator.device
    )


def _features(
    rgba: np.ndarray, crop: np.ndarray, encoder: ImageEncoder, index: ImageToCanonicalIndex, device: torch.device
) -> ImageFeatures:
    """Return what the networks are given of an image uint8 [H, W, 4]. crop: [S, S, 4], around its object."""
    if index.image_encoder is None:
        return ImageFeatures(encoder.object_tokens(torch.from_numpy(crop)[None]))
    common = ImageTo3dConfig(index.orientation, index.image_encoder.preprocessing.size, index.map_size)
    arrays = encoded_images(encoder, rgba[None], common, 1, device)
    return ImageFeatures(arrays[IMAGE_TOKENS], arrays.get(IMAGE_MAPS))


def _encoder(generator: MotionGenerator, settings: ImageSettings, networks: Path, own: Encoder | None) -> ImageEncoder:
    """Return the image encoder of the networks. own: what they record of it; None where it is DINOv2 as TRELLIS uses it.

    Of DINOv2, it is the given one, the generator's, one beside it or the networks, else the published one. Raises UserError for
    an encoder that the networks were not trained with.
    """
    if own is not None and own.name != "dinov2" and settings.encoder is not None:
        raise UserError(
            f"{settings.encoder}: the image-to-3D networks were trained with {own.name}, which needs no folder. Leave "
            "--image-encoder out."
        )
    if settings.encoder is None and generator.index.image_encoder.name == ("dinov2" if own is None else own.name):
        return generator.encoder
    config = None
    if own is not None:
        config = generator.index.featurize_config()
        config = replace(config, encoder=own.name, weights=own.weights, token_grid=own.token_grid)
        if own.name != "dinov2":
            return build_image_encoder(config, generator.device)
    found = settings.encoder or find_dinov2(generator.folder) or find_dinov2(networks)
    weights = None if found is None else str(found)
    if own is not None and config is not None:
        require_digest(replace(config, weights=weights or own.weights), own.weights_sha256)
    encoder: DinoV2Encoder = DinoV2Encoder(weights)
    return encoder.to(generator.device)
