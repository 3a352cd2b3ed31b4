"""Assemble shapes with materials into glTF meshes, attached to the joints of a skin or to nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gvf.procedural.glb import GlbBuilder, Primitive
from gvf.procedural.shapes import Array, Shape, Vector, merge, smooth_normals

_INFLUENCES = 4


@dataclass(frozen=True)
class Joint:
    """A joint: name, index of the parent (or None), rest position and the end of its bone, both in the model's space."""

    name: str
    parent: int | None
    position: Array
    tip: Array


@dataclass(frozen=True)
class _Part:
    shape: Shape
    material: int
    weights: Array  # [V,4]
    joints: NDArray[np.int64]  # [V,4]


class Rig:
    """Joints without rest rotation and the shapes attached to them, which become one skinned mesh."""

    def __init__(self) -> None:
        self._joints: list[Joint] = []
        self._index: dict[str, int] = {}
        self._parts: list[_Part] = []

    def joint(self, name: str, parent: str | None, position: Vector, tip: Vector | None = None) -> None:
        """Add a joint below `parent`; its bone runs from `position` to `tip` (a point when not given)."""
        start = np.asarray(position, dtype=np.float64)
        end = start if tip is None else np.asarray(tip, dtype=np.float64)
        self._index[name] = len(self._joints)
        self._joints.append(Joint(name, None if parent is None else self._index[parent], start, end))

    def chain(self, names: Sequence[str], parent: str | None, path: Sequence[Vector] | Array) -> None:
        """Add joints one below the other; joint i sits at path[i] and its bone ends at path[i + 1]."""
        for name, start, end in zip(names, path[:-1], path[1:], strict=True):
            self.joint(name, parent, start, end)
            parent = name

    def rest(self, name: str) -> Array:
        """Return the translation [3] of a joint relative to its parent at rest."""
        joint = self._joints[self._index[name]]
        return joint.position if joint.parent is None else joint.position - self._joints[joint.parent].position

    def attach(self, shape: Shape, material: int, joints: Sequence[str], blend: float = 0.05) -> None:
        """Attach a shape to joints; with several joints, weights fall off with the distance to bones over about `blend`."""
        indices = np.array([self._index[name] for name in joints], dtype=np.int64)
        starts = np.array([self._joints[index].position for index in indices])
        tips = np.array([self._joints[index].tip for index in indices])
        weights, slots = bone_weights(shape.positions, starts, tips, blend)
        self._parts.append(_Part(shape, material, weights, np.where(weights > 0.0, indices[slots], 0)))

    def build(self, builder: GlbBuilder, name: str, parent: int) -> dict[str, int]:
        """Write the joints below the node `parent` and the skinned mesh, and return the joints' nodes by name."""
        nodes: dict[str, int] = {}
        for joint in self._joints:
            above = parent if joint.parent is None else nodes[self._joints[joint.parent].name]
            nodes[joint.name] = builder.add_node(joint.name, above, translation=self.rest(joint.name).tolist())
        inverse_bind = np.tile(np.eye(4), (len(self._joints), 1, 1))
        inverse_bind[:, :3, 3] = [-joint.position for joint in self._joints]
        skin = builder.add_skin(f"{name} skin", [nodes[joint.name] for joint in self._joints], inverse_bind)
        primitives = []
        for material in sorted({part.material for part in self._parts}):
            parts = [part for part in self._parts if part.material == material]
            shape = merge([part.shape for part in parts])
            joints = np.concatenate([part.joints for part in parts])
            weights = np.concatenate([part.weights for part in parts])
            primitives.append(Primitive(shape, material, influences=(joints, weights)))
        mesh = builder.add_mesh(name, primitives)
        builder.add_node(name, mesh=mesh, skin=skin)  # a root: only joints move a skinned mesh
        return nodes


def bone_weights(positions: Array, starts: Array, tips: Array, blend: float) -> tuple[Array, NDArray[np.int64]]:
    """Return smooth weights of the nearest bones.

    positions: [V,3]; starts, tips: [J,3]. Returns weights [V,4], rows sum to 1, and slots [V,4] into the bones;
    unused slots have weight 0 and slot 0.
    """
    along = tips - starts
    squared = np.maximum(np.sum(along**2, axis=1), 1e-12)
    offsets = positions[:, None] - starts
    share = np.clip(np.sum(offsets * along, axis=2) / squared, 0.0, 1.0)
    distances = np.linalg.norm(offsets - share[..., None] * along, axis=2)
    excess = distances - distances.min(axis=1, keepdims=True)
    weights = np.exp(-((excess / blend) ** 2))
    weights[weights < 0.02] = 0.0
    count = min(_INFLUENCES, len(starts))
    order = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    kept = np.zeros((len(positions), _INFLUENCES))
    slots = np.zeros((len(positions), _INFLUENCES), dtype=np.int64)
    kept[:, :count] = np.take_along_axis(weights, order, axis=1)
    slots[:, :count] = np.where(kept[:, :count] > 0.0, order, 0)
    return kept / kept.sum(axis=1, keepdims=True), slots


def rigid_mesh(builder: GlbBuilder, name: str, parts: Sequence[tuple[Shape, int]]) -> int:
    """Add a mesh of shapes with materials, one primitive per material, and return its index."""
    materials = sorted({material for _, material in parts})
    shapes = [merge([shape for shape, used in parts if used == material]) for material in materials]
    return builder.add_mesh(name, [Primitive(shape, material) for shape, material in zip(shapes, materials)])


def add_part(
    builder: GlbBuilder,
    name: str,
    parent: int,
    parts: Sequence[tuple[Shape, int]],
    position: Vector = (0.0, 0.0, 0.0),
    rotation: Vector = (0.0, 0.0, 0.0, 1.0),
) -> int:
    """Add a node with a rigid mesh of shapes with materials, given in the node's own space, and return the node."""
    mesh = rigid_mesh(builder, name, parts)
    return builder.add_node(name, parent, translation=list(position), rotation=list(rotation), mesh=mesh)


def morph_mesh(
    builder: GlbBuilder, name: str, parts: Sequence[tuple[Shape, int]], targets: Sequence[Callable[[Array], Array]]
) -> int:
    """Add a mesh of shapes with materials, with one morph target per map of positions [V,3], and return its index.

    Normals of a target are those of the deformed surface.
    """
    primitives = []
    for material in sorted({material for _, material in parts}):
        shape = merge([shape for shape, used in parts if used == material])
        offsets = []
        for deform in targets:
            deformed = shape.bent(deform)
            normals = smooth_normals(shape.positions, shape.triangles)
            offsets.append((deformed.positions - shape.positions, deformed.normals - normals))
        primitives.append(Primitive(shape, material, targets=offsets))
    return builder.add_mesh(name, primitives, [0.0] * len(targets))
