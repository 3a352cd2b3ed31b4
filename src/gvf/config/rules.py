"""Rules across sections: clashes that would otherwise fail hours into a run, or silently change its results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gvf.config.flow_transformer import FlowTransformerConfig
from gvf.config.params import Params
from gvf.config.slat_flow import POINT_CHANNELS
from gvf.config.variation_dit import aligned_channels


class EncoderChannels(NamedTuple):
    """Channels of an image encoder's features on a voxel and of its tokens of a video frame, and how many maps it compares."""

    voxel: int
    token: int
    num_compared: int


ENCODERS = {"efficientnet_lite0": EncoderChannels(180, 384, 3), "dinov2": EncoderChannels(1024, 1024, 1)}
"""Channels per image encoder; of DINOv2, those of its published weights."""
EFFICIENTNET_STRIDE = 16
"""EfficientNet features need images whose sides are multiples of this many pixels."""


def clashes(params: Params) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the message of every field that does not fit another section."""
    yield from _image_features(params)
    yield from _image_to_3d(params)
    yield from _structure(params)
    yield from _frames_and_views(params)
    if params.variation_vae.num_neighbors > params.curate.num_points:
        yield (
            "variation_vae.num_neighbors",
            f"is {params.variation_vae.num_neighbors}, but must be at most curate.num_points, which is "
            f"{params.curate.num_points}.",
        )
    augmentation = params.train_dit.augmentation
    if augmentation is not None and augmentation.feature_noise and params.variation_dit.image_condition == "tokens":
        yield (
            "train_dit.augmentation.feature_noise",
            f"is {augmentation.feature_noise:g}, but must be 0 when variation_dit.image_condition is tokens: there are no "
            "pixel-aligned features then.",
        )
    if params.sample.video_guidance != 1.0 and params.train_dit.cond_drop_prob == 0.0:
        yield (
            "sample.video_guidance",
            f"is {params.sample.video_guidance:g}, but must be 1 (no guidance) when train_dit.cond_drop_prob is 0: the "
            "model then never learns to generate without a video.",
        )


def _image_features(params: Params) -> Iterator[tuple[str, str]]:
    featurize, static = params.featurize, params.static_vae
    if static.resolution != featurize.voxel_resolution:
        yield (
            "static_vae.resolution",
            f"is {static.resolution}, but must equal featurize.voxel_resolution, which is {featurize.voxel_resolution}.",
        )
    if featurize.weights is None:  # a folder with other weights may have other channels
        channels, dit = ENCODERS[featurize.encoder], params.variation_dit
        aligned = aligned_channels(dit.aligned_features, channels.voxel, channels.num_compared)
        for key, value, expected in (
            ("static_vae.feature_channels", static.feature_channels, channels.voxel),
            ("variation_dit.image_channels", dit.image_channels, channels.token),
            ("variation_dit.aligned_channels", dit.aligned_channels, aligned),
        ):
            if value != expected:
                yield key, f"is {value}, but must be {expected} when featurize.encoder is {featurize.encoder}."
    for key, size in (
        ("render.image_size", params.render.image_size),
        ("image_to_3d.image_size", params.image_to_3d.image_size),
    ):
        if featurize.encoder == "efficientnet_lite0" and size % EFFICIENTNET_STRIDE:
            yield (
                key,
                f"is {size}, but must be a multiple of {EFFICIENTNET_STRIDE} when featurize.encoder is {featurize.encoder}.",
            )


def _image_to_3d(params: Params) -> Iterator[tuple[str, str]]:
    flow = params.slat_flow
    if flow.latent_channels != params.static_vae.latent_channels:
        yield (
            "slat_flow.latent_channels",
            f"is {flow.latent_channels}, but must equal static_vae.latent_channels, which is "
            f"{params.static_vae.latent_channels}.",
        )
    yield from _image_conditions(params, "slat_flow", flow, POINT_CHANNELS)


def _structure(params: Params) -> Iterator[tuple[str, str]]:
    vae, flow, resolution = params.ss_vae, params.ss_flow, params.featurize.voxel_resolution
    if flow.resolution * vae.scale != resolution:
        yield (
            "ss_flow.resolution",
            f"is {flow.resolution}, but must be {resolution}/{vae.scale}: featurize.voxel_resolution, halved by each of the "
            "levels of ss_vae.channels after the first.",
        )
    if flow.latent_channels != vae.latent_channels:
        yield (
            "ss_flow.latent_channels",
            f"is {flow.latent_channels}, but must equal ss_vae.latent_channels, which is {vae.latent_channels}.",
        )
    yield from _image_conditions(params, "ss_flow", flow, 0)


def _image_conditions(
    params: Params, section: str, flow: FlowTransformerConfig, point_channels: int
) -> Iterator[tuple[str, str]]:
    """Yield what a flow cannot see of its images. point_channels: of pixel-aligned features, besides those of the maps."""
    common, featurize = params.image_to_3d, params.featurize
    if flow.sees_aligned and (common.orientation != "view" or common.map_size is None):
        yield (
            f"{section}.image_condition",
            f"is {flow.image_condition}, which needs image_to_3d.orientation view and an image_to_3d.map_size.",
        )
    if featurize.weights is None:
        channels = ENCODERS[featurize.encoder]
        seen = {"image_channels": channels.token, "aligned_channels": channels.voxel + point_channels}
        for name, expected in seen.items():
            if (value := getattr(flow, name)) != expected and (name == "image_channels" or flow.sees_aligned):
                yield (
                    f"{section}.{name}",
                    f"is {value}, but must be {expected} when featurize.encoder is {featurize.encoder}.",
                )


def _frames_and_views(params: Params) -> Iterator[tuple[str, str]]:
    for key, drawn, bound_key, bound in (
        (
            "train_vae_joint.frames_per_clip",
            params.train_vae_joint.frames_per_clip,
            "curate.num_frames",
            params.curate.num_frames,
        ),
        (
            "train_vae_static.views_per_clip",
            params.train_vae_static.views_per_clip,
            "render.canonical_views",
            params.render.canonical_views,
        ),
    ):
        if drawn > bound:
            yield key, f"is {drawn}, but must be at most {bound_key}, which is {bound}."
