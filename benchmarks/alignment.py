"""Measure the alignment: known cameras against found ones, on images of meshes that the canonical object stands for.

Every asset is seen by one camera: any azimuth, elevation -20 to 40 degrees, field of view 30 to 60 degrees before the image is
cropped to a random square around the object. The image is rendered from the mesh. It is aligned with

    mesh       flat Gaussians on the mesh's surface, in the pose of the image
    canonical  the generator's canonical Gaussians, in the pose of the image
    pose       flat Gaussians on the mesh's surface in the pose of the clip's start; the image shows the middle of the clip
               (by how much the vertices turn about the vertical in between is taken into account)

Objects are sorted by how different they look after a turn of 30 degrees or more (`likeness`, the loss between the two most similar
views of such a turn, averaged over azimuths): below 0.1 rotational, below 0.2 similar, else asymmetric.

    python benchmarks/alignment.py --generator FOLDER --assets FOLDER [FOLDER ...] [--count 100] [--seed 0] [--size 256]
        [--output FILE.json]
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from gvf.data.gltf.animation import Animation
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.data.named_clip import bake_named_clip
from gvf.errors import ClipError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import CONSISTENT4D_ORBIT, OrbitCamera, intrinsics, orbit, project
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.alignment_target import losses, premultiplied
from gvf.pipelines.alignment_views import Poses, draw
from gvf.pipelines.canonical import load_canonical
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.surface_gaussians import surface_gaussians
from gvf.pipelines.training_view import training_view
from gvf.progress import Progress
from gvf.rendering.mesh_views import render_mesh
from gvf.storage.files import write_json

ELEVATIONS, FOVS = (-20.0, 40.0), (30.0, 60.0)
CLOSENESS, CROPS = (0.9, 1.1), (1.15, 2.0)  # distance / one that frames the unit box; side of the crop / object's box
ROTATIONAL, SIMILAR = 0.1, 0.2
GAITS = ("idle", "walk", "swim", "fly", "run")  # clips to prefer: the first frame of a video rarely shows a death
TURN, FIRST_TURN = 10.0, 30.0  # degrees
CONFIDENCES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.01)


@dataclass(frozen=True)
class Trial:
    """One alignment. azimuth, elevation: absolute errors, degrees. scale: relative error of the size at the origin.

    shift: error of the origin's place, shares of the image. radius: found / true. crop_psnr: of the frame as the training
    camera would show it, against the mesh rendered from there. cpu: seconds of process time.
    """

    asset: str
    method: str
    symmetry: str
    azimuth: float
    elevation: float
    scale: float
    shift: float
    radius: float
    loss: float
    confidence: float
    ambiguous: bool
    crop_psnr: float
    cpu: float


def random_camera(vertices: np.ndarray, generator: np.random.Generator) -> OrbitCamera:
    """Return a camera whose square image is a random crop that shows all of the vertices [V, 3]."""
    azimuth, elevation = generator.uniform(-180.0, 180.0), generator.uniform(*ELEVATIONS)
    fov = generator.uniform(*FOVS)
    focal = 0.5 / math.tan(math.radians(fov) / 2.0)
    framed = CONSISTENT4D_ORBIT.radius * math.tan(math.radians(CONSISTENT4D_ORBIT.fov) / 2.0)
    radius = 2.0 * focal * framed * generator.uniform(*CLOSENESS)
    seen, _ = project(vertices.astype(np.float64), orbit(azimuth, elevation, radius), intrinsics(fov))
    low, high = seen.min(0), seen.max(0)
    side = float((high - low).max()) * generator.uniform(*CROPS)
    corner = generator.uniform(high - 0.98 * side, low - 0.02 * side)
    shift_x, shift_y = (0.5 - corner) / side - 0.5
    crop_fov = math.degrees(2.0 * math.atan(0.5 * side / focal))
    return OrbitCamera(azimuth, elevation, radius, crop_fov, (float(shift_x), float(shift_y)))


def symmetry_of(gaussians: Gaussians) -> str:
    """Return the symmetry class of an object, from how similar it looks after a turn."""
    azimuths = np.arange(0.0, 360.0, TURN)
    poses = np.zeros((len(azimuths), 6))
    poses[:, 0], poses[:, 1], poses[:, 2] = azimuths, 10.0, math.log(2.0)
    poses[:, 3] = math.log(0.5)
    images = draw(gaussians, Poses(poses), 48)
    turns = range(round(FIRST_TURN / TURN), len(azimuths) - round(FIRST_TURN / TURN) + 1)
    likeness = min(float(losses(images.roll(turn, 0), images).mean()) for turn in turns)
    return "rotational" if likeness < ROTATIONAL else "similar" if likeness < SIMILAR else "asymmetric"


def scale_of(camera: OrbitCamera) -> float:
    """Return the length of one object unit at the origin, in shares of the image."""
    return float(camera.K[0, 0]) / camera.radius


def photograph(mesh: AnimatedMesh, camera: OrbitCamera, size: int) -> torch.Tensor:
    """Return what the camera sees of a mesh's first frame, uint8 [size, size, 4]."""
    return torch.from_numpy(render_mesh(mesh.vertices[0], mesh, camera.viewmat[None], camera.K[None], size, 2)[0])


def crop_psnr(mesh: AnimatedMesh, image: torch.Tensor, camera: OrbitCamera) -> float:
    """Return the PSNR of `training_view` with a known camera against the mesh rendered by the training camera."""
    orbit_ = CONSISTENT4D_ORBIT
    direct = photograph(mesh, OrbitCamera(camera.azimuth, camera.elevation, orbit_.radius, orbit_.fov), 96)
    change = premultiplied(training_view(image[None], camera, 96)[0]) - premultiplied(direct)
    return float(-10.0 * torch.log10(change.square().mean().clamp(min=1e-12)))


