"""Moving Gaussians as OpenUSD: one `ParticleField3DGaussianSplat` (schema domain UsdVol, OpenUSD 26.03) over time.

Axes and units are ours (z up, one unit is one metre); scales are standard deviations, opacities in [0, 1], orientations are
quaternions whose sign is kept over time so that interpolation between frames takes the short way. Colours are degree-0
coefficients of display sRGB. Time code t is frame t. Attributes that do not change have one value and no time samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.formats.checks import sequence
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.progress import Step
from gvf.storage.files import PathLike, atomic_path

_EXTENT = 3.0  # standard deviations that the bounding box holds around a mean
_APERTURE = 24.0  # millimetres, of the square film of the camera; only its ratio to the focal length matters


def save_usd(
    path: PathLike,
    gaussians: Gaussians,
    frames_per_second: float,
    *,
    low_pass: float,
    compensate: bool,
    camera: OrbitCamera | None,
    step: Step,
) -> None:
    """Write Gaussians [T, N, ...] to a .usdc or .usda file.

    low_pass, compensate: the rendering convention, noted in the layer's custom data since the schema has no attribute
    for it. camera: of the input video, written as `/asset/input_camera`.
    Raises UserError when the package usd-core is missing, and for values that are not finite.
    """
    gaussians = sequence(path, gaussians)
    try:
        from pxr import Usd, UsdGeom, UsdVol
    except ImportError:
        raise UserError(
            "The export to USD needs the package usd-core, release 26.3 or newer. Run `pip install 'gvf[usd]'`."
        ) from None
    with atomic_path(path) as partial:
        stage = Usd.Stage.CreateNew(str(partial))
        _describe(stage, len(gaussians.means), frames_per_second, low_pass, compensate)
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/asset").GetPrim())
        field = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/asset/gaussians")
        Usd.ColorSpaceAPI.Apply(field.GetPrim()).CreateColorSpaceNameAttr("srgb_rec709_scene")
        field.CreateProjectionModeHintAttr("perspective")
        field.CreateSortingModeHintAttr("zDepth")
        field.CreateRadianceSphericalHarmonicsDegreeAttr(0)
        _write_attributes(field, gaussians, step)
        if camera is not None:
            _write_camera(stage, camera)
        stage.GetRootLayer().Save()
        del field, stage  # closes the file


def _describe(stage: Any, num_frames: int, frames_per_second: float, low_pass: float, compensate: bool) -> None:
    from pxr import UsdGeom

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(frames_per_second)
    stage.SetFramesPerSecond(frames_per_second)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(num_frames - 1)
    stage.GetRootLayer().customLayerData = {
        "gvf": {"lowPass": low_pass, "compensate": compensate},
    }


def _write_attributes(field: Any, gaussians: Gaussians, step: Step) -> None:
    from pxr import Vt

    scales = gaussians.scales
    reach = _EXTENT * scales.amax(-1, keepdim=True)
    extents = torch.stack([(gaussians.means - reach).amin(-2), (gaussians.means + reach).amax(-2)], -2)
    columns: Sequence[tuple[Any, Any, Tensor]] = (
        (field.CreatePositionsAttr(), Vt.Vec3fArray, gaussians.means),
        (field.CreateOrientationsAttr(), Vt.QuatfArray, signs_kept(gaussians.quats).roll(-1, -1)),  # stored as xyzw
        (field.CreateScalesAttr(), Vt.Vec3fArray, scales),
        (field.CreateOpacitiesAttr(), Vt.FloatArray, gaussians.opacities),
        (field.CreateRadianceSphericalHarmonicsCoefficientsAttr(), Vt.Vec3fArray, gaussians.colors),
        (field.CreateExtentAttr(), Vt.Vec3fArray, extents),
    )
    moving = [not bool((values == values[:1]).all()) for _, _, values in columns]
    for frame in range(len(scales)):
        for (attribute, kind, values), moves in zip(columns, moving):
            if moves or frame == 0:
                array = kind.FromNumpy(np.ascontiguousarray(values[frame].float().numpy()))
                attribute.Set(array, frame) if moves else attribute.Set(array)
        step.advance()


def signs_kept(quats: Tensor) -> Tensor:
    """Return quaternions [T, N, 4] of the same rotations, each in the hemisphere of the one before it in time."""
    agrees = (quats[1:] * quats[:-1]).sum(-1, keepdim=True) >= 0
    signs = torch.where(agrees, 1.0, -1.0).cumprod(0)
    return torch.cat([quats[:1], signs * quats[1:]])


def _write_camera(stage: Any, camera: OrbitCamera) -> None:
    """Write a camera, whose own axes are x right, y up, z backward in USD."""
    from pxr import Gf, UsdGeom

    to_world = np.linalg.inv(camera.viewmat) @ np.diag([1.0, -1.0, -1.0, 1.0])
    prim = UsdGeom.Camera.Define(stage, "/asset/input_camera")
    prim.AddTransformOp().Set(Gf.Matrix4d(to_world.T.tolist()))  # USD multiplies row vectors
    K = camera.K
    prim.CreateHorizontalApertureAttr(_APERTURE)
    prim.CreateVerticalApertureAttr(_APERTURE)
    prim.CreateFocalLengthAttr(float(K[0, 0] * _APERTURE))
    prim.CreateHorizontalApertureOffsetAttr(float((0.5 - K[0, 2]) * _APERTURE))
    prim.CreateVerticalApertureOffsetAttr(float((K[1, 2] - 0.5) * _APERTURE))
    prim.CreateClippingRangeAttr(Gf.Vec2f(0.01, 100.0))
