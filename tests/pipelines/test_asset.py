"""A video and a model become an asset: in the model's axes, as a folder that is whole or absent, and comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines import asset as asset_module
from gvf.pipelines.alignment import AlignmentSettings
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.motion import MotionSettings
from gvf.pipelines.video_to_4d import Settings, VideoTo4D
from gvf.progress import Stopwatch
from gvf.video.input_video import InputVideo
from tests.data.gltf.gltf_files import GltfFile, cube_mesh
from tests.pipelines.small_generator import STATIC, canonical_gaussians, small_generator

FILES = {"asset.glb", "canonical.ply", "index.html", "input.png", "manifest.json", "preview.mp4", "turntable.mp4"}
FRAMES = 4
KNOWN = AlignmentSettings(azimuth=30.0, elevation=10.0, fov=49.1)
SETTINGS = Settings(alignment=KNOWN, motion=MotionSettings(sampling={"solver": "multistep", "steps": 2}))


@pytest.fixture(scope="module")
def pipeline() -> VideoTo4D:
    return small_generator(replace(STATIC, feature_channels=180))  # of EfficientNet-Lite0


@pytest.fixture(scope="module")
def video() -> InputVideo:
    """A square that wanders to the right."""
    frames = torch.zeros(FRAMES, 64, 64, 4, dtype=torch.uint8)
    for index in range(FRAMES):
        frames[index, 20:44, 16 + 2 * index : 40 + 2 * index] = torch.tensor([200, 40, 90, 255], dtype=torch.uint8)
    return InputVideo.from_frames(frames, 8.0, "square")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = GltfFile()
    file.node(mesh=cube_mesh(file), translation=[1, 2, 3], scale=[2, 2, 2])
    return file.glb(tmp_path_factory.mktemp("model") / "cube.glb")


@pytest.fixture(scope="module")
def asset(pipeline: VideoTo4D, video: InputVideo, cube: Path) -> Asset4D:
    return pipeline(video, cube, settings=SETTINGS)


def test_every_frame_of_the_video_moves_the_model(asset: Asset4D):
    assert asset.gaussians.means.shape == (FRAMES, asset.canonical.num_gaussians, 3)
    assert len(asset.frames) == FRAMES
    assert asset.frames_per_second == 8.0
    assert (asset.gaussians.means[1] - asset.gaussians.means[0]).abs().max() > 1e-4
    assert (asset.camera.azimuth, asset.camera.elevation) == pytest.approx((30.0, 10.0))
    assert asset.manifest.canonical.file == "cube.glb"
    assert asset.manifest.canonical.to_file is not None
    assert asset.manifest.canonical.to_file.scale == pytest.approx(2.0)
    assert {"align", "motion"} <= asset.manifest.seconds.keys()


def test_without_motion_the_model_stays_where_it_is_whatever_the_camera(video: InputVideo):
    still = small_generator()
    for parameter in still.vae.variation.to_outputs.parameters():
        torch.nn.init.zeros_(parameter)
    canonical = canonical_gaussians(40, seed=1)
    canonical = replace(canonical, means=0.2 * canonical.means, raw_scales=0.1 * canonical.raw_scales)
    found = still(video, canonical, settings=SETTINGS)
    expected = canonical.to_activated14()
    for frame in found.frames:
        torch.testing.assert_close(frame.to_activated14()[:, :7], expected[:, :7], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(covariances(frame), covariances(canonical), atol=1e-8, rtol=1e-4)


def test_without_motion_a_mesh_that_was_turned_is_where_it_was(video: InputVideo, cube: Path):
    """The canonical Gaussians and all frames are in the model's own axes, whatever axes they were encoded in."""
    still = small_generator(replace(STATIC, feature_channels=180))
    for parameter in still.vae.variation.to_outputs.parameters():
        torch.nn.init.zeros_(parameter)
    found = still(video, cube, settings=replace(SETTINGS, alignment=replace(KNOWN, azimuth=45.0)))
    for frame in found.frames:
        torch.testing.assert_close(frame.to_activated14(), found.canonical.to_activated14(), atol=1e-5, rtol=1e-4)
    front = still(video, cube, settings=replace(SETTINGS, alignment=replace(KNOWN, azimuth=0.0)))
    assert front.canonical.num_gaussians != found.canonical.num_gaussians
    corners = [(-0.5, 0.5), (0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)]
    voxel = 1.0 / STATIC.resolution
    for asset in (front, found):
        distances = torch.cdist(torch.tensor(corners), asset.canonical.means[:, :2]).min(1).values
        assert distances.max() < 2.0 * voxel


