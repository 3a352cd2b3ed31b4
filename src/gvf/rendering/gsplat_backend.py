"""The differentiable rasteriser on CUDA: gsplat, told to follow the same conventions as `cpu_backend`.

gsplat compiles its CUDA sources at first use, for minutes; set CUDA_HOME, TORCH_CUDA_ARCH_LIST and MAX_JOBS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering.view import View


def draw(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    background: Tensor,
    view: View,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise B scenes from C cameras each in one launch; float32 CUDA tensors of one device, checked by the caller.

    means [B, N, 3], quats [B, N, 4], scales [B, N, 3], opacities [B, N], colors [B, N, 3], viewmats [B, C, 4, 4],
    Ks [B, C, 3, 3] normalised, background [3]. Returns rgb [B, C, H, W, 3] over the background, alpha and expected
    depth [B, C, H, W]. Raises UserError for parameters that are not finite: one read-back, beside gsplat's own of
    the number of intersections.
    """
    from gsplat import rasterization

    _check_values(means, quats, scales, opacities, colors, viewmats, Ks)
    batch, num_cameras = viewmats.shape[:2]
    in_pixels = Ks.clone()
    in_pixels[..., 0, :] *= view.width
    in_pixels[..., 1, :] *= view.height
    with torch.autocast("cuda", enabled=False):
        colors_and_depth, alpha, _ = rasterization(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            in_pixels,
            view.width,
            view.height,
            near_plane=view.near,
            far_plane=view.far,
            eps2d=view.low_pass,
            packed=False,
            backgrounds=background.expand(batch, num_cameras, 3),
            render_mode="RGB+ED",
            rasterize_mode="antialiased" if view.compensate else "classic",
        )
    return colors_and_depth[..., :3], alpha[..., 0], colors_and_depth[..., 3]


def _check_values(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmats: Tensor, Ks: Tensor
) -> None:
    with torch.no_grad():
        checks = {
            "means: not finite": means.isfinite().all(),
            "quats: not finite": quats.isfinite().all(),
            "scales: not finite": scales.isfinite().all(),
            "opacities: not finite": opacities.isfinite().all(),
            "colors: not finite": colors.isfinite().all(),
            "quats: a quaternion of length zero": quats.any(-1).all(),
            "viewmats: not finite": viewmats.isfinite().all(),
            "Ks: not finite, or a focal length that is not positive": (
                Ks.isfinite().all() & (Ks[..., (0, 1), (0, 1)] > 0).all()
            ),
        }
        passed = torch.stack(list(checks.values())).tolist()
    faults = [fault for fault, fine in zip(checks, passed) if not fine]
    if faults:
        raise UserError(f"rasterize: {'; '.join(faults)}.")
