"""Stages render and featurize on clips of a two-coloured box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gvf.config.featurize import FeaturizeConfig
from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.config.render import RenderConfig, VideoVariationConfig
from gvf.data.clips import clip_ids
from gvf.data.rejections import read_rejections, record_rejections
from gvf.errors import StageError, UserError
from gvf.execution.clip_map import Rejected
from gvf.geometry.camera import intrinsics, orbit, positions
from gvf.models.encoders.image_encoder import build_image_encoder
from gvf.stages import featurize, render
from gvf.storage.files import load_npz, load_tensors, save_npz
from gvf.workspace import Workspace
from tests.sections import execution_section, run_section
from tests.stages.curated_clips import write_curated

RENDER = RenderConfig(
    image_size=48,
    samples=2,
    canonical_views=5,
    train_views=2,
    videos=3,
    image_views=4,
    radius=2.0,
    view_fov=40.0,
    video_fov=49.1,
    video_variation=None,
)
FEATURIZE = FeaturizeConfig(
    encoder="efficientnet_lite0",
    weights=None,
    token_grid=3,
    voxel_resolution=8,
    voxel_weighting="visible",
    batch_size=4,
)
IMAGES = ImageTo3dConfig(orientation="view", image_size=48, map_size=6)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params(seed: int = 0, executor: str = "inline") -> Any:
    execution = execution_section(executor=executor)
    return SimpleNamespace(
        run=run_section(seed), execution=execution, render=RENDER, featurize=FEATURIZE, image_to_3d=IMAGES
    )


def rendered(clip_id: str) -> dict[str, np.ndarray]:
    return load_npz(Workspace().renders / f"{clip_id}.npz")


def test_what_a_clip_gets_depends_on_its_split(folder: Path) -> None:
    write_curated({"a": "train", "b": "held_out", "c": None})
    metrics = render.run(params(), Workspace())
    assert metrics["clips"] == 2
    assert sorted(path.name for path in Workspace().renders.iterdir()) == ["a.npz", "b.npz", "rejected.parquet"]
    train, held_out = rendered("a"), rendered("b")
    shapes = {name: array.shape[:-3] for name, array in train.items() if name.endswith("rgba")}
    assert shapes == {"canonical_rgba": (5,), "train_rgba": (3, 2), "video_rgba": (3, 3), "image_rgba": (4,)}
    shapes = {name: array.shape[:-3] for name, array in held_out.items() if name.endswith("rgba")}
    assert shapes == {"canonical_rgba": (5,), "video_rgba": (1, 3), "eval_rgba": (3, 4), "image_rgba": (1,)}
    for arrays in (train, held_out):
        for name, array in arrays.items():
            assert array.dtype == (np.uint8 if name.endswith("rgba") else np.float32)
            if name.endswith("rgba"):
                assert array.shape[-3:] == (48, 48, 4)
                assert np.all((array[..., 3] > 0).mean(axis=(-2, -1)) > 0.05)
    assert train["train_viewmats"].shape == (3, 2, 4, 4)
    assert held_out["eval_Ks"].shape == (4, 3, 3)


def test_cameras_are_where_the_protocols_say(folder: Path) -> None:
    write_curated({"a": "train", "b": "held_out"})
    render.run(params(), Workspace())
    train, held_out = rendered("a"), rendered("b")
    for arrays in (train, held_out):
        np.testing.assert_allclose(positions(arrays["video_viewmats"][0]), [0, -2, 0], atol=1e-6)
        np.testing.assert_allclose(arrays["video_Ks"][0], intrinsics(49.1), atol=1e-6)
        distances = np.linalg.norm(positions(arrays["canonical_viewmats"]), axis=-1)
        np.testing.assert_allclose(distances, 2.0, atol=1e-6)
    expected = positions(orbit([-75.0, 15.0, 105.0, 195.0], 0.0, 2.0))
    np.testing.assert_allclose(positions(held_out["eval_viewmats"]), expected, atol=1e-6)
    train_positions = positions(train["train_viewmats"])
    elevations = np.rad2deg(np.arcsin(train_positions[..., 2] / 2))
    assert np.all((elevations > -15.001) & (elevations < 45.001))
    assert len(np.unique(train_positions.reshape(-1, 3).round(4), axis=0)) == 6


def test_images_show_their_frame_and_camera(folder: Path) -> None:
    """Red faces the front; the sway of the box moves its pixels sideways over the video; the back is blue."""
    write_curated({"a": "train", "b": "held_out"}, num_frames=4)
    render.run(params(), Workspace())
    video = rendered("a")["video_rgba"][0].astype(float)
    assert video[0, 24, 24, 0] > 250
    columns = [(np.arange(48) * frame[..., 3].sum(axis=0)).sum() / frame[..., 3].sum() for frame in video]
    assert columns[1] > columns[0] + 1 > columns[3] + 2  # sin: 0, 1, 0, -1
    assert columns[2] == pytest.approx(columns[0], abs=0.01)
    eval_views = rendered("b")["eval_rgba"][0].astype(float)
    assert eval_views[1, 24, 24, 0] > 250  # azimuth 15: the front
    assert eval_views[3, 24, 24, 2] > 250  # azimuth 195: the back


def test_varied_videos_differ_in_training_clips_alone_and_in_nothing_but_their_images(folder: Path) -> None:
    write_curated({"a": "train", "b": "held_out"})
    render.run(params(), Workspace())
    plain = {name: rendered(name) for name in ("a", "b")}
    varied = params()
    flaws = VideoVariationConfig(
        share=1.0, light=60.0, exposure=0.4, edge=0.02, holes=1, shift=0.02, zoom=0.05, roll=3.0
    )
    varied.render = replace(RENDER, video_variation=flaws)
    render.run(varied, Workspace())
    for clip, before in plain.items():
        different = {name for name, array in rendered(clip).items() if not np.array_equal(array, before[name])}
        assert different == ({"video_rgba", "image_rgba"} if clip == "a" else set())
    videos, before = rendered("a")["video_rgba"], plain["a"]["video_rgba"]
    assert all((one != other).any() for one, other in zip(videos, before))
    overlap = ((videos[..., 3] > 127) & (before[..., 3] > 127)).sum() / (before[..., 3] > 127).sum()
    assert overlap > 0.8  # the same object in nearly the same place
    first = rendered("a")["video_rgba"]
    render.run(varied, Workspace())
    assert np.array_equal(rendered("a")["video_rgba"], first)


def test_images_of_a_clip_do_not_depend_on_the_others(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_curated({"a": "train", "b": "train"})
    render.run(params(), Workspace())
    first = rendered("b")
    assert not np.array_equal(first["train_viewmats"], rendered("a")["train_viewmats"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("alone"))
        write_curated({"b": "train"})
        render.run(params(executor="process"), Workspace())
        alone = rendered("b")
        render.run(params(seed=1), Workspace())
        reseeded = rendered("b")
    for name, array in first.items():
        np.testing.assert_array_equal(array, alone[name])
    assert not np.array_equal(first["train_viewmats"], reseeded["train_viewmats"])


def test_featurize_writes_what_the_models_read(folder: Path) -> None:
    write_curated({"a": "train", "b": "held_out", "c": None})
    render.run(params(), Workspace())
    metrics = featurize.run(params(), Workspace())
    encoder = build_image_encoder(FEATURIZE, torch.device("cpu"))
    for clip_id, num_videos in (("a", 3), ("b", 1)):
        tensors = load_tensors(Workspace().features / f"{clip_id}.safetensors")
        voxels, features, tokens = (tensors[name] for name in ("voxels", "voxel_features", "video_tokens"))
        assert voxels.dtype == torch.int32
        assert features.dtype == tokens.dtype == torch.float16
        assert features.shape == (len(voxels), encoder.voxel_dim)
        assert tokens.shape == (num_videos, 3, encoder.num_tokens, encoder.token_dim)
        assert voxels.min() >= 0
        assert voxels.max() < 8
        assert features.isfinite().all()
        # The box is 0.6 x 0.4 x 0.8: its shell in voxels of 1/8 along x, y, z.
        low, high = voxels.min(dim=0).values.tolist(), voxels.max(dim=0).values.tolist()
        assert (low, high) == ([1, 2, 0], [6, 5, 7])
        front = voxels[:, 1] == 2
        colors = features.float()[:, :3] * 128 / 255 + 127 / 255
        assert colors[front, 0].mean() > 0.6 > 0.1 > colors[front, 2].mean()
    assert metrics["clips"] == 2
    assert metrics["max_voxels"] >= metrics["mean_voxels"]


def test_nothing_accepted_or_rendered_is_said(folder: Path) -> None:
    with pytest.raises(UserError, match=r"clips\.parquet"):
        render.run(params(), Workspace())
    write_curated({"a": None})
    for stage in (render, featurize):
        with pytest.raises(StageError, match="no accepted clip"):
            stage.run(params(), Workspace())


def test_features_need_renders(folder: Path) -> None:
    write_curated({"a": "train"})
    with pytest.raises(StageError, match=r"none of 1 clips .*a\.npz: no such file"):
        featurize.run(params(), Workspace())
    assert not Workspace().features.exists()


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_damaged_clip_costs_itself_alone_and_is_on_record(folder: Path, executor: str) -> None:
    write_curated(dict.fromkeys("abcd", "train"))
    (Workspace().curated / "a.npz").write_bytes(b"no archive")
    metrics = render.run(params(executor=executor), Workspace())
    assert (metrics["clips"], metrics["rejected"]) == (3, 1)
    assert sorted(path.name for path in Workspace().renders.iterdir()) == [
        "b.npz",
        "c.npz",
        "d.npz",
        "rejected.parquet",
    ]
    whole = (Workspace().renders / "b.npz").read_bytes()
    (Workspace().renders / "b.npz").write_bytes(whole[: len(whole) // 2])
    metrics = featurize.run(params(executor=executor), Workspace())
    assert (metrics["clips"], metrics["rejected"]) == (2, 1)
    rows = read_rejections(Workspace().features)
    assert [(row.clip_id, row.stage, row.reason, row.exception) for row in rows] == [
        ("a", "render", "failed", "UserError"),
        ("b", "featurize", "failed", "UserError"),
    ]
    assert all(f"{row.clip_id}.npz: not a readable npz archive" in row.message for row in rows)
    assert clip_ids(Workspace(), "train", after=Workspace().features) == ["c", "d"]
    with pytest.raises(UserError, match=r"split 'held_out'; see .*rejected\.parquet"):
        clip_ids(Workspace(), "held_out", after=Workspace().features)


def test_leftovers_of_a_worker_that_was_killed_are_removed(folder: Path) -> None:
    for name in (".a.7.partial.npz", "a.npz", "b.npz"):
        (folder / name).touch()
    lost = Rejected("a", "timeout", "took longer than 1 s.", "TimeoutError")
    assert record_rejections(folder, "render", [lost, 1.0]) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["b.npz", "rejected.parquet"]
    with pytest.raises(
        StageError, match=r"^render: none of 2 clips .*\(2 for timeout; first: a: took longer than 1 s\.\)"
    ):
        record_rejections(folder, "render", [lost, lost])


def test_the_contact_sheet_takes_videos_of_different_lengths(tmp_path: Path) -> None:
    for name, frames in (("short", 2), ("long", 5)):
        save_npz(
            tmp_path / f"{name}.npz", video_rgba=np.full((1, frames, 4, 4, 4), 255, np.uint8) * np.uint8([0, 0, 0, 1])
        )
    sheet = render.contact_sheet([tmp_path / "short.npz", tmp_path / "long.npz"])
    assert sheet.shape == (8, 20, 3)
    assert (sheet[:4, :8] == 0).all()
    assert (sheet[:4, 8:] == 255).all()
    assert (sheet[4:] == 0).all()