def covariances(gaussians: Gaussians) -> np.ndarray:
    """Return the covariance matrices [N, 3, 3] of Gaussians [N], whatever axes describe them."""
    axes = Rotation.from_quat(gaussians.quats.numpy()[:, [1, 2, 3, 0]]).as_matrix() * gaussians.scales.numpy()[:, None]
    return axes @ axes.transpose(0, 2, 1)


def test_a_saved_asset_comes_back(asset: Asset4D, tmp_path: Path):
    watch = Stopwatch(asset_module.Progress())
    asset.save(tmp_path / "asset", watch, size=64)
    written = {path.name for path in (tmp_path / "asset").iterdir()}
    assert written == FILES | {"mesh.glb"}
    found = Asset4D.load(tmp_path / "asset")
    assert found.manifest.model_copy(update={"seconds": asset.manifest.seconds}) == asset.manifest
    assert {"align", "motion", "pack", "turntable"} <= found.manifest.seconds.keys()
    assert found.manifest.settings["alignment"]["azimuth"] == 30.0
    torch.testing.assert_close(found.canonical.means, asset.canonical.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.gaussians.means, asset.gaussians.means, atol=2e-4, rtol=0)
    before, after = asset.render(size=48), found.render(size=48)
    assert before.shape == (FRAMES, 48, 48, 3)
    assert np.abs(before.astype(float) - after).mean() < 0.5
    assert found.video is None
    assert [path.name for path in tmp_path.iterdir()] == ["asset"]


def test_an_asset_replaces_an_asset_but_nothing_else(asset: Asset4D, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        asset.save(tmp_path, size=64)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        asset.save(tmp_path / "file", size=64)
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    asset.save(folder, size=64)
    assert Asset4D.load(folder).manifest.created == asset.manifest.created


@pytest.mark.parametrize("step", ["write_page", "save_mesh_animation", "turntable"])
def test_a_failure_leaves_nothing_half(asset: Asset4D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asset_module, step, fail)
    with pytest.raises(OSError, match="No space"):
        asset.save(tmp_path / "asset", size=64)
    assert list(tmp_path.iterdir()) == []


def test_files_that_do_not_belong_together_are_refused(asset: Asset4D, tmp_path: Path):
    asset.save(tmp_path / "asset", size=64)
    path = tmp_path / "asset/manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "num_frames": 9}))
    with pytest.raises(UserError, match=r"asset\.glb: has 4 frames .* 9 of .* do not belong together"):
        Asset4D.load(tmp_path / "asset")


def test_renders_take_one_camera_or_one_per_frame(asset: Asset4D):
    front = OrbitCamera(0.0, 0.0, 2.0, 49.1)
    around = [OrbitCamera(90.0 * index, 0.0, 2.0, 49.1) for index in range(FRAMES)]
    np.testing.assert_array_equal(asset.render(front, 32)[0], asset.render(around, 32)[0])
    with pytest.raises(UserError, match="has 2 cameras for 4 frames"):
        asset.render(around[:2], 32)


def test_a_video_alone_needs_the_image_networks(
    pipeline: VideoTo4D, video: InputVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"starting from an image needs the weights of TRELLIS"):
        pipeline(video, settings=SETTINGS)


def test_gaussians_of_one_frame_are_a_view_of_all(asset: Asset4D):
    assert isinstance(asset.frames[2], Gaussians)
    torch.testing.assert_close(asset.frames[2].means, asset.gaussians.means[2])