def trials_of(path: Path, generator: MotionGenerator, random: np.random.Generator, size: int) -> Iterator[Trial]:
    """Yield the alignments of one asset. Raises ClipError or UserError when it cannot be used."""
    names = read_gltf(path).animation_names
    clip = next((name for name in names if any(word in name.lower() for word in GAITS)), names[0])
    canonical = load_canonical(path, generator, clip=clip)
    assert canonical.mesh is not None
    moving = bake_named_clip(path, clip, start_and_middle).normalized().mesh
    start, middle = (replace(moving, vertices=moving.vertices[i : i + 1]) for i in (0, 1))
    surface = surface_gaussians(canonical.mesh)
    symmetry = symmetry_of(surface)
    methods = (
        ("mesh", surface, canonical.mesh, 0.0),
        ("canonical", canonical.gaussians, canonical.mesh, 0.0),
        ("pose", surface_gaussians(start), middle, turn_between(*moving.vertices)),
    )
    for method, gaussians, mesh, turn in methods:
        camera = random_camera(mesh.vertices[0][np.unique(mesh.faces)], random)
        image = photograph(mesh, camera, size)
        before = time.process_time()
        found = align(gaussians, image, AlignmentSettings(), Progress())
        seconds = time.process_time() - before
        shift = math.dist(found.camera.shift, camera.shift)
        yield Trial(
            asset=path.stem,
            method=method,
            symmetry=symmetry,
            azimuth=abs((found.camera.azimuth - camera.azimuth + turn + 180.0) % 360.0 - 180.0),
            elevation=abs(found.camera.elevation - camera.elevation),
            scale=abs(scale_of(found.camera) / scale_of(camera) - 1.0),
            shift=shift,
            radius=found.camera.radius / camera.radius,
            loss=found.loss,
            confidence=found.confidence,
            ambiguous=found.ambiguous,
            crop_psnr=crop_psnr(mesh, image, camera),
            cpu=seconds,
        )


def start_and_middle(animation: Animation) -> np.ndarray:
    """Return the times of an animation's start and middle, [2] seconds."""
    return np.array([animation.start, (animation.start + animation.end) / 2.0])


def turn_between(vertices: np.ndarray, later: np.ndarray) -> float:
    """Return by how many degrees vertices [V, 3] turn about the vertical, in the least-squares sense."""
    one, other = (values[:, :2] - values[:, :2].mean(0) for values in (vertices.astype(np.float64), later))
    sine = (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum()
    return math.degrees(math.atan2(sine, (one * other).sum()))


def table(trials: Sequence[Trial]) -> list[str]:
    """Return the results by method and symmetry as lines of Markdown."""
    lines = [
        "| aligned with | objects | n | within 2° | within 5° | within 10° | median azimuth | elevation | scale | shift | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in ("mesh", "canonical", "pose"):
        for symmetry in ("asymmetric", "similar", "rotational", "all"):
            chosen = [t for t in trials if t.method == method and symmetry in (t.symmetry, "all")]
            if not chosen:
                continue
            within = " | ".join(f"{share(chosen, limit):.0%}" for limit in (2.0, 5.0, 10.0))
            medians = [statistics.median(getattr(t, name) for t in chosen) for name in ("azimuth", "elevation")]
            scale, shift, cpu = (
                statistics.median(getattr(t, name) for t in chosen) for name in ("scale", "shift", "cpu")
            )
            lines.append(
                f"| {method} | {symmetry} | {len(chosen)} | {within} | {medians[0]:.1f}° | {medians[1]:.1f}° | {scale:.1%} | "
                f"{shift:.1%} | {cpu:.1f} |"
            )
    return lines


def confidence_table(trials: Sequence[Trial]) -> list[str]:
    """Return errors by confidence as lines of Markdown."""
    lines = ["| confidence | n | within 5° | within 10° | median azimuth | ambiguous |", "|---|---|---|---|---|---|"]
    for low, high in pairwise(CONFIDENCES):
        chosen = [t for t in trials if low <= t.confidence < high]
        if chosen:
            middle = statistics.median(t.azimuth for t in chosen)
            ambiguous = sum(t.ambiguous for t in chosen) / len(chosen)
            lines.append(
                f"| {low:.2f} to {min(high, 1.0):.2f} | {len(chosen)} | {share(chosen, 5.0):.0%} | {share(chosen, 10.0):.0%} | "
                f"{middle:.1f}° | {ambiguous:.0%} |"
            )
    return lines


def share(trials: Sequence[Trial], limit: float) -> float:
    """Return the share of azimuths found within `limit` degrees."""
    return sum(t.azimuth < limit for t in trials) / len(trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--assets", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    generator = MotionGenerator.from_pretrained(options.generator)
    random = np.random.default_rng(options.seed)
    groups = [sorted(folder.rglob("*.glb")) for folder in options.assets]
    paths = [
        group[index] for group in groups for index in random.permutation(len(group))[: options.count // len(groups)]
    ]
    trials: list[Trial] = []
    for path in paths:
        try:
            found = list(trials_of(path, generator, random, options.size))
        except (ClipError, UserError, IndexError) as error:
            print(f"{path.name}: left out, {error}")
            continue
        trials += found
        print(
            path.stem,
            *(f"{t.method} {t.azimuth:.1f} ({t.confidence:.2f})" for t in found),
            found[0].symmetry,
            flush=True,
        )
    print("\n".join(["", *table(trials), "", *confidence_table(trials)]))
    print(f"\ntraining view against its render: PSNR {statistics.median(t.crop_psnr for t in trials):.1f} dB (median)")
    if options.output:
        write_json(options.output, [asdict(trial) for trial in trials])


if __name__ == "__main__":
    main()
