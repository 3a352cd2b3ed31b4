"""Both image encoders: shapes, background, order of tokens, and DINOv2's tokens against the network's own output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gvf.config.featurize import FeaturizeConfig
from gvf.errors import UserError
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.encoders.image_encoder import EfficientNetEncoder, build_image_encoder

SETTINGS = {"voxel_resolution": 16, "voxel_weighting": "visible", "batch_size": 4}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> EfficientNetEncoder:
    return EfficientNetEncoder(token_grid=5)


def random_images(count: int, size: int, seed: int = 0) -> Tensor:
    """Random RGBA with random alpha [B, H, W, 4] uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 4), generator=generator, dtype=torch.uint8)


def test_sizes_are_as_announced(encoder: EfficientNetEncoder) -> None:
    images = random_images(2, 96)
    assert encoder.voxel_maps(images).shape == (2, encoder.voxel_dim, 48, 48)
    assert encoder.tokens(images).shape == (2, encoder.num_tokens, encoder.token_dim)
    assert (encoder.voxel_dim, encoder.num_tokens, encoder.token_dim) == (4 + 24 + 40 + 112, 25, 96 + 160 + 112 + 16)


def test_images_are_put_on_black(encoder: EfficientNetEncoder) -> None:
    images = random_images(1, 64)
    images[..., 3] = (images[..., 3] > 127) * 255
    blackened = images * (images[..., 3:] > 0)
    torch.testing.assert_close(encoder.voxel_maps(images), encoder.voxel_maps(blackened), atol=0, rtol=0)
    torch.testing.assert_close(encoder.tokens(images), encoder.tokens(blackened), atol=0, rtol=0)


def test_voxel_maps_begin_with_colour_and_coverage(encoder: EfficientNetEncoder) -> None:
    images = random_images(1, 32)
    maps = encoder.voxel_maps(images)
    block = images[0, 6:8, 10:12].double()  # the four pixels of map pixel (3, 5)
    premultiplied = (block[..., :3] * block[..., 3:] / 255).mean(dim=(0, 1))
    torch.testing.assert_close(maps[0, :3, 3, 5].double(), (premultiplied - 127) / 128, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps[0, 3, 3, 5].double(), block[..., 3].mean() / 255, atol=1e-6, rtol=0)


def test_voxel_maps_lie_over_the_image(encoder: EfficientNetEncoder) -> None:
    """A bright spot changes every stage's channels most where it is, within the stage's stride."""
    empty = torch.zeros(1, 128, 128, 4, dtype=torch.uint8)
    empty[..., 3] = 255
    spot = empty.clone()
    spot[0, 28:36, 92:100, :3] = 255
    change = (encoder.voxel_maps(spot) - encoder.voxel_maps(empty))[0]
    for start, end, stride in ((0, 4, 2), (4, 28, 4), (28, 68, 8), (68, 180, 16)):
        strength = change[start:end].norm(dim=0)
        row, column = divmod(int(strength.argmax()), 64)
        assert abs(2 * row + 1 - 32) <= stride + 2
        assert abs(2 * column + 1 - 96) <= stride + 2


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 3), (4, 2)])
def test_tokens_come_row_by_row_over_the_central_part(encoder: EfficientNetEncoder, row: int, column: int) -> None:
    """96 pixels: the tokens cover the central 80, five cells of 16 pixels each."""
    empty = torch.zeros(1, 96, 96, 4, dtype=torch.uint8)
    empty[..., 3] = 255
    spot = empty.clone()
    top, left = 8 + 16 * row, 8 + 16 * column
    spot[0, top + 3 : top + 13, left + 3 : left + 13, 0] = 255
    change = (encoder.tokens(spot) - encoder.tokens(empty))[0].norm(dim=1)
    assert divmod(int(change.argmax()), 5) == (row, column)


def test_tokens_know_their_place(encoder: EfficientNetEncoder) -> None:
    tokens = encoder.tokens(torch.cat([random_images(1, 64, seed=1), random_images(1, 64, seed=2)]))
    place = tokens[..., -16:]
    torch.testing.assert_close(place[0], place[1], atol=0, rtol=0)
    assert torch.cdist(place[0], place[0]).fill_diagonal_(9).min() > 0.3
    assert place.abs().max() <= 1


def test_an_image_in_a_batch_is_encoded_as_alone(encoder: EfficientNetEncoder) -> None:
    images = random_images(3, 64)
    torch.testing.assert_close(encoder.tokens(images)[1:2], encoder.tokens(images[1:2]), atol=1e-4, rtol=1e-4)


