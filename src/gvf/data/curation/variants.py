"""Variants of training clips: the same object and animation, turned, mirrored, resized, or played otherwise.

The changed clip is baked, rendered and encoded as any other, so its video and its motion agree by construction.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass

import numpy as np

from gvf.config.curate import VariantsConfig
from gvf.data.gltf.animation import Animation
from gvf.data.gltf.baking import GltfModel, bake_clip
from gvf.data.mesh import AnimatedMesh

_LOOP_GAP = 0.02  # largest distance between first and last pose, in the object's longest sides, of a motion that loops


@dataclass(frozen=True)
class Variant:
    """What is changed. yaw: degrees about the vertical axis. mirrored: left and right change places.

    scale: relative to the unit box over all frames. start, window: where the clip begins, and how much of it is played, both
    as fractions of the animation's duration; the rest of a loop is played before the first keyframe again. reverse: in
    reversed time.
    """

    yaw: float
    mirrored: bool
    scale: float
    start: float
    window: float
    reverse: bool

    def text(self) -> str:
        """Return the changes as JSON, rounded, for the manifest."""
        values = asdict(self).items()
        return json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in values})


def draw_variant(config: VariantsConfig, loops: bool, generator: np.random.Generator) -> Variant:
    """Draw a variant. loops: whether the animation ends as it begins, so that it may begin anywhere and be repeated."""
    window = float(generator.uniform(*config.window))
    window = window if loops else min(window, 1.0)
    return Variant(
        yaw=float(generator.uniform(*config.yaw)),
        mirrored=bool(generator.random() < config.mirror),
        scale=float(generator.uniform(*config.scale)),
        start=float(generator.uniform(0.0, 1.0 if loops else 1.0 - window)),
        window=window,
        reverse=bool(generator.random() < config.reverse),
    )


def bake_variant(
    model: GltfModel, animation: Animation, num_frames: int, config: VariantsConfig, generator: np.random.Generator
) -> tuple[AnimatedMesh, Variant]:
    """Bake a variant of an animation, normalised (z up); returns it with what was changed.

    Its first frame lies in the unit box. Raises ClipError as `bake_clip` does.
    """
    loops = _loops(model, animation)
    variant = draw_variant(config, loops, generator)
    duration = animation.end - animation.start
    played = variant.start + np.linspace(0.0, variant.window, num_frames)
    played = np.where(played > 1.0, np.mod(played, 1.0), played) if loops else np.minimum(played, 1.0)
    if variant.reverse:
        played = played[::-1]
    mesh = bake_clip(model, animation, animation.start + played * duration)
    mesh = dataclasses.replace(mesh, times=np.linspace(0.0, variant.window * duration, num_frames).astype(np.float32))
    mesh = turned(mesh, variant.yaw, variant.mirrored).normalized()
    mesh, scale = resized(mesh, variant.scale)
    return mesh, dataclasses.replace(variant, scale=scale)


def turned(mesh: AnimatedMesh, yaw: float, mirrored: bool) -> AnimatedMesh:
    """Return a mesh with y up after it was mirrored in x, if so, and turned about y by `yaw` degrees, counter-clockwise.

    Mirroring reverses the winding of the faces, so that front faces stay in front.
    """
    cosine, sine = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    matrix = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    if mirrored:
        matrix = matrix * (-1.0, 1.0, 1.0)
    faces = mesh.faces[:, [0, 2, 1]] if mirrored else mesh.faces
    return dataclasses.replace(mesh, vertices=mesh.vertices @ matrix.T, faces=faces)


def resized(mesh: AnimatedMesh, scale: float) -> tuple[AnimatedMesh, float]:
    """Scale a normalised mesh about its centre, by at most as much as its first frame still fits into the unit box.

    A larger first frame is moved into the box by the shortest way. Where frames leave the box, the object is like one whose motion
    is not known before, which is as large as the box in its first frame. Returns the mesh and the scale that was used.
    """
    first = mesh.vertices[0]
    scale = min(scale, 1.0 / max(float(np.ptp(first, axis=0).max()), 1e-6))
    low, high = scale * first.min(axis=0), scale * first.max(axis=0)
    vertices = scale * mesh.vertices + np.clip(0.0, -0.5 - low, 0.5 - high)
    vertices[0] = np.clip(vertices[0], -0.5, 0.5)  # rounding
    return dataclasses.replace(mesh, vertices=vertices.astype(np.float32)), scale


def _loops(model: GltfModel, animation: Animation) -> bool:
    """Return whether the last keyframe shows the pose of the first."""
    ends = bake_clip(model, animation, np.array([animation.start, animation.end])).vertices
    side = float(np.ptp(ends, axis=(0, 1)).max())
    return bool(np.linalg.norm(ends[1] - ends[0], axis=-1).max() <= _LOOP_GAP * side)
