"""Ground-truth animation of a generated asset: its mesh over time, and surface points with their canonical positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gvf.data.gltf.animation import Animation
from gvf.data.gltf.baking import GltfModel, bake_clip, clip_times, load_model, rest_vertices
from gvf.data.gltf.document import GltfDocument, read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.data.named_clip import find_clip
from gvf.errors import ClipError, UserError
from gvf.geometry.sampling import sample_surface
from gvf.geometry.similarity import Similarity, unit_box

NUM_POINTS = 8192  # Sec. 4.1
_HALF_A_FRAME = 0.5


@dataclass(frozen=True)
class Pose:
    """The pose of a model: the first keyframe of an animation, or the rest pose where `clip` is None."""

    clip: str | None


@dataclass(frozen=True)
class TrueMotion:
    """One animation of a file at the times of an asset's frames.

    mesh: T frames in the unit box over all of them, z up. points: [T, M, 3], the same points of its surface in every frame;
    canonical_points: [M, 3], those points in the canonical pose; both in the unit of the mesh. to_file: from that unit to the
    file's. times: [T] seconds from the first keyframe. duration: of the whole clip.
    """

    mesh: AnimatedMesh
    points: Tensor
    canonical_points: Tensor
    to_file: Similarity
    clip: str
    times: np.ndarray
    duration: float


def read_true_motion(
    path: Path, clip: str | None, asset_times: np.ndarray, even: bool, pose: Pose | None
) -> TrueMotion:
    """Bake the animation that an asset should show.

    asset_times: [T] seconds of the asset's frames from the clip's first keyframe. even: the frames are spread over the whole
    clip, whatever their times say. pose: in which the canonical Gaussians were made, None for the clip's own first frame.
    Raises UserError when the file or the clip cannot be used, nothing moves, or the asset lasts longer than the clip.
    """
    try:
        document = read_gltf(path)
        model = load_model(document)
        animation = model.animation(find_clip(document, clip))
        times = animation.start + frame_times(animation, asset_times, even)
        baked = bake_clip(model, animation, times)
        mesh = baked.normalized()
        posed = None if pose is None else _posed(document, model, pose)
    except ClipError as error:
        raise UserError(error.message) from None
    to_file = unit_box(baked.vertices.reshape(-1, 3), "y")
    try:
        samples = sample_surface(mesh.vertices[0], mesh.faces, NUM_POINTS, np.random.default_rng(0))
    except ValueError as error:
        raise UserError(f"{path}: {error} in its first frame.") from None
    points = samples.positions(mesh.vertices, mesh.faces)
    canonical = points[0] if posed is None else samples.positions(to_file.invert(posed), mesh.faces)
    return TrueMotion(
        mesh=mesh,
        points=torch.from_numpy(points.astype(np.float32)),
        canonical_points=torch.from_numpy(canonical.astype(np.float32)),
        to_file=to_file,
        clip=animation.name,
        times=times - animation.start,
        duration=animation.end - animation.start,
    )


def frame_times(animation: Animation, asset_times: np.ndarray, even: bool) -> np.ndarray:
    """Return the times [T] from the first keyframe at which the clip is compared. Raises UserError if they leave the clip."""
    duration = animation.end - animation.start
    if duration <= 0.0:
        raise UserError(
            f"{animation.name!r} has a single keyframe, so nothing moves. Choose another animation with --clip."
        )
    if even:
        return clip_times(animation, len(asset_times)) - animation.start
    step = (asset_times[-1] - asset_times[0]) / max(len(asset_times) - 1, 1)
    if asset_times[-1] > duration + _HALF_A_FRAME * step:
        raise UserError(
            f"the asset's last frame is at {asset_times[-1]:.3g} s, {animation.name!r} ends at {duration:.3g} s. Choose the clip "
            "that the video shows, or --times even where its frames are spread over the clip."
        )
    return np.clip(asset_times, 0.0, duration)


def _posed(document: GltfDocument, model: GltfModel, pose: Pose) -> np.ndarray:
    """Return the vertices [V, 3] of a pose, in the file's units and axes."""
    if pose.clip is None:
        return rest_vertices(model)
    animation = model.animation(find_clip(document, pose.clip))
    return bake_clip(model, animation, np.array([animation.start])).vertices[0]
