"""The differentiable rasteriser on CPUs: `cpu_projection` and `cpu_tiles` combined into one autograd function."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.errors import UserError
from gvf.rendering import cpu_projection, cpu_tiles
from gvf.rendering.cpu_projection import RECORD, TILE
from gvf.rendering.view import FOCAL_LENGTH, ZERO_QUATERNION, Scene, View

_FAULTS = (*(f"{name}: not finite" for name in Scene._fields[:5]), ZERO_QUATERNION)  # by bit, as `project` sets them


class _Binned(NamedTuple):
    """Projected Gaussians sorted into tiles, as the kernels of `cpu_tiles` take them."""

    cameras: np.ndarray
    records: np.ndarray
    num_tiles: np.ndarray
    first_rows: np.ndarray
    entries: np.ndarray
    entry_rows: np.ndarray
    tile_starts: np.ndarray
    reached: np.ndarray
    longest: int


def _chunk_size(num_gaussians: int) -> int:
    """Return the number of Gaussians per work item; it depends on N alone, so that results depend on nothing else."""
    return max(256, -(-num_gaussians // 64))


def _bin(gaussians: tuple[np.ndarray, ...], viewmats: np.ndarray, Ks: np.ndarray, view: View) -> _Binned:
    means, quats, scales, opacities, colors = gaussians
    num_images, num_gaussians = len(viewmats), means.shape[1]
    cameras = cpu_projection.pack_cameras(viewmats, Ks, view.width, view.height)
    chunk = _chunk_size(num_gaussians)
    chunks = -(-num_gaussians // chunk)
    tiles = -(-view.width // TILE) * -(-view.height // TILE)
    records = np.empty((num_images, num_gaussians * RECORD), np.float32)
    num_tiles = np.empty((num_images, num_gaussians), np.int32)
    counts = np.zeros((num_images, chunks, tiles), np.int64)
    faults = np.zeros((num_images, chunks), np.int64)
    kernels.run(
        cpu_projection.project, num_images * chunks, 4, means, quats, scales, opacities, colors, cameras,
        view.width, view.height, view.near, view.far, view.low_pass, view.compensate,
        chunk, records, num_tiles, counts, faults,
    )  # fmt: skip
    if faults.any():
        found = int(np.bitwise_or.reduce(faults, axis=None))
        raise UserError(f"rasterize: {'; '.join(text for bit, text in enumerate(_FAULTS) if found >> bit & 1)}.")
    tile_starts = np.empty(num_images * tiles + 1, np.int64)
    row_starts = np.empty((num_images, chunks), np.int64)
    longest = cpu_tiles.lay_out(counts, tile_starts, row_starts)
    first_rows = np.empty((num_images, num_gaussians), np.int64)
    entries = np.empty(tile_starts[-1], np.int32)
    entry_rows = np.empty(tile_starts[-1], np.int64)
    kernels.run(
        cpu_tiles.fill_tiles, num_images * chunks, 16, records, num_tiles, view.width, view.height, chunk, counts,
        row_starts, first_rows, entries, entry_rows,
    )  # fmt: skip
    reached = np.empty(len(entries) + 64 * num_images * tiles, np.uint64)
    return _Binned(cameras, records, num_tiles, first_rows, entries, entry_rows, tile_starts, reached, int(longest))


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        background: Tensor,
        Ks: Tensor,
        view: View,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tensors = (means, quats, scales, opacities, colors)
        gaussians = tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
        binned = _bin(gaussians, viewmats.detach().numpy(), Ks.detach().numpy(), view)
        num_images = len(viewmats)
        rgb = torch.empty(num_images, view.height, view.width, 3)
        alpha = torch.empty(num_images, view.height, view.width)
        depth = torch.empty(num_images, view.height, view.width)
        kernels.run(
            cpu_tiles.draw_tiles, len(binned.tile_starts) - 1, 2, binned.records, binned.entries, binned.entry_rows,
            binned.tile_starts, binned.longest, view.width, view.height, background.detach().numpy(), binned.reached,
            rgb.numpy(), alpha.numpy(), depth.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(*tensors, background, alpha, depth)
        ctx.binned, ctx.view = binned, view
        ctx.set_materialize_grads(True)
        return rgb, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor, grad_alpha: Tensor, grad_depth: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, background, alpha, depth = ctx.saved_tensors
        binned: _Binned = ctx.binned
        view: View = ctx.view
        means, quats, scales, opacities, _ = (tensor.detach().contiguous().numpy() for tensor in tensors)
        grads = [torch.empty(tensor.shape) for tensor in tensors]
        rows = np.empty(len(binned.entries) * RECORD, np.float32)
        grad_images = [grad.float().contiguous() for grad in (grad_rgb, grad_alpha, grad_depth)]
        kernels.run(
            cpu_tiles.draw_tiles_backward, len(binned.tile_starts) - 1, 2, binned.records, binned.entries,
            binned.entry_rows, binned.tile_starts, binned.longest, view.width, view.height,
            background.detach().numpy(), binned.reached, alpha.detach().numpy(), depth.detach().numpy(),
            *(grad.numpy() for grad in grad_images), rows,
        )  # fmt: skip
        batch, num_gaussians = means.shape[:2]
        chunk = _chunk_size(num_gaussians)
        chunks = -(-num_gaussians // chunk)
        with_cameras = ctx.needs_input_grad[5]
        grad_cameras = np.zeros((len(binned.cameras), chunks, 12) if with_cameras else (0, 0, 12))
        kernels.run(
            cpu_projection.project_backward, batch * chunks, 4, means, quats, scales, opacities, binned.cameras,
            view.low_pass, view.compensate, chunk, binned.first_rows, binned.num_tiles, rows,
            *(grad.numpy() for grad in grads), grad_cameras,
        )  # fmt: skip
        grad_viewmats = grad_background = None
        if with_cameras:
            sums = torch.from_numpy(grad_cameras.sum(1)).float()
            grad_viewmats = torch.zeros(len(sums), 4, 4)
            grad_viewmats[:, :3, :3] = sums[:, :9].view(-1, 3, 3)
            grad_viewmats[:, :3, 3] = sums[:, 9:]
        if ctx.needs_input_grad[6]:
            grad_background = ((1 - alpha)[..., None] * grad_images[0]).sum((0, 1, 2))
        return (*grads, grad_viewmats, grad_background, None, None)


def draw(scene: Scene, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise all scenes from all their cameras, on CPU tensors.

    Returns rgb [B, C, H, W, 3] over the background, alpha and expected depth [B, C, H, W]. Raises UserError for values
    that cannot be drawn.
    """
    for name in ("viewmats", "Ks", "background"):  # those of the Gaussians are checked as they are projected
        if not np.isfinite(getattr(scene, name).detach().numpy()).all():
            raise UserError(f"rasterize: {name}: not finite.")
    if not (scene.Ks.detach().numpy()[..., (0, 1), (0, 1)] > 0).all():
        raise UserError(f"rasterize: {FOCAL_LENGTH}.")
    batch, num_cameras = scene.viewmats.shape[:2]
    rgb, alpha, depth = _Rasterize.apply(
        *scene[:5], scene.viewmats.flatten(0, 1), scene.background, scene.Ks.flatten(0, 1), view
    )
    shape = (batch, num_cameras, view.height, view.width)
    return rgb.view(*shape, 3), alpha.view(shape), depth.view(shape)
