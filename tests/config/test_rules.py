"""Rules across sections: each clash is found before anything runs, under the key of one side with the other named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gvf.config.load import load_params, parse_params
from gvf.config.rules import EFFICIENTNET_STRIDE, ENCODERS
from gvf.errors import ConfigError
from tests.config.values import changed

DINOV2 = {"featurize.encoder": "dinov2", "featurize.token_grid": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"featurize.voxel_resolution": 32, "ss_flow.resolution": 8},
            "static_vae.resolution: is 16, but must equal featurize.voxel_resolution, which is 32.",
        ),
        (
            {"static_vae.feature_channels": 1024},
            "static_vae.feature_channels: is 1024, but must be 180 when featurize.encoder is efficientnet_lite0.",
        ),
        (
            {"variation_dit.image_channels": 1024},
            "variation_dit.image_channels: is 1024, but must be 384 when featurize.encoder is efficientnet_lite0.",
        ),
        (
            {"render.image_size": 100},
            "render.image_size: is 100, but must be a multiple of 16 when featurize.encoder is efficientnet_lite0.",
        ),
        (
            {"image_to_3d.image_size": 100},
            "image_to_3d.image_size: is 100, but must be a multiple of 16 when featurize.encoder is efficientnet_lite0.",
        ),
        (
            {"ss_flow.resolution": 8},
            "ss_flow.resolution: is 8, but must be 16/4: featurize.voxel_resolution, halved by each of the levels of "
            "ss_vae.channels after the first.",
        ),
        (
            {"ss_flow.latent_channels": 3},
            "ss_flow.latent_channels: is 3, but must equal ss_vae.latent_channels, which is 8.",
        ),
        (
            {"ss_flow.image_channels": 1024},
            "ss_flow.image_channels: is 1024, but must be 384 when featurize.encoder is efficientnet_lite0.",
        ),
        (
            {"ss_flow.image_condition": "both", "image_to_3d.map_size": None, "slat_flow.image_condition": "tokens"},
            "ss_flow.image_condition: is both, which needs image_to_3d.orientation view and an image_to_3d.map_size.",
        ),
        (
            {"curate.num_frames": 5},
            "train_vae_joint.frames_per_clip: is 6, but must be at most curate.num_frames, which is 5.",
        ),
        (
            {"train_vae_static.views_per_clip": 13},
            "train_vae_static.views_per_clip: is 13, but must be at most render.canonical_views, which is 12.",
        ),
        (
            {"curate.num_points": 7},
            "variation_vae.num_neighbors: is 8, but must be at most curate.num_points, which is 7.",
        ),
        (
            {"slat_flow.latent_channels": 4},
            "slat_flow.latent_channels: is 4, but must equal static_vae.latent_channels, which is 8.",
        ),
        (
            {"image_to_3d.orientation": "object", "ss_flow.image_condition": "tokens"},
            "slat_flow.image_condition: is pixel_aligned, which needs image_to_3d.orientation view and an image_to_3d.map_size.",
        ),
        (
            {
                "train_dit.augmentation": {"playback": 0.5, "feature_noise": 0.7},
                "variation_dit.image_condition": "tokens",
                "variation_dit.aligned_features": [],
                "variation_dit.aligned_channels": 0,
            },
            "train_dit.augmentation.feature_noise: is 0.7, but must be 0 when variation_dit.image_condition is tokens: there "
            "are no pixel-aligned features then.",
        ),
        (
            {"train_dit.cond_drop_prob": 0.0, "sample.video_guidance": 1.5},
            "sample.video_guidance: is 1.5, but must be 1 (no guidance) when train_dit.cond_drop_prob is 0: the model "
            "then never learns to generate without a video.",
        ),
    ],
)
def test_a_clash_is_found_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_params(changed(changes))
    assert str(caught.value) == f"params.yaml: {message}"


def test_all_clashes_of_another_encoder_are_reported_together(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(DINOV2 | {"render.image_size": 100})))
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    assert str(caught.value).splitlines() == [
        f"{path}: static_vae.feature_channels: is 180, but must be 1024 when featurize.encoder is dinov2.",
        f"{path}: variation_dit.image_channels: is 384, but must be 1024 when featurize.encoder is dinov2.",
        f"{path}: variation_dit.aligned_channels: is 658, but must be 2150 when featurize.encoder is dinov2.",
        f"{path}: slat_flow.image_channels: is 384, but must be 1024 when featurize.encoder is dinov2.",
        f"{path}: slat_flow.aligned_channels: is 183, but must be 1027 when featurize.encoder is dinov2.",
        f"{path}: ss_flow.image_channels: is 384, but must be 1024 when featurize.encoder is dinov2.",
        f"{path}: ss_flow.aligned_channels: is 180, but must be 1024 when featurize.encoder is dinov2.",
    ]


def test_what_fits_passes() -> None:
    parse_params(changed({"train_dit.cond_drop_prob": 0.0}))
    parse_params(changed({"sample.video_guidance": 1.5}))
    channels = {"static_vae.feature_channels": 1024, "variation_dit.image_channels": 1024}
    channels |= {"slat_flow.image_channels": 1024, "slat_flow.aligned_channels": 1027}
    channels |= {"ss_flow.image_channels": 1024, "ss_flow.aligned_channels": 1024}
    parse_params(changed(DINOV2 | channels | {"variation_dit.aligned_channels": 2150}))
    parse_params(changed(DINOV2 | {"featurize.weights": "a folder with other weights"}))


def test_the_channels_are_those_of_the_encoders() -> None:
    from gvf.models.encoders.image_encoder import EfficientNetEncoder

    encoder = EfficientNetEncoder.__new__(EfficientNetEncoder)  # its sizes need no weights
    assert ENCODERS["efficientnet_lite0"] == (encoder.voxel_dim, encoder.token_dim, encoder.num_compared)
    assert max(encoder.VOXEL_STRIDES) == EFFICIENTNET_STRIDE
