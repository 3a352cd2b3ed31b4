"""Read the meshes and skins of a glTF file as arrays (specification sections 3.7.2, 3.7.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.data.gltf.document import HARMLESS_EXTENSIONS, GltfDocument
from gvf.data.gltf.draco import decode_primitive
from gvf.data.gltf.fields import Fields
from gvf.errors import ClipError

TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6

# Numbers in the morph targets or joint weights of one primitive (half a GiB as float64). Many of them may share one
# accessor, so the file's size is no limit.
_MAX_NUMBERS = 1 << 26
_MAX_JOINTS = 1 << 16  # joint indices have 16 bits


@dataclass(frozen=True)
class Primitive:
    """Triangles of one primitive, in mesh space.

    positions: [V, 3] float64. faces: [F, 3] int32. targets: morph displacements [M, V, 3] float64 (M may be 0).
    joints, joint_weights: [V, 4 S] int64 and float64 (finite, not negative) of S joint sets, or None.
    material: its index, or -1. uv_accessors: accessor of each TEXCOORD set. colors: [V, 4] float32, ones when the file
    has none. normal_accessor: of NORMAL, which baking does not read; None when the file has none.
    """

    positions: np.ndarray
    faces: np.ndarray
    targets: np.ndarray
    joints: np.ndarray | None
    joint_weights: np.ndarray | None
    material: int
    uv_accessors: dict[int, int]
    colors: np.ndarray
    normal_accessor: int | None


@dataclass(frozen=True)
class Mesh:
    """Primitives with triangles, and the default weights [M] of the morph targets that they share."""

    primitives: tuple[Primitive, ...]
    weights: np.ndarray


@dataclass(frozen=True)
class Skin:
    """A skin. joints: node index of each joint. inverse_bind_matrices: [J, 4, 4] float64."""

    joints: tuple[int, ...]
    inverse_bind_matrices: np.ndarray


def mesh_size(document: GltfDocument, mesh: int) -> tuple[int, int]:
    """Return the numbers of vertices and of triangles of a mesh, from accessor headers alone."""
    vertices = triangles = 0
    for fields in _triangle_primitives(document, mesh):
        num_vertices = document.header(_attribute(document, fields, "POSITION")).count
        indices = fields.index("indices", len(document.accessors), None)
        corners = num_vertices if indices is None else document.header(indices).count
        vertices += num_vertices
        triangles += corners // 3 if fields.integer("mode", TRIANGLES) == TRIANGLES else max(corners - 2, 0)
    return vertices, triangles


def target_counts(document: GltfDocument) -> dict[int, int]:
    """Return the number of morph targets of each mesh that has any, by mesh index, without loading an array."""
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
    """Read a skin; inverse bind matrices that the file lacks are identities. Raises ClipError("invalid")."""
    fields = document.skins[skin]
    joints = fields.indices("joints", len(document.nodes))
    if not joints:
        fields.fail("has no joints.")
    if len(joints) > _MAX_JOINTS:
        fields.fail(f"has {len(joints)} joints; at most {_MAX_JOINTS} can be used.")
    accessor = fields.index("inverseBindMatrices", len(document.accessors), None)
    if accessor is None:
        return Skin(joints, np.tile(np.eye(4), (len(joints), 1, 1)))
    count = document.header(accessor).count
    if count < len(joints):
        fields.fail(f"has {len(joints)} joints, but only {count} inverse bind matrices.")
    return Skin(joints, document.floats(accessor, "MAT4")[: len(joints)])


def triangulate(corners: np.ndarray, mode: int) -> np.ndarray:
    """Return the faces [F, 3] of a triangle list, strip or fan of vertex indices [K] (section 3.7.2.1).

    Indices left over at the end of a list are dropped.
    """
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
    # Without positions there is nothing to draw; the specification allows such a primitive.
    return [
        fields
        for fields in primitives
        if fields.integer("mode", TRIANGLES) >= TRIANGLES and "POSITION" in fields.child("attributes")
    ]


def _read_primitive(document: GltfDocument, fields: Fields) -> Primitive:
    attributes = {name: _attribute(document, fields, name) for name in fields.child("attributes")}
    indices = fields.index("indices", len(document.accessors), None)
    mode = fields.integer("mode", TRIANGLES)
    packed = decode_primitive(document, fields)
    if packed is not None:
        attributes |= packed.attributes
        indices, mode = packed.indices, TRIANGLES  # the decoder turns strips into lists
    _refuse_missing_data(document, fields, {**attributes, **({} if indices is None else {"indices": indices})})
    positions = document.floats(attributes["POSITION"], "VEC3")
    num_vertices = len(positions)
    corners = np.arange(num_vertices) if indices is None else document.integers(indices, "SCALAR")
    if corners.max() >= num_vertices:
        fields.fail(f"has a vertex index {corners.max()}, but only {num_vertices} vertices.")
    joints, joint_weights = _read_joints(document, fields, attributes, num_vertices)
    uv_accessors = {
        int(name.removeprefix("TEXCOORD_")): accessor
        for name, accessor in attributes.items()
        if name.startswith("TEXCOORD_") and name.removeprefix("TEXCOORD_").isdecimal()
    }
    return Primitive(
        positions=positions,
        faces=triangulate(corners, mode).astype(np.int32),
        targets=_read_targets(document, fields, num_vertices),
        joints=joints,
        joint_weights=joint_weights,
        material=fields.index("material", len(document.materials), -1),
        uv_accessors=uv_accessors,
        colors=_read_colors(document, fields, attributes, num_vertices),
        normal_accessor=attributes.get("NORMAL"),
    )


def _refuse_missing_data(document: GltfDocument, fields: Fields, accessors: dict[str, int]) -> None:
    """Refuse a primitive whose data only an unsupported extension can provide.

    Attributes without data are zero, which is allowed. Positions are not meant to be all zero, however, so for them any
    unsupported extension of the file is suspect; for other attributes only those of the primitive are.
    """
    own = set(fields.child("extensions")) - HARMLESS_EXTENSIONS
    for name, accessor in accessors.items():
        suspects = own | document.hiding_extensions if name in ("POSITION", "indices") else own
        if suspects and not document.has_data(accessor):
            document.refuse_extensions(document.accessors[accessor], suspects)


def _attribute(document: GltfDocument, fields: Fields, name: str) -> int:
    return int(fields.child("attributes").index(name, len(document.accessors)))


def _read_targets(document: GltfDocument, fields: Fields, num_vertices: int) -> np.ndarray:
    targets = fields.children("targets")
    _check_size(fields, "morph targets", len(targets) * num_vertices * 3)
    displacements = np.zeros((len(targets), num_vertices, 3))
    for i, target in enumerate(targets):
        accessor = target.index("POSITION", len(document.accessors), None)
        if accessor is not None:
            _same_count(document, target, "POSITION", accessor, num_vertices)
            displacements[i] = document.floats(accessor, "VEC3")
    return displacements


def _read_joints(
    document: GltfDocument, fields: Fields, attributes: dict[str, int], num_vertices: int
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    num_sets = 0
    while f"JOINTS_{num_sets}" in attributes:
        num_sets += 1
    if not num_sets:
        return None, None
    _check_size(fields, "joint weights", num_sets * num_vertices * 4)
    joints: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for i in range(num_sets):
        joint_name, weight_name = f"JOINTS_{i}", f"WEIGHTS_{i}"
        if weight_name not in attributes:
            fields.child("attributes").fail(f"{weight_name} is missing.")
        for name in (joint_name, weight_name):
            _same_count(document, fields, name, attributes[name], num_vertices)
        joints.append(document.integers(attributes[joint_name], "VEC4"))
        weights.append(_clean_weights(document.numbers(attributes[weight_name], "VEC4"), fields, weight_name))
    return np.concatenate(joints, axis=1), np.concatenate(weights, axis=1)


def _clean_weights(weights: np.ndarray, fields: Fields, name: str) -> np.ndarray:
    """Replace joint weights [V, 4] that are NaN, infinite or slightly negative (by rounding) with zero, with a warning."""
    broken = ~np.isfinite(weights)
    if broken.any():
        rows = int(broken.any(axis=1).sum())
        fields.warn(f"{name} is NaN or infinite at {rows} of {len(weights)} vertices; these weights count as zero.")
        weights = np.where(broken, 0.0, weights)
    least = float(weights.min())
    if least < -0.01:
        fields.fail(f"{name} has a negative joint weight ({least:.3g}).")
    if least < 0.0:
        fields.warn(f"{name} has negative joint weights down to {least:.3g}; they count as zero.")
        weights = np.maximum(weights, 0.0)
    return weights


def _read_colors(document: GltfDocument, fields: Fields, attributes: dict[str, int], num_vertices: int) -> np.ndarray:
    """Read linear vertex colours [V, 4] float32; opaque where the file gives RGB, white where it gives none."""
    colors = np.ones((num_vertices, 4), np.float32)
    if "COLOR_0" in attributes:
        accessor = attributes["COLOR_0"]
        _same_count(document, fields, "COLOR_0", accessor, num_vertices)
        channels = document.header(accessor).element_shape
        data = document.floats(accessor, "VEC4" if channels == (4,) else "VEC3")
        colors[:, : data.shape[1]] = np.clip(data, 0.0, 1.0)
    return colors


def _same_count(document: GltfDocument, fields: Fields, name: str, accessor: int, num_vertices: int) -> None:
    """Compare the count in an accessor's header with the number of vertices, before its data is read."""
    count = document.header(accessor).count
    if count != num_vertices:
        fields.fail(f"{name} has {count} entries for {num_vertices} vertices.")


def _check_size(fields: Fields, what: str, numbers: int) -> None:
    if numbers > _MAX_NUMBERS:
        raise ClipError(
            "size", f"{fields.where}: has {numbers} numbers in its {what}; at most {_MAX_NUMBERS} are read."
        )
