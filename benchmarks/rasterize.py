"""Measure forward + backward rasterisation: ours beside a plain torch rasteriser, and gsplat where CUDA is available.

The scene is a sphere shell of radius 0.4 seen by one camera from distance 2 (field of view 40 degrees): Gaussians with
random rotations, scales of 0.6 times their mean spacing (log-normal, sigma 0.3) and opacity 0.8. Everything counts:
projection, binning, sorting, pixels, autograd. The peer is what one writes without custom kernels: tiles of 16 x 16
pixels, each a dense [Gaussians, pixels] computation in torch operations, gradients by autograd.

Share of peak: operations per second divided by what chains of fused multiply-adds reach on the same threads in the same run.
Operations are counted for pairs of a pixel and a Gaussian that are composited, as many as a pair needs in the formula we
use (`FORWARD`, `BACKWARD`; a fused multiply-add is two). Everything else counts as time only: unused lanes,
comparisons, selections, integers, memory, projection, sorting, autograd.

    python benchmarks/rasterize.py [--repeats 20] [--threads 2] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gvf.compiled import kernels
from gvf.compiled.simd import LANES, fma, splat, store, take_next
from gvf.rendering.rasterize import rasterize
from gvf.storage.files import write_json

SIZES = ((4_000, 128), (20_000, 256), (100_000, 512))
LOW_PASS = 0.3
PEER_REPEATS = 3
# offsets 4, quadratic form 6, exponential 13; weight 1, transmittance 2, three colours and depth 8
FORWARD = 4 + 6 + 13 + 1 + 2 + 8
# alpha and transmittance again 25; colour . gradient 8, what lies behind 2, weight 1, q 1, offsets 4; ten products, less
# q itself, 9, and ten additions to the sums
BACKWARD = 25 + 8 + 2 + 1 + 1 + 4 + 9 + 10
CHAINS = 16
ROUNDS = 4_000_000


@kernels.helper
def spin(counter, rounds, out):  # type: ignore[no-untyped-def]
    """Run sixteen independent chains of `rounds` fused multiply-adds on sixteen lanes for each item."""
    factor, term = splat(0.999), splat(0.001)
    while True:
        item = take_next(counter)
        if item >= len(out) // LANES:
            return
        a = b = c = d = e = f = g = h = i = j = k = l = m = n = o = p = splat(np.float32(item))  # noqa: E741
        for _ in range(rounds):
            a, b, c, d = fma(a, factor, term), fma(b, factor, term), fma(c, factor, term), fma(d, factor, term)
            e, f, g, h = fma(e, factor, term), fma(f, factor, term), fma(g, factor, term), fma(h, factor, term)
            i, j, k, l = fma(i, factor, term), fma(j, factor, term), fma(k, factor, term), fma(l, factor, term)  # noqa: E741
            m, n, o, p = fma(m, factor, term), fma(n, factor, term), fma(o, factor, term), fma(p, factor, term)
        store(out, item * LANES, a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p)


def peak(threads: int) -> float:
    """Return the float32 operations per second of `threads` threads, the best of five tries."""
    torch.set_num_threads(threads)
    out = np.empty(threads * LANES, np.float32)
    kernels.run(spin, threads, 1, 1, out)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        kernels.run(spin, threads, 1, ROUNDS, out)
        seconds.append(time.perf_counter() - start)
    return 2.0 * CHAINS * LANES * ROUNDS * threads / min(seconds)


def shell(count: int) -> list[Tensor]:
    """Return means, quats, scales, opacities, colors of `count` Gaussians on a sphere."""
    generator = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 0.4
    spacing = math.sqrt(4 * math.pi * 0.4**2 / count)
    scales = 0.6 * spacing * torch.exp(0.3 * torch.randn(count, 3, generator=generator))
    quats = torch.randn(count, 4, generator=generator)
    return [means, quats, scales, torch.full((count,), 0.8), torch.rand(count, 3, generator=generator)]


def camera() -> tuple[Tensor, Tensor]:
    """Return viewmats [1, 4, 4] and normalised Ks [1, 3, 3] of a camera at (0, -2, 0) looking along +y."""
    viewmat = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 2], [0, 0, 0, 1]])
    focal = 0.5 / math.tan(math.radians(20))
    return viewmat[None], torch.tensor([[[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]]])


def ours(scene: list[Tensor], size: int) -> Tensor:
    means, quats, scales, opacities, colors = scene
    viewmats, Ks = (tensor.to(means.device) for tensor in camera())
    return rasterize(means, quats, scales, opacities, colors, viewmats, Ks, size, size, low_pass=LOW_PASS).rgb[0]


def plain_torch(scene: list[Tensor], size: int) -> Tensor:
    """Return the same image from torch operations, tile by tile."""
    tile = 16
    parts = [torch.einsum("nhw,nc->hwc", weight, colors) for weight, colors in tile_weights(scene, size, tile)]
    count = size // tile
    return torch.stack(parts).view(count, count, tile, tile, 3).transpose(1, 2).reshape(size, size, 3)


def composited(scene: list[Tensor], size: int) -> int:
    """Return the number of pairs of a pixel and a Gaussian that contribute to the image."""
    with torch.no_grad():
        return sum(int((weight > 0).sum()) for weight, _ in tile_weights(scene, size, 16))


def tile_weights(scene: list[Tensor], size: int, tile: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Return blending weights [n, tile, tile] and colours [n, 3] of the Gaussians that reach each tile, front to back."""
    means, quats, scales, opacities, colors = scene
    viewmats, Ks = camera()
    centre = means @ viewmats[0, :3, :3].T + viewmats[0, :3, 3]
    exact_depths = means.detach().double() @ viewmats[0, 2, :3].double() + viewmats[0, 2, 3]
    order = exact_depths.float().argsort(stable=True)  # rounded as ours are: neighbours in another order look different
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
    # One gather for all tiles: its gradient is one scatter instead of one of the whole table per tile.
    parts = table[torch.cat(lists)].split([len(chosen) for chosen in lists])
    steps = torch.arange(tile) + 0.5
    for (left, top), part in zip(corners, parts):
        u, v, a, b, c, det, opacity = (part[:, i, None, None] for i in range(7))
        dx, dy = left + steps - u, (top + steps - v[..., 0])[:, :, None]
        square = (c * dx.square() + a * dy.square() - 2 * b * dx * dy) / det
        alpha = (opacity * torch.exp(-0.5 * square)).clamp_max(0.999)
        alpha = alpha.where(alpha >= 1 / 255, 0)
        after = (1 - alpha).cumprod(0)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        yield (alpha * before).where(after > 1e-4, 0), part[:, 7:]


