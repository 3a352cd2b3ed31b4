"""TRELLIS's two steps from an image to an object: which voxels are active, then a structured latent for each."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.diffusion.flow_euler import FlowPrediction, FlowSettings, sample_flow
from gvf.errors import StageError
from gvf.models.image_to_3d.flow_transformer import ImageConditions
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.layers.voxel_batch import VoxelBatch

# Of the latents that the published flow models; D_GS takes them unnormalised.
SLAT_MEAN = (
    *(-2.1687545776367188, -0.004347046371549368, -0.13352349400520325, -0.08418072760105133),
    *(-0.5271206498146057, 0.7238689064979553, -1.1414450407028198, 1.2039363384246826),
)
SLAT_STD = (
    *(2.377650737762451, 2.386378288269043, 2.124418020248413, 2.1748552322387695),
    *(2.663944721221924, 2.371192216873169, 2.6217446327209473, 2.684523105621338),
)


@torch.no_grad()
def sample_structure(
    flow: SsFlow, decoder: SsDecoder, image_tokens: Tensor, noise: Tensor, settings: FlowSettings
) -> VoxelBatch:
    """Sample the active voxels of B objects. image_tokens: [B, K, D], normalised; noise: [B, C, R, R, R], N(0, 1).

    Raises StageError when an object has no active voxel.
    """
    everything, conditional = _conditions(flow, image_tokens)

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
    flow: SlatFlow, image_tokens: Tensor, voxels: VoxelBatch, noise: Tensor, settings: FlowSettings
) -> Tensor:
    """Sample structured latents [M, C] of the voxels of B objects, as D_GS takes them.

    image_tokens: [B, K, D], normalised; noise: [M, C], standard normal.
    """
    everything, conditional = _conditions(flow, image_tokens)

    def prediction(conditions: ImageConditions, grid: VoxelBatch) -> FlowPrediction:
        return lambda x, time: flow.denoise(x, x.new_full((len(grid.counts),), time), grid, conditions)

    both = prediction(everything, voxels.repeated(2))
    latents = sample_flow(noise, prediction(conditional, voxels), both, settings)
    return latents * latents.new_tensor(SLAT_STD) + latents.new_tensor(SLAT_MEAN)


def _conditions(flow: SsFlow | SlatFlow, image_tokens: Tensor) -> tuple[ImageConditions, ImageConditions]:
    """Return keys and values with the image and then without it as one batch, and the first half alone."""
    everything = flow.prepare_conditions(torch.cat((image_tokens, torch.zeros_like(image_tokens))))
    count = len(image_tokens)
    return everything, tuple(part._replace(keys=part.keys[:count], values=part.values[:count]) for part in everything)
