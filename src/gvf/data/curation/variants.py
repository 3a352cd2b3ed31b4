"""Variants of training clips: the same animation, played otherwise, of the same object, turned, mirrored, or differently built.

The changed clip is baked, rendered and encoded as any other, so its video and its motion agree by construction.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gvf.config.curate import VariantsConfig
from gvf.data.gltf.animation import Animation
from gvf.data.gltf.baking import GltfModel, bake_clip
from gvf.data.gltf.scene import Node
from gvf.data.mesh import AnimatedMesh

_LOOP_GAP = 0.02  # largest distance between first and last pose, in the object's longest sides, of a motion that loops
# What names of nodes say about left and right: whole words (LeftArm, arm_right) or a letter set apart (Arm.L, r_hand, Leg.L.001).
_SIDE = re.compile(r"left|right|(?<![a-z0-9])[lr](?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Variant:
    """What is changed. yaw: degrees about the vertical axis. mirrored: left and right change places.

    scale: relative to the unit box over all frames. start, window: where the clip begins, and how much of it is played, both
    as fractions of the animation's duration; the rest of a loop is played before the first keyframe again. reverse: in
    reversed time. proportions: size of every part relative to its parent, by the name of its node without left and right, so
    that both arms are alike. stretch: along x, y and z of the file's axes.
    """

    yaw: float
    mirrored: bool
    scale: float
    start: float
    window: float
    reverse: bool
    proportions: Mapping[str, float]
    stretch: tuple[float, float, float]

    def text(self) -> str:
        """Return the changes as JSON, rounded, for the manifest; of the proportions their range."""
        sizes = list(self.proportions.values()) or [1.0]
        values = asdict(self) | {"proportions": (min(sizes), max(sizes))}
        return json.dumps({name: _rounded(value) for name, value in values.items()})


def draw_variant(config: VariantsConfig, loops: bool, parts: Iterable[str], generator: np.random.Generator) -> Variant:
    """Draw a variant.

    loops: whether the animation ends as it begins, so that it may begin anywhere and be repeated. parts: names of the
    nodes whose proportions are drawn.
    """
    window = float(generator.uniform(*config.window))
    window = window if loops else min(window, 1.0)
    return Variant(
        yaw=float(generator.uniform(*config.yaw)),
        mirrored=bool(generator.random() < config.mirror),
        scale=float(generator.uniform(*config.scale)),
        start=float(generator.uniform(0.0, 1.0 if loops else 1.0 - window)),
        window=window,
        reverse=bool(generator.random() < config.reverse),
        proportions={
            part: _factor(config.proportions, generator) for part in sorted({sideless(part) for part in parts})
        },
        stretch=(
            _factor(config.stretch, generator),
            _factor(config.stretch, generator),
            _factor(config.stretch, generator),
        ),
    )


def _rounded(value: float | tuple[float, ...]) -> Any:
    if isinstance(value, tuple):
        return [_rounded(number) for number in value]
    return value if isinstance(value, bool) else round(value, 4)


def _factor(limits: tuple[float, float], generator: np.random.Generator) -> float:
    """Draw a factor whose logarithm is uniform, so that halves are as likely as doubles."""
    return float(np.exp(generator.uniform(*np.log(limits))))


def bake_variant(
    model: GltfModel, animation: Animation, num_frames: int, config: VariantsConfig, generator: np.random.Generator
) -> tuple[AnimatedMesh, Variant]:
    """Bake a variant of an animation, normalised (z up); returns it with what was changed.

    Its first frame lies in the unit box. Raises ClipError as `bake_clip` does.
    """
    loops = _loops(model, animation)
    variant = draw_variant(config, loops, _part_names(model, animation), generator)
    model, animation = reproportioned(model, animation, variant.proportions)
    duration = animation.end - animation.start
    played = variant.start + np.linspace(0.0, variant.window, num_frames)
    played = np.where(played > 1.0, np.mod(played, 1.0), played) if loops else np.minimum(played, 1.0)
    if variant.reverse:
        played = played[::-1]
    mesh = bake_clip(model, animation, animation.start + played * duration)
    times = np.linspace(0.0, variant.window * duration, num_frames).astype(np.float32)
    mesh = dataclasses.replace(mesh, times=times, vertices=mesh.vertices * variant.stretch)
    mesh = turned(mesh, variant.yaw, variant.mirrored).normalized()
    mesh, scale = resized(mesh, variant.scale)
    return mesh, dataclasses.replace(variant, scale=scale)


def sideless(name: str) -> str:
    """Return a node's name without what says left or right: the same for both arms."""
    return _SIDE.sub("", name).casefold()


def reproportioned(
    model: GltfModel, animation: Animation, proportions: Mapping[str, float]
) -> tuple[GltfModel, Animation]:
    """Return a model and its animation with nodes, and all that hangs on them, scaled by `proportions` of their `sideless` names.

    Joints turn as before about their new places, so a larger upper arm takes the hand along. Nodes without a value keep their size.
    """
    factors = [proportions.get(sideless(node.name), 1.0) for node in model.tree.nodes]
    nodes = tuple(_scaled(node, factor) for node, factor in zip(model.tree.nodes, factors))
    channels = tuple(
        dataclasses.replace(channel, values=channel.values * factors[channel.node])
        if channel.path == "scale"
        else channel
        for channel in animation.channels
    )
    tree = dataclasses.replace(model.tree, nodes=nodes)
    return dataclasses.replace(model, tree=tree), dataclasses.replace(animation, channels=channels)


def _scaled(node: Node, factor: float) -> Node:
    matrix = None if node.matrix is None else node.matrix * (factor, factor, factor, 1.0)
    return dataclasses.replace(node, matrix=matrix, scale=node.scale * factor)


def _part_names(model: GltfModel, animation: Animation) -> list[str]:
    """Return the names of the joints, and of the nodes that the animation moves: what a character's parts hang on."""
    nodes = {channel.node for channel in animation.channels}
    nodes |= {joint for part in model.parts if part.skin is not None for joint in part.skin.joints}
    return [model.tree.nodes[node].name for node in sorted(nodes)]


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
