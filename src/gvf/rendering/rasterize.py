"""One door to Gaussian rasterisation: gsplat on CUDA, our own compiled loops on CPU, the same picture from both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering.view import View


@dataclass(frozen=True)
class RasterizedViews:
    """Pictures of Gaussians, float32.

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
    Ks: [..., C, 3, 3] normalised by image size. Leading axes broadcast against each other: [T, N, 3] Gaussians and
    [C, 4, 4] cameras give T x C images.
    near, far: camera z outside which a Gaussian is dropped. background: [3] RGB, black when None.
    low_pass: variance in pixels^2 added to every projected Gaussian. compensate: lower opacities by what that adds in
    area (Mip-Splatting, gsplat's "antialiased"); the paper's release renders with low_pass=0.1, compensate=True.

    Returns float32 images whatever the floating dtype of the input. Gradients reach means, quats, scales, opacities,
    colors, viewmats and background. Raises UserError for shapes, dtypes, devices or values that cannot be drawn;
    no Gaussians give the background, no cameras an empty tensor.
    """
    lead = _check(means, quats, scales, opacities, colors, viewmats, Ks, background, width, height)
    if not 0 < near < far:
        raise UserError(f"rasterize: needs 0 < near < far, found near={near}, far={far}.")
    if not 0 <= low_pass < float("inf"):
        raise UserError(f"rasterize: low_pass must be zero or positive, found {low_pass}.")

    def batch(tensor: Tensor, axes: int) -> Tensor:
        tail = tensor.shape[-axes:]
        return tensor.float().expand(*lead, *tail).reshape(-1, *tail)

    backdrop = means.new_zeros(3).float() if background is None else background.float()
    num_cameras = viewmats.shape[-3]
    shape = (*lead, num_cameras, height, width)
    if means.shape[-2] == 0 or shape.count(0):
        rgb = backdrop.expand(*shape, 3).clone()
        return RasterizedViews(rgb, rgb.new_zeros(shape), rgb.new_zeros(shape))
    if means.is_cuda:
        from gvf.rendering.gsplat_backend import draw
    else:
        from gvf.rendering.cpu_backend import draw
    rgb, alpha, depth = draw(
        batch(means, 2),
        batch(quats, 2),
        batch(scales, 2),
        batch(opacities, 1),
        batch(colors, 2),
        batch(viewmats, 3),
        batch(Ks, 3),
        backdrop,
        View(int(width), int(height), float(near), float(far), float(low_pass), bool(compensate)),
    )
    return RasterizedViews(rgb.view(*shape, 3), alpha.view(shape), depth.view(shape))


def _check(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    background: Tensor | None,
    width: int,
    height: int,
) -> tuple[int, ...]:
    """The broadcast leading axes of the inputs. Raises UserError naming the first input that does not fit."""
    if means.ndim < 2:
        raise UserError(f"rasterize: means needs shape [..., N, 3], found {list(means.shape)}.")
    gaussians = means.shape[-2]
    wanted: dict[str, tuple[Tensor, tuple[int | str, ...]]] = {
        "means": (means, (gaussians, 3)),
        "quats": (quats, (gaussians, 4)),
        "scales": (scales, (gaussians, 3)),
        "opacities": (opacities, (gaussians,)),
        "colors": (colors, (gaussians, 3)),
        "viewmats": (viewmats, ("C", 4, 4)),
        "Ks": (Ks, (viewmats.shape[-3] if viewmats.ndim > 2 else "C", 3, 3)),
    }
    if background is not None:
        if tuple(background.shape) != (3,):
            raise UserError(f"rasterize: background needs shape [3], found {list(background.shape)}.")
        wanted["background"] = (background, (3,))
    leads = []
    for name, (tensor, tail) in wanted.items():
        found = tuple(tensor.shape)
        fits = len(found) >= len(tail) and all(
            want in ("C", have) for want, have in zip(tail, found[len(found) - len(tail) :])
        )
        if not fits:
            raise UserError(f"rasterize: {name} needs shape [..., {', '.join(map(str, tail))}], found {list(found)}.")
        if not tensor.is_floating_point():
            raise UserError(f"rasterize: {name} must be floating point, found {tensor.dtype}.")
        if tensor.device != means.device:
            raise UserError(f"rasterize: {name} is on {tensor.device}, means on {means.device}; use one device.")
        leads.append(found[: len(found) - len(tail)])
    if means.device.type not in ("cpu", "cuda"):
        raise UserError(f"rasterize: no backend for device {means.device}; use cpu or cuda.")
    if width < 1 or height < 1:
        raise UserError(f"rasterize: width and height must be at least 1, found {width} x {height}.")
    try:
        return np.broadcast_shapes(*leads)  # torch's own imports sympy: a second at first use
    except ValueError:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, (tensor, _) in wanted.items())
        raise UserError(f"rasterize: leading axes do not broadcast: {shapes}.") from None
