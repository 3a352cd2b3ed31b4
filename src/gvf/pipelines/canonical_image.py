"""Canonical Gaussians of an image: DINOv2's tokens, and TRELLIS's networks from them to Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.pipelines.image_memory import demand_image_memory
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import REPOSITORY
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.progress import Progress
from gvf.storage.files import PathLike
from gvf.video.object_crop import cropped

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WEIGHTS = "ss-flow ss-decoder slat-flow slat-gs-decoder dinov2"  # names of `gvf weights list`


@dataclass(frozen=True)
class ImageSettings:
    """How an image becomes Gaussians.

    networks: folder of TRELLIS's networks, or their name on the model hub; only files on this machine are read. encoder:
    folder of DINOv2's weights, None for the published ones. steps: of both flows, None for the stored settings. seed: of
    their noise.
    """

    networks: PathLike = REPOSITORY
    encoder: PathLike | None = None
    steps: int | None = None
    seed: int = 0


def gaussians_of_image(
    rgba: np.ndarray, generator: MotionGenerator, settings: ImageSettings, progress: Progress
) -> Gaussians:
    """Return the Gaussians [N] of the object in an image uint8 [H, W, 4], whose alpha cuts it out.

    Where its latents are those of TRELLIS, the generator's own decoder makes the Gaussians; else TRELLIS's does, and they
    take on the raw values of the generator's decoder. Raises UserError when weights are missing, naming them, when memory
    lacks, and when the image is empty.
    """
    image = cropped(rgba)
    try:
        networks = ImageToCanonical.from_pretrained(settings.networks, local_files_only=True, device=generator.device)
        own = generator.vae.static.decoder
        if (own.config.latent_channels, own.config.resolution) == (
            networks.gaussian_decoder.config.latent_channels,
            networks.gaussian_decoder.config.resolution,
        ):
            networks.gaussian_decoder = own
        encoder = _encoder(generator, settings)
    except UserError as error:
        raise UserError(
            f"starting from an image needs the weights of TRELLIS ({REPOSITORY}) and of DINOv2; starting from a model does "
            f"not. `gvf weights pull {_WEIGHTS}` fetches them. {error}"
        ) from None
    demand_image_memory(networks)
    with progress.step("image features"):
        features = ImageFeatures(encoder.object_tokens(torch.from_numpy(image)[None]))
    stored = networks.index.structure.settings(), networks.index.latents.settings()
    steps = settings.steps
    structure, latents = (flow if steps is None else replace(flow, num_steps=steps) for flow in stored)
    with progress.step("canonical Gaussians") as step:
        (gaussians,) = networks(features, seed=settings.seed, structure=structure, latents=latents)
        step.note(f"{gaussians.num_gaussians} Gaussians")
    return Gaussians.from_activated14(gaussians.to_activated14(), own.activation)


def _encoder(generator: MotionGenerator, settings: ImageSettings) -> DinoV2Encoder:
    if settings.encoder is None and generator.index.image_encoder.name == "dinov2":
        own = generator.encoder
        assert isinstance(own, DinoV2Encoder)
        return own
    weights = None if settings.encoder is None else str(settings.encoder)
    encoder: DinoV2Encoder = DinoV2Encoder(weights)
    return encoder.to(generator.device)
