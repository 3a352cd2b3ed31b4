"""Gaussian rasterisation in one function: gsplat on CUDA, compiled loops on CPU, the same image from both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering.view import Scene, View

_AXES = (2, 2, 2, 1, 2, 3, 3)  # of one scene's means, quats, scales, opacities, colors, viewmats, Ks


@dataclass(frozen=True)
class RasterizedViews:
    """Rendered images of Gaussians, float32.

    rgb: [..., C, H, W, 3] premultiplied by alpha, over the background where one was given.
    alpha: [..., C, H, W] in [0, 1]. depth: [..., C, H, W] expected camera z, object units; 0 where alpha is 0.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *,
    near: float = 0.01,
    far: float = 100.0,
    background: Tensor | None = None,
    low_pass: float = 0.3,
    compensate: bool = False,
) -> RasterizedViews:
    """Draw Gaussians by EWA splatting (3DGS), front to back, from all cameras of all scenes in one call.

    means: [..., N, 3] object units. quats: [..., N, 4] wxyz, any length but zero. scales: [..., N, 3] standard
    deviations. opacities: [..., N]. colors: [..., N, 3] RGB. viewmats: [..., C, 4, 4] world to camera, OpenCV axes.
    Ks: [..., C, 3, 3] normalised by image size, skew is not read. Leading axes broadcast against each other: [T, N, 3]
    Gaussians and [C, 4, 4] cameras give T x C images.
    near, far: camera z outside which a Gaussian is dropped. background: [3] RGB, black when None.
    low_pass: variance in pixels^2 added to every projected Gaussian. compensate: lower opacities to make up for the
    added area (Mip-Splatting, gsplat's "antialiased"); the paper's release renders with low_pass=0.1, compensate=True.

    Returns float32 images whatever the floating dtype of the input. Gradients reach means, quats, scales, opacities,
    colors, viewmats and background. Raises UserError for shapes, dtypes, devices or values that cannot be drawn;
    no Gaussians give the background, no cameras an empty tensor, both with gradients of zero.
    """
    backdrop = torch.zeros(3, device=getattr(means, "device", None)) if background is None else background
    scene = Scene(means, quats, scales, opacities, colors, viewmats, Ks, backdrop)
    lead = _check(scene)
    for name, length in (("width", width), ("height", height)):
        if not isinstance(length, (int, np.integer)) or length < 1:
            raise UserError(f"rasterize: {name} must be a whole number of pixels, at least 1, found {length}.")
    if not 0 < near < far:
        raise UserError(f"rasterize: needs 0 < near < far, found near={near}, far={far}.")
    if not 0 <= low_pass < float("inf"):
        raise UserError(f"rasterize: low_pass must be zero or positive, found {low_pass}.")
    tensors = [
        tensor.float().expand(*lead, *tensor.shape[-axes:]).reshape(math.prod(lead), *tensor.shape[-axes:])
        for tensor, axes in zip(scene, _AXES)
    ]
    batched = Scene._make([*tensors, backdrop.float()])
    shape = (*lead, viewmats.shape[-3], height, width)
    if means.shape[-2] == 0 or shape.count(0):
        nothing = torch.stack([tensor.flatten()[:0].sum() for tensor in batched]).sum()  # 0, and its gradients too
        alpha = nothing.expand(shape).clone()
        return RasterizedViews(batched.background + alpha[..., None], alpha, alpha.clone())
    if means.is_cuda:
        from gvf.rendering.gsplat_backend import draw
    else:
        from gvf.rendering.cpu_backend import draw
    view = View(int(width), int(height), float(near), float(far), float(low_pass), bool(compensate))
    rgb, alpha, depth = draw(batched, view)
    return RasterizedViews(rgb.view(*shape, 3), alpha.view(shape), depth.view(shape))


def _check(scene: Scene) -> tuple[int, ...]:
    """Return the broadcast leading axes of a scene. Raises UserError naming the first tensor that does not fit."""
    for name, tensor in zip(Scene._fields, scene):
        if not isinstance(tensor, Tensor):
            raise UserError(f"rasterize: {name} must be a torch tensor, found {type(tensor).__name__}.")
    means, viewmats = scene.means, scene.viewmats
    gaussians = means.shape[-2] if means.ndim > 1 else "N"
    cameras = viewmats.shape[-3] if viewmats.ndim > 2 else "C"
    tails: tuple[tuple[int | str, ...], ...] = (
        (gaussians, 3), (gaussians, 4), (gaussians, 3), (gaussians,), (gaussians, 3),
        (cameras, 4, 4), (cameras, 3, 3), (3,),
    )  # fmt: skip
    leads = []
    for name, tensor, tail in zip(Scene._fields, scene, tails):
        found = tuple(tensor.shape)
        lead = found[: max(0, len(found) - len(tail))]
        if found != (*lead, *tail) or (lead and name == "background"):
            before = "" if name == "background" else "..., "
            raise UserError(
                f"rasterize: {name} needs shape [{before}{', '.join(map(str, tail))}], found {list(found)}."
            )
        if not tensor.is_floating_point():
            raise UserError(f"rasterize: {name} must be floating point, found {tensor.dtype}.")
        if tensor.device != means.device:
            raise UserError(f"rasterize: {name} is on {tensor.device}, means on {means.device}; use one device.")
        leads.append(lead)
    if means.device.type not in ("cpu", "cuda"):
        raise UserError(f"rasterize: no backend for device {means.device}; use cpu or cuda.")
    try:
        return np.broadcast_shapes(*leads)  # torch's own imports sympy: a second at first use
    except ValueError:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in zip(Scene._fields, scene))
        raise UserError(f"rasterize: leading axes do not broadcast: {shapes}.") from None
