"""Seconds of forward + backward rasterisation: ours beside a plain torch rasteriser, and gsplat where CUDA is.

The scene is a sphere shell of radius 0.4 seen by one camera from distance 2 (field of view 40 degrees): Gaussians with
random rotations, scales of 0.6 times their mean spacing (log-normal, sigma 0.3) and opacity 0.8. Everything counts:
projection, binning, sorting, pixels, autograd. The peer is what one writes without custom kernels: tiles of 16 x 16
pixels, each a dense [Gaussians, pixels] computation in torch operations, gradients by autograd.

    python benchmarks/rasterize.py [--repeats 20] [--threads 2] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gvf.files import write_json
from gvf.rendering.rasterize import rasterize

SIZES = ((4_000, 128), (20_000, 256), (100_000, 512))
LOW_PASS = 0.3


def shell(count: int) -> list[Tensor]:
    """means, quats, scales, opacities, colors of `count` Gaussians on a sphere."""
    generator = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 0.4
    spacing = math.sqrt(4 * math.pi * 0.4**2 / count)
    scales = 0.6 * spacing * torch.exp(0.3 * torch.randn(count, 3, generator=generator))
    quats = torch.randn(count, 4, generator=generator)
    return [means, quats, scales, torch.full((count,), 0.8), torch.rand(count, 3, generator=generator)]


def camera() -> tuple[Tensor, Tensor]:
    """viewmats [1, 4, 4] and normalised Ks [1, 3, 3] of a camera at (0, -2, 0) looking along +y."""
    viewmat = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 2], [0, 0, 0, 1]])
    focal = 0.5 / math.tan(math.radians(20))
    return viewmat[None], torch.tensor([[[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]]])


def ours(scene: list[Tensor], size: int) -> Tensor:
    means, quats, scales, opacities, colors = scene
    viewmats, Ks = (tensor.to(means.device) for tensor in camera())
    return rasterize(means, quats, scales, opacities, colors, viewmats, Ks, size, size, low_pass=LOW_PASS).rgb[0]


def plain_torch(scene: list[Tensor], size: int, tile: int = 16) -> Tensor:
    """The same picture from torch operations, tile by tile."""
    means, quats, scales, opacities, colors = scene
    viewmats, Ks = camera()
    centre = means @ viewmats[0, :3, :3].T + viewmats[0, :3, 3]
    order = centre[:, 2].detach().argsort()
    centre, opacities, colors = centre[order], opacities[order], colors[order]
    w, x, y, z = torch.nn.functional.normalize(quats[order], dim=-1).unbind(-1)
    axes = torch.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        dim=-1,
    ).view(-1, 3, 3)
    cx, cy, cz = centre.unbind(-1)
    focal = Ks[0, 0, 0] * size
    zero = torch.zeros_like(cz)
    jacobian = torch.stack([focal / cz, zero, -focal * cx / cz**2, zero, focal / cz, -focal * cy / cz**2], -1)
    half = jacobian.view(-1, 2, 3) @ viewmats[0, :3, :3] @ (axes * scales[order][:, None])
    covariance = half @ half.mT + LOW_PASS * torch.eye(2)
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    u, v = focal * cx / cz + size / 2, focal * cy / cz + size / 2
    table = torch.cat([torch.stack([u, v, a, b, c, a * c - b * b, opacities], -1), colors], -1)
    corners = [(left, top) for top in range(0, size, tile) for left in range(0, size, tile)]
    lists = _tile_lists(table.detach(), corners, tile)
    # One gather for all tiles: its gradient is one scatter instead of one of the whole table a tile.
    parts = table[torch.cat(lists)].split([len(chosen) for chosen in lists])
    steps = torch.arange(tile) + 0.5
    tiles = []
    for (left, top), part in zip(corners, parts):
        u, v, a, b, c, det, opacity = (part[:, i, None, None] for i in range(7))
        dx, dy = left + steps - u, (top + steps - v[..., 0])[:, :, None]
        square = (c * dx.square() + a * dy.square() - 2 * b * dx * dy) / det
        alpha = (opacity * torch.exp(-0.5 * square)).clamp_max(0.999)
        alpha = alpha.where(alpha >= 1 / 255, 0)
        after = (1 - alpha).cumprod(0)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        weight = (alpha * before).where(after > 1e-4, 0)
        tiles.append(torch.einsum("nhw,nc->hwc", weight, part[:, 7:]))
    count = size // tile
    return torch.stack(tiles).view(count, count, tile, tile, 3).transpose(1, 2).reshape(size, size, 3)


def _tile_lists(table: Tensor, corners: list[tuple[int, int]], tile: int) -> list[Tensor]:
    """Rows of the depth-sorted table whose box reaches each tile."""
    u, v, a, _, c = table[:, :5].unbind(-1)
    level = 2 * torch.log(255 * table[:, 6])
    reach_x, reach_y = (level * a).sqrt(), (level * c).sqrt()
    lists, row = [], -1
    for left, top in corners:
        if top != row:
            row = top
            inside = ((v + reach_y > top) & (v - reach_y < top + tile)).nonzero()[:, 0]
            low, high = (u - reach_x)[inside], (u + reach_x)[inside]
        lists.append(inside[(high > left) & (low < left + tile)])
    return lists


def measure(
    draw: Callable[[list[Tensor], int], Tensor], count: int, size: int, repeats: int, device: str
) -> list[float]:
    """Seconds of each of `repeats` forward + backward calls, after one to warm up where there are several."""
    scene = [tensor.to(device).requires_grad_() for tensor in shell(count)]
    weights = torch.rand(size, size, 3, generator=torch.Generator().manual_seed(1)).to(device)
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        for tensor in scene:
            tensor.grad = None
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        draw(scene, size).backward(weights)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[-repeats:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/rasterize.json"))
    options = parser.parse_args()
    results: list[dict[str, object]] = []
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'Gaussians':>10} {'pixels':>10} {'engine':>16} {'threads':>8} {'best ms':>9} {'median ms':>10}")
    for count, size in SIZES:
        engines = [("ours, CPU", ours, 1, options.repeats, "cpu")]
        if options.threads > 1:
            engines.append(("ours, CPU", ours, options.threads, options.repeats, "cpu"))
        if torch.cuda.is_available():
            engines.append(("gsplat, CUDA", ours, 1, options.repeats, "cuda"))
        engines.append(("plain torch, CPU", plain_torch, options.threads, 1, "cpu"))
        torch.set_num_threads(options.threads)
        scene = shell(count)
        difference = float((ours(scene, size) - plain_torch(scene, size)).abs().mean())
        for name, draw, threads, repeats, device in engines:
            torch.set_num_threads(threads)
            seconds = measure(draw, count, size, repeats, device)
            best, median = 1e3 * min(seconds), 1e3 * statistics.median(seconds)
            print(f"{count:>10} {size:>6}^2   {name:>16} {threads:>8} {best:>9.2f} {median:>10.2f}", flush=True)
            results.append(
                {"gaussians": count, "size": size, "engine": name, "threads": threads, "best_ms": best,
                 "median_ms": median, "repeats": repeats, "mean_difference_to_plain_torch": difference}
            )  # fmt: skip
    write_json(options.output, {"machine": platform.platform(), "torch": torch.__version__, "results": results})
    print(f"{options.output}: {len(results)} rows; mean colour difference of the engines {json.dumps(difference)}")


if __name__ == "__main__":
    main()
