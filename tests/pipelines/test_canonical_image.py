"""From an image to canonical Gaussians: the crop and the tokens by hand, then the whole way with small networks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gvf.diffusion.flow_euler import FlowSettings
from gvf.errors import UserError
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.layers.precision import set_block_dtype
from gvf.pipelines.canonical import load_canonical
from gvf.pipelines.canonical_image import ImageSettings, sampling_of
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.model_check import check_models
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.video.object_crop import cropped
from gvf.weights.published import save_published
from tests.models.test_image_encoder import random_images, tiny_dinov2
from tests.pipelines.small_generator import STATIC, small_generator
from tests.pipelines.test_generator import PUBLISHED, write_published
from tests.pipelines.test_image_to_canonical_folders import DECODER_SETTINGS, FILES, SIZES, pipeline_settings
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
    assert weights.networks is not None
    networks = ImageToCanonical.from_pretrained(weights.networks)
    for network in (networks.ss_flow, networks.ss_decoder, networks.slat_flow, networks.gaussian_decoder):
        set_block_dtype(network, torch.float32)  # as a processor computes them
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


@pytest.fixture(scope="module")
def release(weights: ImageSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's release, that of TRELLIS without a decoder, and DINOv2 in one folder, as `gvf weights pull` writes it."""
    folder = tmp_path_factory.mktemp("release")
    assert weights.networks is not None
    assert weights.encoder is not None
    paper = folder / "GaussianVariationFieldDiffusion"
    write_published(paper)
    save_published(small_network("dit", latent_channels=5, image_channels=32), paper / PUBLISHED["dit"].path, "dit")
    # TRELLIS's latents of 8 channels on a grid of 6, which the release's own decoder takes.
    static = small_network("static-vae", latent_channels=8, num_heads=2, resolution=6, window=4)
    save_published(static, paper / PUBLISHED["static-vae"].path, "static-vae")
    sizes = {"kind": "static-vae", "sizes": {"num_heads": 2, "resolution": 6, "window": 4}}
    (paper / "config.json").write_text(json.dumps(sizes))
    shutil.copytree(Path(weights.networks) / "ckpts", folder / "TRELLIS-image-large" / "ckpts")
    for path in (folder / "TRELLIS-image-large" / "ckpts").glob("slat_dec_gs*"):
        path.unlink()
    (folder / "TRELLIS-image-large" / "pipeline.json").write_text(json.dumps(pipeline_settings(25)))
    shutil.copytree(weights.encoder, folder / "dinov2-with-registers-large")
    return folder


def test_one_folder_holds_all_that_an_image_needs(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GVF_WEIGHTS", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    generator = VideoTo4D.from_pretrained(release)
    found = load_canonical(picture(tmp_path / "a.png", alpha=True), generator, image=ImageSettings(steps=2)).gaussians
    decoder = generator.vae.static.decoder
    assert found.num_gaussians % decoder.config.gaussians_per_voxel == 0
    assert found.activation == decoder.activation
    assert generator.encoder.token_dim == 32, "DINOv2 of this folder, for the video too"
    bad = {part.name for part in check_models(release).parts if part.state != "ok"}
    assert bad == {"ss-flow", "ss-decoder", "slat-flow"}, "small networks under the names of files of known digest"


def test_flows_are_sampled_as_the_paper_does_or_as_stored(release: Path, weights: ImageSettings) -> None:
    generator = VideoTo4D.from_pretrained(release)
    assert weights.networks is not None
    networks = ImageToCanonical.from_pretrained(weights.networks)
    published = FlowSettings(num_steps=12, guidance=7.5, guided_from=0.5, guided_to=1.0, rescale=3.0)
    stored = FlowSettings(num_steps=25, guidance=5.0), FlowSettings(num_steps=25, guidance=5.0)
    assert sampling_of(networks, generator.index, ImageSettings()) == (published, replace(published, guidance=3.0))
    assert sampling_of(networks, generator.index, ImageSettings(sampling="stored")) == stored
    other = small_generator().index
    assert sampling_of(networks, other, ImageSettings()) == stored
    fewer = sampling_of(networks, other, ImageSettings(sampling="gvfdiffusion", steps=7))
    assert fewer == (replace(published, num_steps=7), replace(published, num_steps=7, guidance=3.0))


def test_missing_weights_are_named(tmp_path: Path, weights: ImageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    path = picture(tmp_path / "a.png", alpha=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"TRELLIS.*DINOv2.*lacks the networks ss_flow.*gvf weights pull ss-flow"):
        load_canonical(path, small_generator(), image=replace(weights, networks=tmp_path / "empty"))
    with pytest.raises(UserError, match=r"an image needs the weights .*gvf weights pull dinov2"):
        load_canonical(path, small_generator(), image=replace(weights, encoder=tmp_path / "empty"))
    with pytest.raises(UserError, match="Leave --clip and --up out"):
        load_canonical(path, small_generator(), clip="walk")
