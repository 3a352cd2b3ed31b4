"""Time PyTorch3D's point operations beside ours on one device, and compare the indices that both return.

    python benchmarks/pytorch3d_ops.py [--device cpu] [--repeats 5] [--output FILE.json]

Sizes are those of training and scoring: 8192 points per mesh, 20,000 Gaussians, 512 latents.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from pytorch3d.loss import chamfer_distance
from pytorch3d.ops import sample_points_from_meshes
from pytorch3d.structures import Meshes
from pytorch3d.utils import ico_sphere

from gvf.geometry import pytorch3d_backend
from gvf.geometry.farthest_points import farthest_points
from gvf.geometry.knn import nearest_neighbors
from gvf.geometry.sampling import sample_surface
from gvf.metrics.chamfer import chamfer_over_time
from gvf.storage.files import write_json
from gvf.tracking.provenance import device_name


@dataclass(frozen=True)
class Row:
    """ours_ms, peer_ms: the fastest of several calls. same: share of equal results, where they can be compared."""

    operation: str
    ours_ms: float
    peer_ms: float
    same: float | None


def fastest(compute: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return the result of a call and the milliseconds of the fastest one after the first."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = compute()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return result, min(times[1:])


def compare(operation: str, ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, same: bool = True) -> Row:
    """Time both, ours without PyTorch3D's help."""
    with mock.patch.object(pytorch3d_backend, "serves", return_value=False):
        found, ours_ms = fastest(ours, repeats)
    expected, peer_ms = fastest(peer, repeats)
    share = torch.isclose(found, expected, rtol=1e-5, atol=0).double().mean().item() if same else None
    return Row(operation, ours_ms, peer_ms, share)


def neighbor_indices(queries: torch.Tensor, points: torch.Tensor, k: int) -> torch.Tensor:
    """Return the indices of the neighbours that training and scoring use."""
    return nearest_neighbors(queries, points, k).indices


def measure(device: torch.device, repeats: int) -> list[Row]:
    """Return one row per operation and size."""
    generator = torch.Generator().manual_seed(0)

    def cloud(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, 3, generator=generator).to(device)

    rows = []
    for queries, points, k in ((4096, 8192, 4), (20_000, 8192, 8), (20_000, 8192, 16)):
        one, other = cloud(1, queries), cloud(1, points)
        rows.append(
            compare(
                f"k-NN, {queries} queries, {points} points, k = {k}",
                partial(neighbor_indices, one, other, k),
                partial(pytorch3d_backend.nearest_indices, one, other, k),
                repeats,
            )
        )
    for points, count in ((8192, 512), (20_000, 512), (20_000, 4096)):
        one, start = cloud(1, points), torch.zeros(1, dtype=torch.long, device=device)
        rows.append(
            compare(
                f"farthest points, {count} of {points}",
                partial(farthest_points, one, count),
                partial(pytorch3d_backend.farthest_indices, one, count, start),
                repeats,
            )
        )
    one, other = cloud(4, 8192), cloud(4, 8192)

    def peer() -> torch.Tensor:
        (there, back), _ = chamfer_distance(one, other, batch_reduction=None, point_reduction=None)
        return (there.sqrt().mean(1) + back.sqrt().mean(1)) / 2

    rows.append(compare("Chamfer distance, 4 frames of 8192", lambda: chamfer_over_time(one, other), peer, repeats))
    mesh = ico_sphere(5)
    vertices, faces = mesh.verts_packed().numpy(), mesh.faces_packed().numpy()
    peers = Meshes([mesh.verts_packed().to(device)], [mesh.faces_packed().to(device)])
    rows.append(
        compare(
            f"surface sampling, 8192 points on {len(faces)} faces",
            lambda: sample_surface(vertices, faces, 8192, np.random.default_rng(0)).positions(vertices, faces),
            lambda: sample_points_from_meshes(peers, 8192),
            repeats,
            same=False,  # both are random
        )
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/pytorch3d_ops.json"))
    options = parser.parse_args()
    rows = measure(torch.device(options.device), options.repeats)
    print(f"{device_name(options.device)}, {torch.get_num_threads()} threads")
    for row in rows:
        same = "" if row.same is None else f", the same results: {100 * row.same:.2f} %"
        print(f"{row.operation:45} ours {row.ours_ms:9.2f} ms, PyTorch3D {row.peer_ms:9.2f} ms{same}")
    write_json(options.output, {"rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
