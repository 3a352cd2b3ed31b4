"""Four small clips in memory, and configurations of small models that train on them in seconds.

A clip is a swinging cloud of voxels and points, seen as a coloured disc that swings with it. Everything is drawn from
the clip's number, so the same clips are made on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from gvf.config.slat_flow import POINT_CHANNELS, SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.train_appearance import TrainAppearanceConfig
from gvf.config.train_dit import TrainDitConfig
from gvf.config.train_structure import SsFlowTrainingConfig, SsVaeTrainingConfig
from gvf.config.train_vae_joint import TrainVaeJointConfig, VariationLossConfig
from gvf.config.train_vae_static import CanonicalLossConfig, InitialWeightsConfig, TrainVaeStaticConfig
from gvf.config.training import TrainingConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.data.clips import Views
from gvf.data.image_examples import ImageExamples
from gvf.data.latents import LatentClip, LatentStatistics
from gvf.geometry.camera import intrinsics, orbit

CLIPS = ["clip-0", "clip-1", "clip-2", "clip-3"]
RESOLUTION, FEATURES, IMAGE_SIZE = 8, 6, 24
NUM_FRAMES, NUM_POINTS, NUM_VIEWS = 5, 40, 3
NUM_LATENTS, LATENT_CHANNELS, NUM_STATIC = 6, 4, 8
VIDEO_TOKENS, VIDEO_CHANNELS, ALIGNED_CHANNELS = 5, 7, 4
IMAGE_VIEWS, MAP_CHANNELS, MAP_SIZE = 2, 4, 6

TRAINING = TrainingConfig(
    steps=10,
    batch_size=2,
    balance=None,
    gradient_accumulation_steps=1,
    optimizer="adamw",
    learning_rate=2e-3,
    schedule="constant",
    warmup_steps=2,
    betas=(0.9, 0.99),
    weight_decay=0.01,
    max_grad_norm=1.0,
    ema_decay=0.9,
    precision="float32",
    zero_stage=0,
)
STATIC_VAE = StaticVaeConfig(
    resolution=RESOLUTION,
    feature_channels=FEATURES,
    width=12,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    window=4,
    latent_channels=3,
    gaussians_per_voxel=2,
    offset_range=1.5,
    rotation_rate=0.1,
    scale_bias=0.03,
    opacity_bias=0.1,
    filter_3d=0.007,
)
# No stochastic depth: torch draws it with MKL on Intel's processors only, so that others draw other numbers.
VARIATION_VAE = VariationVaeConfig(
    width=12,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    num_latents=NUM_LATENTS,
    latent_channels=LATENT_CHANNELS,
    drop_path=0.0,
    query="motion",
    attributes=("means", "scales", "quats", "colors", "opacities"),
    num_neighbors=4,
    beta=7.0,
    interpolation="paper",
    position_scale=8.0,
)
VARIATION_DIT = VariationDitConfig(
    width=12,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=VIDEO_CHANNELS,
    aligned_features=("point",),
    aligned_channels=ALIGNED_CHANNELS,
    num_static=NUM_STATIC,
    position_embedding=True,
    position_scale=8.0,
)
SLAT_FLOW = SlatFlowConfig(
    latent_channels=3,
    block_channels=(6,),
    num_res_blocks=1,
    width=12,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=VIDEO_CHANNELS,
    aligned_channels=MAP_CHANNELS + POINT_CHANNELS,
)
CANONICAL_LOSS = CanonicalLossConfig(ssim=0.2, lpips=0.0, kl=1e-3, volume=0.04, opacity=0.01)
TRAIN_STATIC = TrainVaeStaticConfig(
    views_per_clip=2,
    initial_weights=InitialWeightsConfig(encoder=None, decoder=None),
    train_encoder=True,
    canonical_loss=CANONICAL_LOSS,
    training=TRAINING,
)
TRAIN_JOINT = TrainVaeJointConfig(
    initial_weights=None,
    frames_per_clip=3,
    rendered_frames=2,
    guided_gaussians=10,
    decoder_lr_scale=0.1,
    finetune_decoder=True,
    motion_phase=None,
    variation_loss=VariationLossConfig(
        ssim=0.2, lpips=0.0, mesh_guided=7.5, mesh_guided_norm="l2", kl=1e-3, motion_floor=None
    ),
    canonical_loss=CANONICAL_LOSS,
    training=TRAINING,
)
TRAIN_APPEARANCE = TrainAppearanceConfig(image_drop_prob=0.3, training=TRAINING)
TRAIN_DIT = TrainDitConfig(
    initial_weights=None,
    num_diffusion_steps=100,
    timestep_shift=1.0,
    cond_drop_prob=0.3,
    augmentation=None,
    training=TRAINING,
)
SS_VAE = SsVaeConfig(latent_channels=2, channels=(6, 4), num_res_blocks=1, num_middle_blocks=1)
SS_FLOW = SsFlowConfig(
    resolution=RESOLUTION // 2,
    latent_channels=2,
    width=12,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=VIDEO_CHANNELS,
    aligned_channels=MAP_CHANNELS,
)
TRAIN_SS_VAE = SsVaeTrainingConfig(loss="dice", kl=1e-3, training=TRAINING)
TRAIN_SS_FLOW = SsFlowTrainingConfig(image_drop_prob=0.3, training=TRAINING)


def load_features(clip: str) -> dict[str, Tensor]:
    """Return voxels of a sphere's surface with features that follow their places, and random video tokens."""
    generator = _generator(clip, "features")
    grid = torch.stack(torch.meshgrid(*[torch.arange(RESOLUTION)] * 3, indexing="ij"), -1).view(-1, 3)
    places = (grid + 0.5) / RESOLUTION - 0.5
    voxels = grid[(places.norm(dim=1) - _radius(clip)).abs() < 0.06]
    features = torch.cat([(voxels + 0.5) / RESOLUTION - 0.5, _color(clip).expand(len(voxels), 3)], 1)
    return {
        "voxels": voxels.int(),
        "voxel_features": features.half(),
        "video_tokens": torch.rand(2, NUM_FRAMES, VIDEO_TOKENS, VIDEO_CHANNELS, generator=generator).half(),
    }


