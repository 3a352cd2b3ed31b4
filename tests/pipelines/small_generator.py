"""A small generator with random weights, as training would leave it, and clips for it."""

from __future__ import annotations

from dataclasses import replace

import torch

from gvf.config.featurize import FeaturizeConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import ALIGNED_FEATURES, VariationDitConfig
from gvf.data.latents import LatentStatistics
from gvf.gaussians.gaussians import Gaussians
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.generator_index import CanonicalViews, Sampling, Training, build_index
from gvf.pipelines.video_to_4d import VideoTo4D
from tests.training.tiny_clips import STATIC_VAE as STATIC
from tests.training.tiny_clips import VARIATION_VAE

IMAGE_SIZE = 64
VIEWS = CanonicalViews(count=4, size=IMAGE_SIZE, samples=1, radius=2.0, fov=40.0)
VARIATION = replace(VARIATION_VAE, num_layers=1, num_latents=4, latent_channels=5, num_neighbors=3)
FRAMES = 3  # of training clips
TOKENS, CHANNELS = 4, 384  # of a frame, on a grid of 2 x 2
ALIGNED = 658  # channels of the features at a latent
FEATURIZE = FeaturizeConfig("efficientnet_lite0", None, 2, STATIC.resolution, "visible", 4)
DIT = VariationDitConfig(
    width=12,
    num_layers=1,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="both",
    image_channels=CHANNELS,
    aligned_features=ALIGNED_FEATURES,
    aligned_channels=ALIGNED,
    num_static=7,
    position_embedding=True,
    position_scale=8.0,
)
FAST = Sampling(solver="multistep", steps=3)


def small_generator(static: StaticVaeConfig = STATIC) -> VideoTo4D:
    """Return a generator whose video, Gaussians and noise all matter to its result."""
    torch.manual_seed(0)
    vae, dit = JointVAE(static, VARIATION), VariationDiT(DIT, VARIATION.latent_channels)
    for network in (vae, dit):
        for parameter in network.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    statistics = LatentStatistics(
        torch.randn(VARIATION.latent_channels),
        torch.rand(VARIATION.latent_channels) + 0.5,
        torch.randn(14),
        torch.rand(14) + 0.5,
        torch.randn(ALIGNED),
        torch.rand(ALIGNED) + 0.5,
    )
    training = Training(frames=FRAMES, clips=12, preset="tiny", source="procedural")
    channels, featurize = static.feature_channels, replace(FEATURIZE, voxel_resolution=static.resolution)
    index = build_index("A small generator", training, statistics, 1000, featurize, channels, VIEWS, sampling=FAST)
    return VideoTo4D(index, vae, dit)


def canonical_gaussians(count: int, seed: int) -> Gaussians:
    """Return canonical Gaussians [count] with random values."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 14, generator=generator)
    fields = values.split([3, 3, 3, 4, 1], dim=1)
    gaussians = Gaussians(fields[0] * 0.2, *fields[1:4], fields[4].squeeze(1))
    return replace(gaussians, raw_scales=gaussians.raw_scales - 3.0)


def video_of(num_frames: int, seed: int) -> VideoCondition:
    """Return random features of a video of `num_frames` frames."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(num_frames, TOKENS, CHANNELS, generator=generator)
    return VideoCondition(tokens, torch.randn(num_frames, VARIATION.num_latents, ALIGNED, generator=generator))
