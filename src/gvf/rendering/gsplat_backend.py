"""The differentiable rasteriser on CUDA: gsplat, set to the same conventions as `cpu_backend`.

gsplat compiles its CUDA sources at first use, which takes minutes; set CUDA_HOME, TORCH_CUDA_ARCH_LIST and MAX_JOBS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering.view import FOCAL_LENGTH, ZERO_QUATERNION, Scene, View


def draw(scene: Scene, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise all scenes from all their cameras in one launch of every kernel, on CUDA tensors.

    Returns rgb [B, C, H, W, 3] over the background, alpha and expected depth [B, C, H, W]. Raises UserError for values
    that cannot be drawn; this costs one read-back, besides gsplat's own of the number of intersections.
    """
    from gsplat import rasterization

    _check_values(scene)
    batch, num_cameras = scene.viewmats.shape[:2]
    in_pixels = scene.Ks.clone()
    in_pixels[..., 0, :] *= view.width
    in_pixels[..., 1, :] *= view.height
    with torch.autocast("cuda", enabled=False):
        colors_and_depth, alpha, _ = rasterization(
            scene.means,
            scene.quats,
            scene.scales,
            scene.opacities,
            scene.colors,
            scene.viewmats,
            in_pixels,
            view.width,
            view.height,
            near_plane=view.near,
            far_plane=view.far,
            eps2d=view.low_pass,
            packed=False,
            backgrounds=scene.background.expand(batch, num_cameras, 3),
            render_mode="RGB+ED",
            rasterize_mode="antialiased" if view.compensate else "classic",
        )
    return colors_and_depth[..., :3], alpha[..., 0], colors_and_depth[..., 3]


def _check_values(scene: Scene) -> None:
    """Raise UserError for what the CPU backend refuses. Extremes keep NaN and infinity, so one pass per tensor suffices."""
    with torch.no_grad():
        extremes = torch.stack([extreme for tensor in scene for extreme in tensor.aminmax()]).view(-1, 2)
        lenses = scene.Ks.diagonal(dim1=-2, dim2=-1)[..., :2]
        others = torch.stack([scene.quats.any(-1).all(), (lenses > 0).all()])
        passed = torch.cat([extremes.isfinite().all(-1), others]).tolist()
    checks = [*(f"{name}: not finite" for name in Scene._fields), ZERO_QUATERNION, FOCAL_LENGTH]
    faults = [fault for fault, fine in zip(checks, passed) if not fine]
    if faults:
        raise UserError(f"rasterize: {'; '.join(faults)}.")