def load_image_examples(clip: str) -> ImageExamples:
    """Return random tokens of two images, and maps of the clip's colour and alpha; both images show the same voxels."""
    generator = _generator(clip, "images")
    tokens = torch.rand(IMAGE_VIEWS, VIDEO_TOKENS, VIDEO_CHANNELS, generator=generator).half()
    color = torch.cat([_color(clip), torch.ones(1)])
    maps = color.half()[None, :, None, None].repeat(IMAGE_VIEWS, 1, MAP_SIZE, MAP_SIZE)
    own = load_features(clip)
    return ImageExamples(tokens, maps, (own["voxels"],) * IMAGE_VIEWS, (own["voxel_features"],) * IMAGE_VIEWS)


def load_structures(clip: str) -> Tensor:
    """Return random latents of the shapes in both images."""
    shape = (IMAGE_VIEWS, SS_FLOW.latent_channels, *[SS_FLOW.resolution] * 3)
    return torch.randn(shape, generator=_generator(clip, "structure"))


def load_points(clip: str) -> Tensor:
    """Return the clip's surface points over time, [T, N, 3]: a sphere that swings sideways."""
    directions = torch.rand(NUM_POINTS, 3, generator=_generator(clip, "points")) - 0.5
    points = directions / directions.norm(dim=1, keepdim=True) * _radius(clip)
    swing = torch.tensor([[_shift(frame), 0.0, 0.5 * _shift(frame)] for frame in range(NUM_FRAMES)])
    return points + swing[:, None]


@lru_cache
def load_views(clip: str, kind: str) -> Views:
    """Return images of a disc, [V, ...] of the first frame (`canonical`) or [T, V, ...] (`train`)."""
    viewmats = torch.from_numpy(orbit(torch.arange(NUM_VIEWS) * 120.0, 20.0, 2.0)).float()
    Ks = torch.from_numpy(intrinsics([40.0] * NUM_VIEWS)).float()
    frames = torch.stack([_disc(clip, viewmats, Ks, _shift(frame)) for frame in range(NUM_FRAMES)])
    if kind == "canonical":
        return Views(frames[0], viewmats, Ks)
    return Views(frames, *(cameras.expand(NUM_FRAMES, *cameras.shape) for cameras in (viewmats, Ks)))


def load_latents(clip: str) -> LatentClip:
    """Return a posterior of latents that drift over time, their positions and static Gaussians."""
    generator = _generator(clip, "latents")
    start, drift = torch.rand(2, NUM_LATENTS, LATENT_CHANNELS, generator=generator)
    mean = torch.stack([start + 0.3 * frame * (drift - 0.5) for frame in range(NUM_FRAMES)])
    return LatentClip(
        mean=mean,
        logvar=torch.full_like(mean, -4.0),
        positions=torch.rand(NUM_LATENTS, 3, generator=generator) - 0.5,
        static=torch.rand(NUM_STATIC, 14, generator=generator),
        aligned=torch.rand(2, NUM_FRAMES, NUM_LATENTS, ALIGNED_CHANNELS, generator=generator).half(),
    )


def statistics() -> LatentStatistics:
    """Return rounded statistics of the latents above."""
    sizes, stds = (LATENT_CHANNELS, 14, ALIGNED_CHANNELS), (0.4, 0.3, 0.3)
    return LatentStatistics(*(torch.full((size,), value) for size, std in zip(sizes, stds) for value in (0.5, std)))


def _disc(clip: str, viewmats: Tensor, Ks: Tensor, shift: float) -> Tensor:
    """Return uint8 RGBA [V, H, W, 4] of the clip's sphere, moved sideways by `shift`, seen by every camera."""
    center = viewmats[:, :3, :3] @ torch.tensor([shift, 0.0, 0.5 * shift]) + viewmats[:, :3, 3]
    place = (Ks @ center[..., None])[..., 0]
    pixels = (torch.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE
    across = pixels[None, None, :] - (place[:, 0] / place[:, 2])[:, None, None]
    down = pixels[None, :, None] - (place[:, 1] / place[:, 2])[:, None, None]
    reach = (Ks[:, 0, 0] * _radius(clip) / center[:, 2])[:, None, None]
    inside = (across.square() + down.square() < reach.square())[..., None]
    color = torch.cat([_color(clip), torch.ones(1)]).mul(255).byte()
    return torch.where(inside, color, torch.zeros(4, dtype=torch.uint8))


def _generator(clip: str, kind: str) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * CLIPS.index(clip) + len(kind))


def _radius(clip: str) -> float:
    return 0.22 + 0.04 * CLIPS.index(clip)


def _color(clip: str) -> Tensor:
    return torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.7, 0.3], [0.2, 0.3, 0.9], [0.8, 0.7, 0.1]][CLIPS.index(clip)])


def _shift(frame: int) -> float:
    return [0.0, 0.06, 0.1, 0.06, -0.04][frame]
