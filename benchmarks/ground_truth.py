"""Measure ground-truth images per second: our views of an animated character beside PyTorch3D's CPU rasteriser.

Ours is the whole image as the stage `render` makes it: shape of the frame, visibility, textures, light, filtering,
8-bit RGBA. One view per frame is the most expensive case, since the frame's shape serves one image only; the stage draws
many. PyTorch3D is timed for visibility alone (`rasterize_meshes`, one face per pixel, no blur), one sample per pixel:
shading and filtering edges would come on top, so the ratio is a lower bound. Both draw the same pixels: the share of
pixels covered by only one of them is printed, for one sample per pixel.

    python benchmarks/ground_truth.py [--model FILE.glb] [--clip NAME] [--threads 2] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gvf.cli.bake import find_clip
from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.geometry.camera import intrinsics, orbit, project
from gvf.rendering.mesh_views import MeshRenderer
from gvf.storage.files import write_json

SIZES = (128, 256, 512)
FRAMES = 8
VIEWS = 8
SAMPLES = (1, 2, 3)
GOAL_SIZE, GOAL_RATIO = 512, 50.0


def load(path: Path, clip: str) -> AnimatedMesh:
    """Return `FRAMES` frames of one clip in the unit box."""
    document = read_gltf(path)
    model = load_model(document)
    animation = model.animation(find_clip(document, clip))
    return bake_clip(model, animation, clip_times(animation, FRAMES)).normalized()


def seconds_of(draw: Callable[[int], object], repeats: int) -> list[float]:
    """Return the seconds of `repeats` calls, each with another frame, after one warm-up call."""
    draw(0)
    seconds = []
    for repeat in range(repeats):
        start = time.perf_counter()
        draw(repeat % FRAMES)
        seconds.append(time.perf_counter() - start)
    return seconds


def pytorch3d_faces(
    vertices: np.ndarray, faces: np.ndarray, viewmat: np.ndarray, K: np.ndarray, size: int
) -> np.ndarray:
    """Return PyTorch3D's triangle at every pixel [size, size], -1 where there is none."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    coordinates, depths = project(vertices, viewmat, K)
    in_ndc = np.concatenate([1 - 2 * coordinates, depths[:, None]], axis=1).astype(np.float32)
    meshes = Meshes([torch.from_numpy(in_ndc)], [torch.from_numpy(faces.astype(np.int64))])
    found = rasterize_meshes(meshes, size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True)
    return found[0][0, :, :, 0].numpy()


def print_coverage(renderer: MeshRenderer, mesh: AnimatedMesh, viewmats: np.ndarray, Ks: np.ndarray, size: int) -> None:
    """Print the share of pixels that only one of the two rasterisers covers, in the first frame and one view."""
    covered = pytorch3d_faces(mesh.vertices[0], mesh.faces, viewmats[0], Ks[0], size) >= 0
    ours = renderer.render(mesh.vertices[0], viewmats, Ks, size, 1)[0, ..., 3] > 0
    print(
        f"{size:>5}^2 pixels covered by only one of them: {np.mean(covered != ours):.1e} ({covered.mean():.1%} covered)"
    )


def read_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("../shared/data/kaykit/Knight.glb"))
    parser.add_argument("--clip", default="Running_A")
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/ground_truth.json"))
    return parser.parse_args()


def main() -> None:
    options = read_options()
    mesh = load(options.model, options.clip)
    renderer = MeshRenderer(mesh)
    viewmats = orbit(360.0 * np.arange(VIEWS) / VIEWS, 15.0, 2.0)
    Ks = intrinsics(np.full(VIEWS, 40.0))
    try:
        import pytorch3d

        peer = f"PyTorch3D {pytorch3d.__version__}"
    except ImportError:
        peer = None
        print(
            "PyTorch3D is not installed (pip install easypytorch3d==0.7.9.post1), so ours is measured without a comparison."
        )
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {options.model.name} {options.clip}: "
        f"{len(mesh.faces)} triangles, {mesh.vertices.shape[1]} vertices"
    )
    print(f"{'pixels':>7} {'engine':>45} {'threads':>8} {'best ms':>9} {'median ms':>10} {'images/s':>11} {'ratio':>7}")
    results: list[dict[str, object]] = []
    for size in SIZES:
        rows: list[tuple[str, int, int, Callable[[int], object], int]] = []
        if peer is not None:
            rows.append(
                (f"{peer}, visibility", options.threads, 1,
                 lambda frame, size=size: pytorch3d_faces(mesh.vertices[frame], mesh.faces, viewmats[0], Ks[0], size), 3)
            )  # fmt: skip
        for threads in sorted({1, options.threads}):
            for samples in SAMPLES:
                for views in (1, VIEWS):
                    rows.append(
                        (f"ours, {samples}^2 samples per pixel, {views} view{'s' * (views > 1)} per frame", threads, views,
                         lambda frame, size=size, samples=samples, views=views: renderer.render(
                             mesh.vertices[frame], viewmats[:views], Ks[:views], size, samples
                         ), max(3, options.repeats // views))
                    )  # fmt: skip
        peer_median = None
        for engine, threads, images, draw, repeats in rows:
            torch.set_num_threads(threads)
            seconds = [value / images for value in seconds_of(draw, repeats)]
            best, median = min(seconds), statistics.median(seconds)
            if peer is not None and engine.startswith(peer):
                peer_median = median
            ratio = None if peer_median is None else peer_median / median
            print(
                f"{size:>5}^2 {engine:>45} {threads:>8} {1e3 * best:>9.2f} {1e3 * median:>10.2f} {1 / median:>11.1f} "
                f"{'' if ratio is None else f'{ratio:.0f}x':>7}",
                flush=True,
            )
            results.append(
                {"size": size, "engine": engine, "threads": threads, "best_ms": 1e3 * best, "median_ms": 1e3 * median,
                 "images_per_second": 1 / median, "ratio_to_peer": ratio}
            )  # fmt: skip
        if peer is not None:
            print_coverage(renderer, mesh, viewmats[:1], Ks[:1], size)
    write_json(options.output, {"machine": platform.platform(), "model": options.model.name, "results": results})
    print(f"written: {options.output} (goal: {GOAL_RATIO:.0f}x at {GOAL_SIZE}^2)")


if __name__ == "__main__":
    main()