def _tile_lists(table: Tensor, corners: list[tuple[int, int]], tile: int) -> list[Tensor]:
    """Return the rows of the depth-sorted table whose box reaches each tile."""
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


def gradients(
    draw: Callable[[list[Tensor], int], Tensor], scene: list[Tensor], size: int, device: str
) -> tuple[Tensor, list[Tensor]]:
    """Return the image, and gradients of every parameter of the scene for a fixed random loss; on the CPU."""
    tracked = [tensor.to(device).requires_grad_() for tensor in scene]
    image = draw(tracked, size)
    image.backward(_loss_weights(size).to(device))
    return image.detach().cpu(), [tensor.grad.cpu() for tensor in tracked if tensor.grad is not None]


def difference(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]]) -> dict[str, float]:
    """Return the largest and mean colour difference, and the largest of the parameters' relative gradient differences."""
    colors = (one[0] - other[0]).abs()
    relative = [float((a - b).norm() / b.norm()) for a, b in zip(one[1], other[1])]
    return {"color_max": float(colors.max()), "color_mean": float(colors.mean()), "gradient": max(relative)}


def measure(
    draw: Callable[[list[Tensor], int], Tensor], count: int, size: int, repeats: int, device: str
) -> list[float]:
    """Return the seconds of each of `repeats` forward + backward calls, after one warm-up call."""
    scene = [tensor.to(device).requires_grad_() for tensor in shell(count)]
    weights = _loss_weights(size).to(device)
    seconds = []
    for _ in range(repeats + 1):
        for tensor in scene:
            tensor.grad = None
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        draw(scene, size).backward(weights)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _loss_weights(size: int) -> Tensor:
    return torch.rand(size, size, 3, generator=torch.Generator().manual_seed(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/rasterize.json"))
    options = parser.parse_args()
    thread_counts = sorted({1, options.threads})
    peaks = {threads: peak(threads) for threads in thread_counts}
    results: list[dict[str, object]] = []
    differences: list[dict[str, object]] = []
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print("float32 peak, GFLOP/s: " + ", ".join(f"{1e-9 * peaks[n]:.0f} on {n} thread(s)" for n in thread_counts))
    print(
        f"{'Gaussians':>10} {'pixels':>8} {'engine':>17} {'threads':>8} {'best ms':>9} {'median ms':>10} {'GFLOP/s':>8} "
        f"{'of peak':>8}"
    )
    for count, size in SIZES:
        operations = (FORWARD + BACKWARD) * composited(shell(count), size)
        engines = [("ours, CPU", ours, threads, options.repeats, "cpu") for threads in thread_counts]
        if torch.cuda.is_available():
            engines.append(("gsplat, CUDA", ours, 1, options.repeats, "cuda"))
        engines += [("plain torch, CPU", plain_torch, threads, PEER_REPEATS, "cpu") for threads in thread_counts]
        for name, draw, threads, repeats, device in engines:
            torch.set_num_threads(threads)
            seconds = measure(draw, count, size, repeats, device)
            best, median = min(seconds), statistics.median(seconds)
            rate = operations / median
            share = rate / peaks[threads] if device == "cpu" else None
            print(
                f"{count:>10} {size:>6}^2 {name:>17} {threads:>8} {1e3 * best:>9.2f} {1e3 * median:>10.2f} "
                f"{1e-9 * rate:>8.1f} {'' if share is None else f'{share:.1%}':>8}",
                flush=True,
            )
            results.append(
                {"gaussians": count, "size": size, "engine": name, "threads": threads, "best_ms": 1e3 * best,
                 "median_ms": 1e3 * median, "repeats": repeats, "operations": operations, "share_of_peak": share}
            )  # fmt: skip
        here = gradients(ours, shell(count), size, "cpu")
        others = {"plain torch": gradients(plain_torch, shell(count), size, "cpu")}
        if torch.cuda.is_available():
            others["gsplat, CUDA"] = gradients(ours, shell(count), size, "cuda")
        for name, there in others.items():
            apart = difference(here, there)
            differences.append({"gaussians": count, "size": size, "to": name, **apart})
            print(" " * 20 + f"ours - {name}: " + ", ".join(f"{key} {value:.1e}" for key, value in apart.items()))
    write_json(
        options.output,
        {"machine": platform.platform(), "torch": torch.__version__, "results": results, "differences": differences,
         "peak_flops": {str(threads): rate for threads, rate in peaks.items()}},
    )  # fmt: skip
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
