"""Meshes and skins of a glTF file as arrays (specification sections 3.7.2, 3.7.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.data.gltf import GltfDocument
from gvf.data.gltf_fields import Fields

TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6


@dataclass(frozen=True)
class Primitive:
    """Triangles of one primitive, in mesh space.

    positions [V, 3] float64, faces [F, 3] int32, targets [M, V, 3] float64 morph displacements (M may be 0),
    joints [V, 4 S] int64 and joint_weights [V, 4 S] float64 of S joint sets, or None, material index or -1,
    uv_accessors: accessor of each TEXCOORD set, colors [V, 4] float32 (ones when the file has none).
    """

    positions: np.ndarray
    faces: np.ndarray
    targets: np.ndarray
    joints: np.ndarray | None
    joint_weights: np.ndarray | None
    material: int
    uv_accessors: dict[int, int]
    colors: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """Primitives with triangles, and the default weights [M] of the morph targets that they share."""

    primitives: tuple[Primitive, ...]
    weights: np.ndarray


@dataclass(frozen=True)
class Skin:
    """joints: node index of each joint, inverse_bind_matrices: [J, 4, 4] float64."""

    joints: tuple[int, ...]
    inverse_bind_matrices: np.ndarray


def mesh_size(document: GltfDocument, mesh: int) -> tuple[int, int]:
    """Numbers of vertices and of triangles of a mesh, from accessor headers alone."""
    vertices = triangles = 0
    for fields in _triangle_primitives(document, mesh):
        num_vertices = document.header(_attribute(document, fields, "POSITION")).count
        indices = fields.index("indices", len(document.accessors), None)
        corners = num_vertices if indices is None else document.header(indices).count
        vertices += num_vertices
        triangles += corners // 3 if fields.integer("mode", TRIANGLES) == TRIANGLES else max(corners - 2, 0)
    return vertices, triangles


def target_counts(document: GltfDocument) -> dict[int, int]:
    """Number of morph targets of each mesh that has any, by mesh index, without loading an array."""
    counts = {}
    for mesh in range(len(document.meshes)):
        primitives = _triangle_primitives(document, mesh)
        if primitives and primitives[0].children("targets"):
            counts[mesh] = len(primitives[0].children("targets"))
    return counts


def read_mesh(document: GltfDocument, mesh: int) -> Mesh:
    """Read a mesh. Points and lines have no surface and are left out. Raises ClipError("invalid")."""
    fields = document.meshes[mesh]
    primitives = tuple(_read_primitive(document, item) for item in _triangle_primitives(document, mesh))
    counts = {len(primitive.targets) for primitive in primitives}
    if len(counts) > 1:
        fields.fail("has primitives with different numbers of morph targets.")
    num_targets = max(counts, default=0)
    weights = fields.numbers("weights", None, ())
    if primitives and weights and len(weights) != num_targets:
        fields.fail(f"has {len(weights)} weights for {num_targets} morph targets.")
    return Mesh(primitives, np.array(weights) if weights else np.zeros(num_targets))


def read_skin(document: GltfDocument, skin: int) -> Skin:
    """Read a skin; without inverse bind matrices they are identities. Raises ClipError("invalid")."""
    fields = document.skins[skin]
    joints = fields.indices("joints", len(document.nodes))
    if not joints:
        fields.fail("has no joints.")
    accessor = fields.index("inverseBindMatrices", len(document.accessors), None)
    if accessor is None:
        return Skin(joints, np.tile(np.eye(4), (len(joints), 1, 1)))
    matrices = document.floats(accessor, "MAT4")
    if len(matrices) < len(joints):
        fields.fail(f"has {len(joints)} joints, but {len(matrices)} inverse bind matrices.")
    return Skin(joints, matrices[: len(joints)])


def triangulate(corners: np.ndarray, mode: int) -> np.ndarray:
    """Faces [F, 3] of the vertex indices [K] of a triangle list, strip or fan (section 3.7.2.1); a rest is dropped."""
    if mode == TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    count = max(len(corners) - 2, 0)
    i = np.arange(count)
    if mode == TRIANGLE_STRIP:
        odd = i % 2
        return np.stack([corners[i], corners[i + 1 + odd], corners[i + 2 - odd]], axis=1)
    return np.stack([corners[i + 1], corners[i + 2], np.full(count, corners[0])], axis=1)


def _triangle_primitives(document: GltfDocument, mesh: int) -> list[Fields]:
    primitives = document.meshes[mesh].children("primitives", required=True)
    for fields in primitives:
        if fields.integer("mode", TRIANGLES) > TRIANGLE_FAN:
            fields.fail(f"mode {fields.integer('mode')} does not exist.")
    # Without positions there is nothing to draw; the specification lets such a primitive be.
    return [
        fields
        for fields in primitives
        if fields.integer("mode", TRIANGLES) >= TRIANGLES and "POSITION" in fields.child("attributes")
    ]


def _read_primitive(document: GltfDocument, fields: Fields) -> Primitive:
    attributes = fields.child("attributes")
    positions = document.floats(_attribute(document, fields, "POSITION"), "VEC3")
    num_vertices = len(positions)
    accessor = fields.index("indices", len(document.accessors), None)
    corners = np.arange(num_vertices) if accessor is None else document.integers(accessor, "SCALAR")
    if corners.max() >= num_vertices:
        fields.fail(f"has a vertex index {corners.max()}, but {num_vertices} vertices.")
    faces = triangulate(corners, fields.integer("mode", TRIANGLES)).astype(np.int32)
    joints, joint_weights = _read_joints(document, fields, num_vertices)
    uv_accessors = {
        int(name.removeprefix("TEXCOORD_")): _attribute(document, fields, name)
        for name in attributes
        if name.startswith("TEXCOORD_") and name.removeprefix("TEXCOORD_").isdecimal()
    }
    return Primitive(
        positions=positions,
        faces=faces,
        targets=_read_targets(document, fields, num_vertices),
        joints=joints,
        joint_weights=joint_weights,
        material=fields.index("material", len(document.materials), -1),
        uv_accessors=uv_accessors,
        colors=_read_colors(document, fields, num_vertices),
    )


def _attribute(document: GltfDocument, fields: Fields, name: str) -> int:
    return int(fields.child("attributes").index(name, len(document.accessors)))


def _read_targets(document: GltfDocument, fields: Fields, num_vertices: int) -> np.ndarray:
    targets = fields.children("targets")
    displacements = np.zeros((len(targets), num_vertices, 3))
    for i, target in enumerate(targets):
        accessor = target.index("POSITION", len(document.accessors), None)
        if accessor is not None:
            data = document.floats(accessor, "VEC3")
            _same_count(target, "POSITION", data, num_vertices)
            displacements[i] = data
    return displacements


def _read_joints(
    document: GltfDocument, fields: Fields, num_vertices: int
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    attributes = fields.child("attributes")
    joints: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    while f"JOINTS_{len(joints)}" in attributes:
        joint_name, weight_name = f"JOINTS_{len(joints)}", f"WEIGHTS_{len(joints)}"
        joints.append(document.integers(_attribute(document, fields, joint_name), "VEC4"))
        weights.append(document.floats(_attribute(document, fields, weight_name), "VEC4"))
        _same_count(attributes, joint_name, joints[-1], num_vertices)
        _same_count(attributes, weight_name, weights[-1], num_vertices)
    if not joints:
        return None, None
    return np.concatenate(joints, axis=1), np.concatenate(weights, axis=1)


def _read_colors(document: GltfDocument, fields: Fields, num_vertices: int) -> np.ndarray:
    """Linear vertex colours [V, 4] float32; opaque where the file gives RGB, white where it gives none."""
    colors = np.ones((num_vertices, 4), np.float32)
    if "COLOR_0" in fields.child("attributes"):
        accessor = _attribute(document, fields, "COLOR_0")
        channels = document.header(accessor).element_shape
        data = document.floats(accessor, "VEC4" if channels == (4,) else "VEC3")
        _same_count(fields, "COLOR_0", data, num_vertices)
        colors[:, : data.shape[1]] = np.clip(data, 0.0, 1.0)
    return colors


def _same_count(fields: Fields, name: str, data: np.ndarray, num_vertices: int) -> None:
    if len(data) != num_vertices:
        fields.fail(f"{name} has {len(data)} entries for {num_vertices} vertices.")
