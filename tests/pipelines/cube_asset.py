"""A small asset whose true motion is known: Gaussians on a cube that slides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from gvf.formats.asset_glb import save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.geometry.camera import CONSISTENT4D_ORBIT, OrbitCamera
from gvf.pipelines import asset_manifest as facts
from gvf.storage.files import sha256
from tests.data.gltf.gltf_files import GltfFile, cube_mesh

TIMES = (0.0, 1.0, 2.0)
SLIDE = torch.tensor([[[0.0, 0.0, 0.0]], [[0.5, 0.0, 0.0]], [[1.0, 0.0, 0.0]]])  # the cube's side is 1, as in the file


def sliding_cube(path: Path) -> Path:
    """Write a model: a cube of side 1 around (0, 5, 0) that slides by 1 along x in 2 s."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file), translation=[0, 5, 0])
    file.channel(file.animation("slide"), node, "translation", [0.0, 2.0], [[0, 5, 0], [1, 5, 0]])
    return file.glb(path)


def surface() -> Gaussians:
    """Return grey Gaussians on the surface of a cube of side 1."""
    side = torch.linspace(-0.5, 0.5, 12)
    grid = torch.cartesian_prod(side, side)
    points = torch.cat(
        [torch.stack([*values], -1) for end in (-0.5, 0.5) for values in _faces(grid, torch.full((len(grid),), end))]
    )
    count = len(points)
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(count, -1)
    scales = torch.full((count, 3), 0.04)
    return Gaussians.from_rendered(points, torch.full((count, 3), 0.8), scales, quats, torch.full((count,), 0.9))


def _faces(grid: torch.Tensor, end: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    u, v = grid.T
    return [(end, u, v), (u, end, v), (u, v, end)]


def write_asset(
    folder: Path, model: Path, share: float = 1.0, times: tuple[float, ...] = TIMES, **canonical: object
) -> Path:
    """Write an asset of the cube that makes `share` of the true motion, in the unit of the cube's rest pose."""
    still = surface()
    moving = still.map(lambda values: values.expand(len(times), *values.shape))
    moving = replace(moving, means=moving.means + share * SLIDE[: len(times)])
    save_asset_glb(folder / "asset.glb", moving, 1.0)
    save_ply(folder / "canonical.ply", still)
    known = {
        "origin": "mesh",
        "file": model.name,
        "sha256": sha256(model),
        "to_file": facts.SimilarityFacts(scale=1.0, center=(0.0, 5.0, 0.0), up="y"),
        **canonical,
    }
    facts.Manifest(
        created=facts.now(),
        num_frames=len(times),
        num_gaussians=still.num_gaussians,
        frames_per_second=1.0,
        times=times,
        camera=facts.CameraFacts.of(OrbitCamera(0.0, 0.0, 2.0, CONSISTENT4D_ORBIT.fov)),
        video=facts.VideoFacts(name="cube", size=(64, 64), matting="alpha", crops=((0.0, 0.0, 64.0),)),
        canonical=facts.CanonicalFacts(**known),  # type: ignore[arg-type]
        motion=facts.MotionFacts(seed=0, sampling={}, segments=((0, len(times)),), network_calls=1),
        generator=facts.GeneratorFacts(name="none", sha256=None, licence="unstated"),
        device="cpu",
        versions={},
        seconds={"align": 1.5, "read video": 0.25},
    ).save(folder)
    return folder
