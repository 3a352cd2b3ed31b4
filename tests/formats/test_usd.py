"""USD files, opened again with OpenUSD: schema, types, time samples, and an image of what they hold."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.formats.usd import save_usd, signs_kept
from gvf.gaussians.gaussians import Gaussians
from gvf.progress import Progress
from tests.formats.moving import CAMERA, COMPENSATE, LOW_PASS, moving_object, picture, psnr


def save(path: Path, gaussians: Gaussians, rate: float = 12.0, camera=CAMERA) -> None:
    with Progress().step("write") as step:
        save_usd(path, gaussians, rate, low_pass=LOW_PASS, compensate=COMPENSATE, camera=camera, step=step)


def read_frame(path: Path, time: float) -> Gaussians:
    """Read the Gaussians of one time code."""
    from pxr import Usd, UsdVol

    stage = Usd.Stage.Open(str(path))
    field = UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath("/asset/gaussians"))
    columns = (
        field.GetPositionsAttr(),
        field.GetRadianceSphericalHarmonicsCoefficientsAttr(),
        field.GetScalesAttr(),
        field.GetOrientationsAttr(),
        field.GetOpacitiesAttr(),
    )
    means, colors, scales, _, opacities = (torch.tensor(np.array(column.Get(time))) for column in columns)
    quats = [[quat.real, *quat.imaginary] for quat in columns[3].Get(time)]
    return Gaussians.from_rendered(means, colors, scales, torch.tensor(quats), opacities)


def test_the_stage_holds_the_schema_and_a_sample_per_frame(tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom, UsdVol

    moving = moving_object(40)
    save(tmp_path / "asset.usdc", moving)
    stage = Usd.Stage.Open(str(tmp_path / "asset.usdc"))
    assert (tmp_path / "asset.usdc").read_bytes()[:8] == b"PXR-USDC"
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert (stage.GetTimeCodesPerSecond(), stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (12, 0, 2)
    assert stage.GetRootLayer().customLayerData["gvf"] == {"lowPass": LOW_PASS, "compensate": COMPENSATE}
    prim = stage.GetDefaultPrim().GetChild("gaussians")
    assert prim.GetTypeName() == "ParticleField3DGaussianSplat"
    assert prim.IsA(UsdVol.ParticleField)
    assert Usd.ColorSpaceAPI.ComputeColorSpaceName(prim, None) == "srgb_rec709_scene"
    field = UsdVol.ParticleField3DGaussianSplat(prim)
    assert field.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 0
    assert [len(field.GetPositionsAttr().Get(time)) for time in range(3)] == [40] * 3
    assert field.GetPositionsAttr().GetTimeSamples() == [0, 1, 2]
    colors = field.GetRadianceSphericalHarmonicsCoefficientsAttr()
    assert colors.GetNumTimeSamples() == 0  # they do not change
    assert len(colors.Get()) == 40
    low, high = np.array(field.GetExtentAttr().Get(1))
    assert (low < moving.means[1].numpy()).all()
    assert (moving.means[1].numpy() < high).all()
    assert all(attribute.GetTypeName() != "token" or attribute.Get() for attribute in prim.GetAuthoredAttributes())


def test_openusd_finds_nothing_to_object(tmp_path: Path) -> None:
    from pxr import Usd, UsdValidation

    save(tmp_path / "asset.usdc", moving_object(40))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 20
    stage = Usd.Stage.Open(str(tmp_path / "asset.usdc"))
    assert [found.GetMessage() for found in UsdValidation.ValidationContext(validators).Validate(stage)] == []


@pytest.mark.parametrize("frame", [0, 2])
def test_every_frame_draws_the_same_image(tmp_path: Path, frame: int) -> None:
    moving = moving_object(500)
    save(tmp_path / "asset.usdc", moving)
    assert psnr(picture(read_frame(tmp_path / "asset.usdc", frame)), picture(moving[frame])) > 70


def test_between_frames_gaussians_turn_the_short_way(tmp_path: Path) -> None:
    moving = moving_object(40, 2)
    flipped = torch.cat([moving.quats[:1], -moving.quats[1:]])
    moving = Gaussians.from_rendered(moving.means, moving.colors, moving.scales, flipped, moving.opacities)
    save(tmp_path / "asset.usdc", moving)
    between = read_frame(tmp_path / "asset.usdc", 0.5)
    middle = torch.nn.functional.normalize(flipped[0] - flipped[1], dim=-1)  # q and -q are the same rotation
    assert float((between.quats * middle).sum(-1).abs().min()) > 0.9999
    torch.testing.assert_close(between.means, moving.means.mean(0))


def test_signs_follow_the_frame_before() -> None:
    one = torch.tensor([1.0, 0.0, 0.0, 0.0])
    turned = torch.tensor([0.8, 0.6, 0.0, 0.0])
    kept = signs_kept(torch.stack([one, -turned, turned, -one])[:, None])
    torch.testing.assert_close(kept[:, 0], torch.stack([one, turned, turned, one]))


def test_the_camera_shows_points_where_ours_does(tmp_path: Path) -> None:
    from pxr import Gf, Usd, UsdGeom

    from gvf.geometry.camera import project

    save(tmp_path / "asset.usdc", moving_object(4))
    stage = Usd.Stage.Open(str(tmp_path / "asset.usdc"))
    frustum = UsdGeom.Camera(stage.GetPrimAtPath("/asset/input_camera")).GetCamera(0).frustum
    matrix = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
    for point in ([0.0, 0.0, 0.0], [0.3, -0.2, 0.1], [-0.1, 0.4, -0.3]):
        x, y, _ = matrix.Transform(Gf.Vec3d(*point))
        expected, _ = project(np.array([point]), CAMERA.viewmat, CAMERA.K)
        np.testing.assert_allclose([(1 + x) / 2, (1 - y) / 2], expected[0], atol=1e-6)


def test_text_layers_and_still_objects_have_no_samples(tmp_path: Path) -> None:
    save(tmp_path / "still.usda", moving_object(3, 1), camera=None)
    text = (tmp_path / "still.usda").read_text()
    assert text.startswith("#usda")
    assert "timeSamples" not in text
    assert "input_camera" not in text


def test_without_the_package_the_remedy_is_named_and_nothing_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(UserError, match=r"pip install 'gvf\[usd\]'"):
        save(tmp_path / "asset.usdc", moving_object(3))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    moving = moving_object(3)
    moving.raw_opacities[1, 0] = float("inf")
    with pytest.raises(UserError, match="raw_opacities"):
        save(tmp_path / "asset.usdc", moving)
    assert list(tmp_path.iterdir()) == []