def test_odd_sizes_are_refused(encoder: EfficientNetEncoder) -> None:
    with pytest.raises(UserError, match="multiples of 16"):
        encoder.voxel_maps(random_images(1, 40))


def tiny_dinov2(folder: Path) -> str:
    """Random weights of a small network with DINOv2's architecture, saved as the published ones are."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=42, patch_size=14, num_register_tokens=4
    )
    network = Dinov2WithRegistersModel(config)
    with torch.no_grad():
        network.layernorm.weight.uniform_(0.5, 2.0)
        network.layernorm.bias.uniform_(-1.0, 1.0)
    network.save_pretrained(folder)
    return str(folder)


def test_dinov2_tokens_are_those_before_the_final_norm(tmp_path: Path) -> None:
    encoder = DinoV2Encoder(tiny_dinov2(tmp_path))
    images = random_images(2, 42)  # the network's own size, so nothing is resized
    straight = images.float() / 255
    pixels = (straight[..., :3] * straight[..., 3:] - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    with torch.inference_mode():
        expected = encoder.network(
            pixels.permute(0, 3, 1, 2)
        ).last_hidden_state  # class, 4 registers, 9 patches; normed
        tokens = encoder.tokens(images)
        normed = encoder.network.layernorm(tokens)
    assert tokens.shape == (2, encoder.num_tokens, encoder.token_dim) == (2, 10, 32)
    torch.testing.assert_close(normed[:, :9], expected[:, 5:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normed[:, 9], expected[:, 0], atol=1e-5, rtol=1e-5)
    maps = encoder.voxel_maps(images)
    assert maps.shape == (2, encoder.voxel_dim, 3, 3)
    torch.testing.assert_close(maps[1, :, 2, 1], tokens[1, 7], atol=1e-6, rtol=0)


def test_dinov2_resizes_with_alpha(tmp_path: Path) -> None:
    """Colours under transparent pixels do not bleed into the image when it is resized."""
    encoder = DinoV2Encoder(tiny_dinov2(tmp_path))
    images = torch.zeros(1, 84, 84, 4, dtype=torch.uint8)
    images[:, 20:60, 20:60] = 255
    bright = images.clone()
    bright[..., 0] = 255
    torch.testing.assert_close(encoder.tokens(images), encoder.tokens(bright), atol=1e-5, rtol=1e-5)


def test_missing_dinov2_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"featurize\.weights.*gvf weights pull dinov2.*facebook/dinov2-with-registers-large"
    ):
        DinoV2Encoder(str(tmp_path))


def test_damaged_dinov2_weights_say_what_they_are(tmp_path: Path) -> None:
    tiny_dinov2(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(UserError, match=r"featurize\.weights: .*model\.safetensors: a Git LFS pointer.*pull dinov2"):
        DinoV2Encoder(str(tmp_path))


def test_the_section_names_the_encoder(tmp_path: Path) -> None:
    small = FeaturizeConfig(encoder="efficientnet_lite0", weights=None, token_grid=4, **SETTINGS)
    assert build_image_encoder(small, CPU).num_tokens == 16
    large = FeaturizeConfig(encoder="dinov2", weights=tiny_dinov2(tmp_path), token_grid=None, **SETTINGS)
    assert build_image_encoder(large, CPU).num_tokens == 10


def test_dinov2_sees_objects_as_trellis_shows_them(tmp_path: Path) -> None:
    """The order of the release: resized with alpha by Pillow, on black in float32, rounded down to 8 bits, normalised."""
    encoder = DinoV2Encoder(tiny_dinov2(tmp_path))
    images = random_images(2, 70, seed=5)
    pixels = []
    for image in images:
        resized = np.asarray(Image.fromarray(image.numpy()).resize((42, 42), Image.Resampling.LANCZOS))
        rgba = resized.astype(np.float32) / 255
        stored = (rgba[..., :3] * rgba[..., 3:] * 255).astype(np.uint8)
        again = np.asarray(Image.fromarray(stored).convert("RGB")).astype(np.float32) / 255
        pixels.append((again - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225]))
    with torch.inference_mode():
        outputs = encoder.network(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), output_hidden_states=True)
        expected = outputs.hidden_states[-1]
        normed = encoder.network.layernorm(encoder.object_tokens(images))
    torch.testing.assert_close(encoder.object_tokens(images), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(normed, outputs.last_hidden_state, atol=1e-5, rtol=1e-5, msg="tokens before the norm")
    rounded = encoder.object_tokens(images)[:, 5:] - encoder.tokens(images)[:, :-1]
    assert rounded.abs().max() > 1e-4, "video frames are not rounded"
