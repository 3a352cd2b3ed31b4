"""Our own networks from an image in a generator's folder: roundtrip, refusals, and `VideoTo4D` from a video alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gvf.config.load import parse
from gvf.config.slat_flow import POINT_CHANNELS, SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.errors import UserError
from gvf.geometry.camera import OrbitCamera, project
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.network_folder import save_network
from gvf.pipelines.generator_folder import IMAGE_FOLDER, generator_digest
from gvf.pipelines.generator_index import Moments, Training
from gvf.pipelines.half_precision import copy_networks_halved
from gvf.pipelines.held_out_objects import orbit_camera, registered
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import OWN_NETWORKS, assemble_networks
from gvf.pipelines.image_to_canonical_index import INDEX_NAME, FlowSampling, ImageToCanonicalIndex
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.video.input_video import InputVideo
from tests.pipelines.small_generator import STATIC, canonical_gaussians, small_generator
from tests.weights.small_weights import small_network

SIZES = {"width": 12, "num_layers": 1, "num_heads": 2, "feed_forward_ratio": 2, "image_channels": 384}
OWN = replace(STATIC, feature_channels=180)
MAP_SIZE = 6


def write_own(folder: Path) -> None:
    """Write a generator and networks from an image of its own, with random weights, that see tokens and maps."""
    generator = small_generator(OWN)
    generator.save_pretrained(folder)
    seen: dict[str, Any] = {"image_condition": "both", "aligned_channels": 180}
    torch.manual_seed(1)
    sizes = {**SIZES, "latent_channels": OWN.latent_channels}
    grid = SsFlow(parse(SsFlowConfig, {**SIZES, **seen, "latent_channels": 3, "resolution": OWN.resolution // 2}))
    own = {"aligned_channels": 180 + POINT_CHANNELS, "block_channels": (6,), "num_res_blocks": 1}
    slat = SlatFlow(parse(SlatFlowConfig, {**sizes, **seen, **own}))
    for parameter in (*grid.parameters(), *slat.parameters()):
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    structure = folder / "structure"
    save_network(grid, structure / "ss_flow")
    save_network(small_network("ss-decoder", latent_channels=3, channels=(8, 4)), structure / "ss_decoder")
    quick = FlowSampling(num_steps=2, guidance=1.0)
    index = ImageToCanonicalIndex(
        structure=quick,
        latents=quick,
        slat=Moments(mean=(0.1,) * OWN.latent_channels, std=(0.5,) * OWN.latent_channels),
        orientation="view",
        image_encoder=generator.index.image_encoder,
        map_size=MAP_SIZE,
        training=Training(frames=1, clips=3),
    )
    assemble_networks(folder / IMAGE_FOLDER, structure, slat, index)
    shutil.rmtree(structure)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "generator"
    write_own(folder)
    return folder


def images() -> ImageFeatures:
    source = torch.Generator().manual_seed(2)
    return ImageFeatures(torch.randn(1, 5, 384, generator=source), torch.randn(1, 180, 6, 6, generator=source))


def test_a_folder_comes_back_and_needs_the_generators_decoder(saved: Path, tmp_path: Path) -> None:
    decoder = MotionGenerator.from_pretrained(saved).vae.static.decoder
    networks = ImageToCanonical.from_pretrained(saved / IMAGE_FOLDER, decoder=decoder)
    assert (networks.index.orientation, networks.index.map_size) == ("view", MAP_SIZE)
    (made,) = networks(images(), seed=3)
    (again,) = ImageToCanonical.from_pretrained(saved / IMAGE_FOLDER, decoder=decoder)(images(), seed=3)
    assert torch.equal(made.to_activated14(), again.to_activated14())
    with pytest.raises(UserError, match="lacks the network gaussian_decoder"):
        ImageToCanonical.from_pretrained(saved / IMAGE_FOLDER)
    copy_networks_halved(saved / IMAGE_FOLDER, tmp_path, OWN_NETWORKS)
    shutil.copy(saved / IMAGE_FOLDER / INDEX_NAME, tmp_path)
    halved = ImageToCanonical.from_pretrained(tmp_path, decoder=decoder)
    assert {parameter.dtype for parameter in halved.slat_flow.parameters()} == {torch.float32}
    for network, other in ((networks.ss_flow, halved.ss_flow), (networks.slat_flow, halved.slat_flow)):
        for value, rounded in zip(network.parameters(), other.parameters()):
            torch.testing.assert_close(rounded, value, atol=1e-3, rtol=1e-3)


def test_the_digest_of_a_generator_covers_them(saved: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved, tmp_path / "copy")
    assert generator_digest(copy) == generator_digest(saved)
    index = copy / IMAGE_FOLDER / INDEX_NAME
    index.write_text(index.read_text().replace('"num_steps": 2', '"num_steps": 3'))
    assert generator_digest(copy) != generator_digest(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orientation": "sideways"}, "orientation"),
        ({"map_size": 1}, "map_size"),
        ({"slat": {"mean": [0.0], "std": [1.0]}}, "mean of the structured latents: channels is 1"),
        ({"image_encoder": {"name": "resnet"}}, "image_encoder"),
        ({"code": "import os"}, "code"),
    ],
)
def test_what_cannot_be_right_is_refused(saved: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    copy = shutil.copytree(saved / IMAGE_FOLDER, tmp_path / "copy")
    content = json.loads((copy / INDEX_NAME).read_text())
    (copy / INDEX_NAME).write_text(json.dumps(content | changes))
    decoder = small_generator(OWN).vae.static.decoder
    with pytest.raises(UserError, match=message):
        ImageToCanonical.from_pretrained(copy, decoder=decoder)


def test_a_decoder_of_other_latents_is_refused(saved: Path) -> None:
    other = small_generator(replace(OWN, latent_channels=4)).vae.static.decoder
    with pytest.raises(UserError, match=r"gaussian_decoder: latent_channels is 4"):
        ImageToCanonical.from_pretrained(saved / IMAGE_FOLDER, decoder=other)


def drawn_video(frames: int = 3) -> InputVideo:
    rgba = np.zeros((frames, 64, 64, 4), np.uint8)
    for index in range(frames):
        rgba[index, 20:44, 16 + 4 * index : 40 + 4 * index] = (200, 40, 90, 255)
    return InputVideo.from_frames(torch.from_numpy(rgba), 8.0)


def test_a_video_alone_becomes_an_asset_seen_from_the_front(saved: Path) -> None:
    generator = VideoTo4D.from_pretrained(saved)
    asset = generator(drawn_video())
    assert asset.manifest.canonical.origin == "image"
    assert asset.manifest.camera.azimuth == 0.0
    assert len(asset.gaussians.means) == 3
    assert asset.gaussians.means.isfinite().all()
    assert asset.gaussians.means.shape[1] % OWN.gaussians_per_voxel == 0


def test_registered_gaussians_appear_where_they_were_found() -> None:
    """A camera twice as far sees an object of half the size; the shift and the turn come back as well."""
    gaussians = canonical_gaussians(40, 0)
    known = OrbitCamera(0.0, 0.0, 2.0, 49.1)
    for found in (OrbitCamera(0.0, 0.0, 4.0, 49.1), OrbitCamera(30.0, 0.0, 2.0, 49.1)):
        moved = registered(gaussians, found, known)
        seen, _ = project(moved.means.double().numpy(), known.viewmat, known.K)
        expected, _ = project(gaussians.means.double().numpy(), found.viewmat, found.K)
        np.testing.assert_allclose(seen, expected, atol=1e-5)
    shifted = registered(gaussians, OrbitCamera(0.0, 0.0, 2.0, 49.1, (0.1, -0.05)), known)
    origin = shifted.means - gaussians.means
    seen, _ = project(origin[:1].double().numpy(), known.viewmat, known.K)
    np.testing.assert_allclose(seen[0], [0.6, 0.45], atol=1e-5)


def test_a_camera_is_read_off_its_matrices() -> None:
    camera = OrbitCamera(-20.0, 15.0, 1.7, 35.0)
    found = orbit_camera(camera.viewmat, camera.K)
    np.testing.assert_allclose(
        [found.azimuth, found.elevation, found.radius, found.fov], [-20.0, 15.0, 1.7, 35.0], atol=1e-6
    )
