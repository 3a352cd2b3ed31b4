"""From image tokens to canonical Gaussians with TRELLIS's networks: active voxels, a latent for each, Gaussians."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gvf.diffusion.flow_euler import FlowPrediction, FlowSettings, sample_flow
from gvf.errors import StageError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.image_to_3d.flow_transformer import ImageCondition, ImageConditions
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.layers.attention import KeysValues
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import save_network
from gvf.pipelines.generator_index import Moments
from gvf.pipelines.image_to_canonical_folder import SOURCES, load_index, load_networks, locate_networks
from gvf.pipelines.image_to_canonical_index import SLAT_MOMENTS, ImageToCanonicalIndex, write_index
from gvf.storage.files import PathLike, fresh_directory


class ImageToCanonical:
    """Generates canonical Gaussians from image tokens, with the networks of TRELLIS: structure, latents, Gaussians.

    `from_pretrained` loads one, `save_pretrained` writes a folder that can be copied, published and loaded elsewhere.
    Images are not encoded here: a call takes the features of their crops.
    """

    def __init__(
        self,
        ss_flow: SsFlow,
        ss_decoder: SsDecoder,
        slat_flow: SlatFlow,
        gaussian_decoder: GaussianDecoder,
        index: ImageToCanonicalIndex | None = None,
        device: torch.device | str = "cpu",
    ):
        """Join networks, which move to the device. index: settings, by default the published ones.

        Raises UserError when networks and settings do not fit together.
        """
        self.index = index or ImageToCanonicalIndex()
        _refuse_misfits(ss_flow, ss_decoder, slat_flow, gaussian_decoder, self.index)
        self.device = torch.device(device)
        self.ss_flow = ss_flow.to(self.device).eval()
        self.ss_decoder = ss_decoder.to(self.device).eval()
        self.slat_flow = slat_flow.to(self.device).eval()
        self.gaussian_decoder = gaussian_decoder.to(self.device).eval()

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: PathLike,
        *,
        revision: str | None = None,
        cache_dir: PathLike | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: torch.device | str = "cpu",
        decoder: GaussianDecoder | None = None,
    ) -> ImageToCanonical:
        """Load the networks from a folder, or by a name `owner/name` on the model hub.

        The folder is one of `save_pretrained`; or it holds the TRELLIS release as published, or what `gvf weights pull`
        or `gvf weights convert` made of it. Other arguments: as in huggingface_hub. Only safetensors, JSON, and torch.save
        files without code, are read. Blocks keep the precision of the file. decoder: D_GS of a generator, which is then not
        read; folders of the stage `train-appearance` hold none. The other networks then become float32, as a generator's do.
        Raises UserError that names the file and the problem.
        """
        folder = locate_networks(
            name_or_folder,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        index = load_index(folder)
        networks = load_networks(folder, without=() if decoder is None else ("gaussian_decoder",))
        if decoder is not None:
            networks = {name: network.float() for name, network in networks.items()} | {"gaussian_decoder": decoder}
        return cls(**cast(dict[str, Any], networks), index=index, device=device)

    def save_pretrained(self, folder: PathLike) -> None:
        """Write networks and settings into a folder. Raises UserError unless it is missing or empty."""
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path}: exists and is not an empty folder. Name another folder for the networks.")
        with fresh_directory(path) as partial:
            for name in SOURCES:
                save_network(getattr(self, name), partial / name)
            write_index(partial, self.index)

    @torch.no_grad()
    def __call__(
        self,
        images: ImageFeatures,
        *,
        seed: int = 0,
        generator: torch.Generator | None = None,
        structure: FlowSettings | None = None,
        latents: FlowSettings | None = None,
    ) -> list[Gaussians]:
        """Generate the canonical Gaussians [N] of each of B images.

        images: of the encoder that the networks were trained with. seed: of the noise, unless a generator (on the CPU) is
        given; images of a batch share it, so an image's noise depends on its place in the batch. structure, latents:
        settings of the two flows that differ from the stored ones. Raises UserError for other tensors, StageError when an
        object is empty.
        """
        generator = generator or torch.Generator().manual_seed(seed)
        voxels = self.structure(images, generator, structure)
        return self.gaussians(images, voxels, generator, latents)

    @torch.no_grad()
    def structure(
        self, images: ImageFeatures, generator: torch.Generator, settings: FlowSettings | None = None
    ) -> VoxelBatch:
        """Generate the active voxels of the objects in B images; the first half of a call. Arguments and errors as there."""
        self._refuse(images.tokens)
        sizes = self.ss_flow.config
        shape = (len(images.tokens), sizes.latent_channels, *[sizes.resolution] * 3)
        return sample_structure(
            self.ss_flow,
            self.ss_decoder,
            images.to(self.device).at_cells(sizes),
            torch.randn(shape, generator=generator).to(self.device),
            settings or self.index.structure.settings(),
        )

    @torch.no_grad()
    def gaussians(
        self,
        images: ImageFeatures,
        voxels: VoxelBatch,
        generator: torch.Generator,
        settings: FlowSettings | None = None,
    ) -> list[Gaussians]:
        """Generate the Gaussians [N] of B objects of known voxels from their images; the second half of a call."""
        noise = torch.randn(len(voxels.coords), self.slat_flow.config.latent_channels, generator=generator)
        seen = images.to(self.device).at_voxels(self.slat_flow.config, voxels, self.gaussian_decoder.config.resolution)
        settings = settings or self.index.latents.settings()
        values = sample_slat(self.slat_flow, seen, voxels, noise.to(self.device), settings, self.index.slat)
        return self.gaussian_decoder(values, voxels)

    def mean_gaussians(self, voxels: VoxelBatch) -> list[Gaussians]:
        """Return the Gaussians [N] of B objects of known voxels whose latents all have their mean value over the training data."""
        mean = torch.tensor(self.index.slat.mean, device=self.device)
        with torch.no_grad():
            return self.gaussian_decoder(mean.expand(len(voxels.coords), -1), voxels)

    def _refuse(self, tokens: Tensor) -> None:
        """Raise UserError unless image tokens [B, K, D] are what the networks were trained with."""
        channels = self.ss_flow.config.image_channels
        if tokens.dim() != 3 or not tokens.numel() or tokens.shape[-1] != channels:
            raise UserError(f"image tokens: have shape {list(tokens.shape)}; expected [B, K, {channels}].")
        if not tokens.is_floating_point() or not tokens.isfinite().all():
            raise UserError("image tokens: are not finite floats. Encode the images again.")


@torch.no_grad()
def sample_structure(
    flow: SsFlow, decoder: SsDecoder, image: ImageCondition, noise: Tensor, settings: FlowSettings
) -> VoxelBatch:
    """Sample the active voxels of the objects in B images. noise: [B, C, R, R, R], N(0, 1).

    Raises StageError when an object has no active voxel.
    """
    everything, conditional = _conditions(flow, image)

    def prediction(conditions: ImageConditions) -> FlowPrediction:
        return lambda x, time: flow.denoise(x, x.new_full((len(x),), time), conditions)

    latents = sample_flow(noise, prediction(conditional), prediction(everything), settings)
    occupied = decoder.occupied(latents)
    empty = [index for index, coords in enumerate(occupied) if not len(coords)]
    if empty:
        raise StageError(
            f"structure flow: no voxel is active for image {empty[0]}. Check that its foreground mask is not empty, or "
            "draw different noise."
        )
    return VoxelBatch.pack(occupied)


@torch.no_grad()
def sample_slat(
    flow: SlatFlow,
    image: ImageCondition,
    voxels: VoxelBatch,
    noise: Tensor,
    settings: FlowSettings,
    moments: Moments = SLAT_MOMENTS,
) -> Tensor:
    """Sample structured latents [M, C] of the voxels of B objects, as D_GS takes them.

    image: of these objects; noise: [M, C], standard normal. moments: mean and deviation of the latents.
    """
    everything, conditional = _conditions(flow, image)

    def prediction(conditions: ImageConditions, grid: VoxelBatch) -> FlowPrediction:
        return lambda x, time: flow.denoise(x, x.new_full((len(grid.counts),), time), grid, conditions)

    both = prediction(everything, voxels.repeated(2))
    latents = sample_flow(noise, prediction(conditional, voxels), both, settings)
    return latents * latents.new_tensor(moments.std) + latents.new_tensor(moments.mean)


def _conditions(flow: SsFlow | SlatFlow, image: ImageCondition) -> tuple[ImageConditions, ImageConditions]:
    """Return what a flow knows with the image and then without it as one batch, and the first half alone."""
    both = flow.prepare_conditions(ImageCondition.join([image, image.map(torch.zeros_like)]))
    context = tuple(part and KeysValues(*(half.chunk(2)[0] for half in part)) for part in both.context)
    return both, ImageConditions(context, None if both.rows is None else both.rows.chunk(2)[0])


def _refuse_misfits(
    ss_flow: SsFlow,
    ss_decoder: SsDecoder,
    slat_flow: SlatFlow,
    gaussian_decoder: GaussianDecoder,
    index: ImageToCanonicalIndex,
) -> None:
    """Raise UserError unless networks and settings agree on the channels and grids that they share."""
    grid = ss_flow.config.resolution * 2 ** (len(ss_decoder.config.channels) - 1)
    latents = slat_flow.config.latent_channels
    shared = {
        "ss_decoder: latent_channels": (ss_decoder.config.latent_channels, ss_flow.config.latent_channels),
        "slat_flow: image_channels": (slat_flow.config.image_channels, ss_flow.config.image_channels),
        "gaussian_decoder: latent_channels": (gaussian_decoder.config.latent_channels, latents),
        "gaussian_decoder: resolution": (gaussian_decoder.config.resolution, grid),
        "mean of the structured latents: channels": (len(index.slat.mean), latents),
        "deviation of the structured latents: channels": (len(index.slat.std), latents),
    }
    for name, (found, expected) in shared.items():
        if found != expected:
            raise UserError(f"{name} is {found}, but the other networks have {expected}. They do not belong together.")
