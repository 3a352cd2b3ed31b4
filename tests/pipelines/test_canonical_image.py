"""From an image to canonical Gaussians: the crop and the tokens by hand, then the whole way with small networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gvf.errors import UserError
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.pipelines.canonical import load_canonical
from gvf.pipelines.canonical_image import ImageSettings
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.video.object_crop import cropped
from gvf.weights.published import save_published
from tests.models.test_image_encoder import random_images, tiny_dinov2
from tests.pipelines.small_generator import STATIC, small_generator
from tests.pipelines.test_image_to_canonical_folders import DECODER_SETTINGS, FILES, SIZES
from tests.weights.small_weights import small_network


def test_tokens_are_all_of_the_network_and_normalised(tmp_path: Path) -> None:
    encoder: DinoV2Encoder = DinoV2Encoder(tiny_dinov2(tmp_path))
    images = (random_images(2, 42) > 127).to(torch.uint8) * 255  # values that nothing rounds
    found = ImageFeatures(encoder.object_tokens(images)).at_cells(small_network("ss-flow").config).tokens
    assert found is not None
    assert found.shape == (2, 1 + 4 + 9, 32)
    torch.testing.assert_close(found.mean(dim=-1), torch.zeros(2, 14), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=-1, correction=0), torch.ones(2, 14), atol=0.02, rtol=0)
    known = encoder.tokens(images)
    layer_norm = torch.nn.LayerNorm(32, elementwise_affine=False)
    torch.testing.assert_close(found[:, 0], layer_norm(known[:, -1]), msg="the class token comes first here")
    torch.testing.assert_close(found[:, 5:], layer_norm(known[:, :-1]), msg="then registers, then patches")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> ImageSettings:
    """Small networks in the layout of the release that take the tokens of a small DINOv2."""
    folder = tmp_path_factory.mktemp("weights")
    for kind, file in FILES.items():
        sizes = SIZES[kind] | ({"num_heads": 2} if kind == "slat-gs-decoder" else {})
        channels = {"image_channels": 32} if kind in ("ss-flow", "slat-flow") else {}
        save_published(small_network(kind, **sizes, **channels), folder / file.path, kind)
    (folder / FILES["slat-gs-decoder"].path).with_suffix(".json").write_text(json.dumps(DECODER_SETTINGS))
    return ImageSettings(folder, tiny_dinov2(folder / "dinov2"), steps=2, seed=7)


def picture(path: Path, alpha: bool) -> Path:
    rng = np.random.default_rng(0)
    rgba = np.full((60, 80, 4), 255, np.uint8)
    rgba[..., 3] = 0 if alpha else 255
    rgba[20:50, 30:60] = (200, 30, 30, 255)
    rgba[25:45, 35:55, :3] = rng.integers(0, 80, (20, 20, 3))
    Image.fromarray(rgba if alpha else rgba[..., :3]).save(path)
    return path


def test_an_image_becomes_gaussians_of_the_generator(tmp_path: Path, weights: ImageSettings) -> None:
    generator = small_generator()
    found = load_canonical(picture(tmp_path / "a.png", alpha=True), generator, image=weights)
    assert (found.origin, found.mesh, found.name) == ("image", None, "a.png")
    assert found.gaussians.activation == generator.vae.static.decoder.activation
    networks = ImageToCanonical.from_pretrained(weights.networks)
    encoder: DinoV2Encoder = DinoV2Encoder(str(weights.encoder))
    image = torch.from_numpy(cropped(np.asarray(Image.open(tmp_path / "a.png"))))[None]
    flows = (
        replace(networks.index.structure.settings(), num_steps=2),
        replace(networks.index.latents.settings(), num_steps=2),
    )
    (expected,) = networks(ImageFeatures(encoder.object_tokens(image)), seed=7, structure=flows[0], latents=flows[1])
    torch.testing.assert_close(found.gaussians.means, expected.means)
    torch.testing.assert_close(found.gaussians.opacities, expected.opacities, atol=1e-5, rtol=1e-4)
    plain = load_canonical(picture(tmp_path / "b.png", alpha=False), generator, image=weights)
    assert plain.gaussians.means.isfinite().all(), "a plain background is keyed"


def test_the_generators_own_decoder_where_it_fits(tmp_path: Path, weights: ImageSettings) -> None:
    generator = small_generator(replace(STATIC, latent_channels=8, resolution=6))
    found = load_canonical(picture(tmp_path / "a.png", alpha=True), generator, image=weights).gaussians
    assert found.num_gaussians % STATIC.gaussians_per_voxel == 0
    assert STATIC.gaussians_per_voxel != 3, "the release's decoder makes 3"


def test_missing_weights_are_named(tmp_path: Path, weights: ImageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    path = picture(tmp_path / "a.png", alpha=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"TRELLIS.*DINOv2.*lacks the network ss_flow.*gvf weights pull ss-flow"):
        load_canonical(path, small_generator(), image=replace(weights, networks=tmp_path / "empty"))
    with pytest.raises(UserError, match=r"an image needs the weights .*gvf weights pull dinov2"):
        load_canonical(path, small_generator(), image=replace(weights, encoder=tmp_path / "empty"))
    with pytest.raises(UserError, match="Leave --clip and --up out"):
        load_canonical(path, small_generator(), clip="walk")
