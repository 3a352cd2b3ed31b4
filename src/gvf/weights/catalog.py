"""The table of published weights: name, files, purpose and, for the networks we load, their published sizes.

A name that has sizes is a kind of `load_published`. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import ATTRIBUTES, VariationVaeConfig
from gvf.errors import UserError
from gvf.storage import published_files as files
from gvf.storage.published_files import PublishedFile

Sizes = Mapping[str, Any]
"""Fields of a kind's config, flat; of the DiT also `latent_channels`, which its constructor takes apart."""


@dataclass(frozen=True)
class Published:
    """purpose: what the files are for. files: all that are needed. sizes: null for what other packages load."""

    purpose: str
    files: tuple[PublishedFile, ...]
    sizes: Sizes | None = None


_STATIC = asdict(
    StaticVaeConfig(
        resolution=64,
        feature_channels=1024,
        width=768,
        num_layers=12,
        num_heads=12,
        feed_forward_ratio=4,
        window=8,
        latent_channels=8,
        gaussians_per_voxel=8,
        offset_range=1.5,
        rotation_rate=0.1,
        scale_bias=0.004,
        opacity_bias=0.1,
        filter_3d=0.0009,
    )
)
_VARIATION = asdict(
    VariationVaeConfig(
        width=768,
        num_layers=12,
        num_heads=12,
        feed_forward_ratio=4,
        num_latents=512,
        latent_channels=16,
        drop_path=0.1,
        query="motion",
        attributes=ATTRIBUTES,
        num_neighbors=8,
        beta=7.0,
        interpolation="release",
        position_scale=1.0,
    )
)
_DIT = asdict(
    VariationDitConfig(
        width=512,
        num_layers=12,
        num_heads=16,
        feed_forward_ratio=4,
        image_condition="tokens",
        image_channels=1024,
        aligned_features=(),
        aligned_channels=0,
        num_static=4096,
        position_embedding=True,
        position_scale=1.0,
    )
) | {"latent_channels": 16}
_SS_FLOW = asdict(
    SsFlowConfig(
        resolution=16,
        latent_channels=8,
        width=1024,
        num_layers=24,
        num_heads=16,
        feed_forward_ratio=4,
        image_condition="tokens",
        image_channels=1024,
        aligned_channels=0,
    )
)
_SS_DECODER = asdict(SsVaeConfig(latent_channels=8, channels=(512, 128, 32), num_res_blocks=2, num_middle_blocks=2))
_SLAT_FLOW = asdict(
    SlatFlowConfig(
        latent_channels=8,
        block_channels=(128,),
        num_res_blocks=2,
        width=1024,
        num_layers=24,
        num_heads=16,
        feed_forward_ratio=4,
        image_condition="tokens",
        image_channels=1024,
        aligned_channels=0,
    )
)

CATALOG: Mapping[str, Published] = {
    "variation-vae": Published("variation VAE", (files.VARIATION_VAE,), _VARIATION),
    "dit": Published("variation diffusion transformer", (files.DIT,), _DIT),
    "static-vae": Published("E_GS and D_GS, 8 Gaussians per voxel", (files.STATIC_VAE,), _STATIC),
    "static-vae-initial": Published(
        "initial weights of static training: TRELLIS's E_GS and a D_GS with 8 Gaussians per voxel",
        (files.STATIC_VAE_INITIAL,),
    ),
    "statistics": Published("means and deviations of latents and Gaussians", files.STATISTICS),
    "slat-encoder": Published("E_GS of TRELLIS", (files.SLAT_ENCODER,), _STATIC),
    "slat-gs-decoder": Published(
        "D_GS of TRELLIS, 32 Gaussians per voxel in this file", (files.SLAT_GS_DECODER,), _STATIC
    ),
    "ss-flow": Published("image-to-3D: image to sparse structure", (files.SS_FLOW,), _SS_FLOW),
    "ss-decoder": Published("image-to-3D: sparse structure to voxels", (files.SS_DECODER,), _SS_DECODER),
    "slat-flow": Published("image-to-3D: image to structured latents", (files.SLAT_FLOW,), _SLAT_FLOW),
    "dinov2": Published("image features of the paper preset and of image-to-3D", (files.DINOV2,)),
    "lpips": Published("metric and loss LPIPS", (files.VGG16, files.ALEXNET)),
    "clip": Published("metric CLIP", (files.CLIP_B32,)),
    "fvd": Published("metric FVD", (files.I3D_KINETICS,)),
    "aesthetic": Published("aesthetic score in curation", (files.AESTHETIC_HEAD, files.CLIP_L14)),
}
KINDS = tuple(name for name, entry in CATALOG.items() if entry.sizes is not None)


def published_sizes(kind: str) -> dict[str, Any]:
    """Return a copy of the published sizes of a kind. Raises UserError that lists the kinds for any other name."""
    if kind not in KINDS:
        raise UserError(f"{kind!r} is no kind of published weights. Kinds: {', '.join(KINDS)}.")
    sizes = CATALOG[kind].sizes
    assert sizes is not None
    return dict(sizes)
