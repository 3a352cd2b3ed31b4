"""Turn a glTF file into moving vertices: evaluate node hierarchy, morph targets and skins at given times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from gvf.data.gltf.animation import Animation, read_animation
from gvf.data.gltf.document import GltfDocument
from gvf.data.gltf.geometry import Mesh, Primitive, Skin, mesh_size, read_mesh, read_skin, target_counts
from gvf.data.gltf.material import (
    SourceMaterial,
    TextureUse,
    placed_textures,
    read_image,
    read_material,
    transform_uvs,
)
from gvf.data.gltf.scene import Node, NodePose, NodeTree, read_nodes
from gvf.data.mesh import AnimatedMesh, Material, reduced
from gvf.errors import ClipError
from gvf.geometry.carried_normals import CarriedNormals, unit_vectors

# Limits of a whole scene: a small file that instances one mesh many times must not exhaust the memory.
_MAX_VERTICES = 1 << 24
_MAX_BAKED_NUMBERS = 1 << 29  # coordinates over all frames, 4 GiB
_MAX_MATRICES = 1 << 23  # nodes times frames, 1 GiB


@dataclass(frozen=True)
class Part:
    """One primitive, instanced by a node of the scene.

    node: index of that node. skin_weights: [V, J] float64, rows sum to 1, None when the node moves the part rigidly.
    """

    node: int
    primitive: Primitive
    skin: Skin | None
    skin_weights: csr_matrix | None


@dataclass(frozen=True)
class GltfModel:
    """The default scene of a file, which all its animations share, loaded once. Fields are as in AnimatedMesh."""

    document: GltfDocument
    tree: NodeTree
    meshes: dict[int, Mesh]
    parts: tuple[Part, ...]
    faces: np.ndarray
    face_materials: np.ndarray
    uvs: np.ndarray
    colors: np.ndarray
    materials: tuple[Material, ...]
    textures: tuple[np.ndarray, ...]
    emissive_uvs: np.ndarray | None

    def animation(self, index: int) -> Animation:
        """Read one animation of the file. Raises ClipError("invalid")."""
        return read_animation(self.document, index, self.tree, target_counts(self.document))


def scene_size(document: GltfDocument, tree: NodeTree) -> tuple[int, int]:
    """Return the numbers of vertices and triangles of the default scene, without loading any array."""
    sizes = {mesh: mesh_size(document, mesh) for mesh in {_mesh_of(tree, node) for node in tree.mesh_nodes}}
    counted = [sizes[_mesh_of(tree, node)] for node in tree.mesh_nodes]
    return sum(vertices for vertices, _ in counted), sum(triangles for _, triangles in counted)


def load_model(
    document: GltfDocument, max_triangles: int | None = None, max_texture_size: int | None = None
) -> GltfModel:
    """Read the meshes, skins, materials and textures of the default scene.

    max_texture_size: texels along the longer side, to which larger textures are scaled down one by one.
    Raises ClipError("size") when it has more triangles than `max_triangles` (or three times as many vertices), before
    any array is read, and ClipError("invalid") for whatever is broken.
    """
    tree = read_nodes(document)
    num_vertices, num_triangles = scene_size(document, tree)
    if max_triangles is not None and (num_triangles > max_triangles or num_vertices > 3 * max_triangles):
        raise ClipError(
            "size",
            f"{document.name}: has {num_triangles} triangles and {num_vertices} vertices, "
            f"at most {max_triangles} triangles are read.",
        )
    if num_vertices > _MAX_VERTICES:
        message = f"{document.name}: its scene shows {num_vertices} vertices, at most {_MAX_VERTICES} are read."
        raise ClipError("size", message)
    if num_triangles == 0:
        raise ClipError("invalid", f"{document.name}: its default scene has no triangles.")
    meshes = {mesh: read_mesh(document, mesh) for mesh in sorted({_mesh_of(tree, node) for node in tree.mesh_nodes})}
    skin_indices = {tree.nodes[node].skin for node in tree.mesh_nodes} - {None}
    skins = {skin: read_skin(document, skin) for skin in skin_indices if skin is not None}
    parts = tuple(
        _part(document, node, tree.nodes[node], primitive, skins)
        for node in tree.mesh_nodes
        for primitive in meshes[_mesh_of(tree, node)].primitives
    )
    offsets = np.cumsum([0, *(len(part.primitive.positions) for part in parts)])
    surface = _read_surface(document, parts, max_texture_size)
    return GltfModel(
        document=document,
        tree=tree,
        meshes=meshes,
        parts=parts,
        faces=np.concatenate([part.primitive.faces + offset for part, offset in zip(parts, offsets)]).astype(np.int32),
        face_materials=np.concatenate(
            [np.full(len(part.primitive.faces), slot, np.int32) for part, slot in zip(parts, surface.slots)]
        ),
        uvs=surface.uvs,
        colors=np.concatenate([part.primitive.colors for part in parts]),
        materials=surface.materials,
        textures=surface.textures,
        emissive_uvs=surface.emissive_uvs,
    )


def clip_times(animation: Animation, num_frames: int) -> np.ndarray:
    """Return evenly spaced times [T] float64 from the first keyframe to the last, both included."""
    return np.linspace(animation.start, animation.end, num_frames)


def bake_clip(model: GltfModel, animation: Animation, times: np.ndarray) -> AnimatedMesh:
    """Evaluate one animation at `times` [T], in the file's own units and axes (y up).

    Vertices are float64: only `AnimatedMesh.normalized` rounds them, once the object is centred. Where the transforms
    mirror a face in most frames, its winding is reversed, so that front faces stay in front (section 3.7.4).
    Raises ClipError("invalid") when a vertex is not finite or exceeds the range of float32, and ClipError("size") when
    all frames together are too large for memory.
    """
    if 3 * len(model.colors) * len(times) > _MAX_BAKED_NUMBERS:
        message = f"{model.document.name}: {len(model.colors)} vertices in {len(times)} frames are too many to bake."
        raise ClipError("size", message)
    return _baked(model, animation.poses(times), times, repr(animation.name))


def bake_rest(model: GltfModel) -> AnimatedMesh:
    """Return the scene as one frame at time 0, without any animation: nodes keep the transforms of the file.

    Units, axes, winding and errors are as in `bake_clip`.
    """
    return _baked(model, {}, np.zeros(1), "its rest pose")


def _baked(model: GltfModel, poses: Mapping[int, NodePose], times: np.ndarray, what: str) -> AnimatedMesh:
    vertices, handedness = _posed(model, poses, len(times))
    if not _in_range(vertices):
        raise ClipError("invalid", f"{model.document.name}: {what} has a NaN or infinite vertex.")
    mirrored = handedness[model.faces].sum(axis=1) < 0.0
    return AnimatedMesh(
        vertices=vertices,
        faces=np.where(mirrored[:, None], model.faces[:, [0, 2, 1]], model.faces),
        face_materials=model.face_materials,
        uvs=model.uvs,
        colors=model.colors,
        materials=model.materials,
        textures=model.textures,
        times=times.astype(np.float32),
        emissive_uvs=model.emissive_uvs,
    )


def rest_vertices(model: GltfModel) -> np.ndarray:
    """Return the scene's vertices [V, 3] float64 without any animation, in the file's own units and axes.

    Raises ClipError("invalid") when a vertex is not finite or exceeds the range of float32.
    """
    vertices = _posed(model, {}, 1)[0][0]
    if not _in_range(vertices):
        raise ClipError("invalid", f"{model.document.name}: its rest pose has a NaN or infinite vertex.")
    return vertices


def posed_normals(model: GltfModel, part: Part, poses: Mapping[int, NodePose], normals: np.ndarray) -> np.ndarray:
    """Return unit normals [V, 3] of a part in poses of one frame, from those of its primitive [V, 3].

    Each is transformed by the inverse transpose of what moves its vertex, so it stays on the outside where that mirrors.
    Morph targets first turn normals as far as they turn the triangles.
    """
    primitive = part.primitive
    morphed = _morphed(model, part, poses.get(part.node))[0]
    turned = CarriedNormals(normals, primitive.positions, primitive.faces).at(morphed)
    joints = () if part.skin is None else part.skin.joints
    worlds = model.tree.world_matrices([part.node, *joints], poses)
    if part.skin is None or part.skin_weights is None:
        matrices = worlds[part.node][:1, :3, :3]
    else:
        blended = part.skin_weights @ _joint_matrices(part.skin, worlds, 1)[:, 0].reshape(-1, 12)
        matrices = blended.reshape(-1, 3, 4)[..., :3]
    rows = np.moveaxis(matrices, -2, 0)  # of the matrices; those of the cofactor matrices are their cross products
    cofactors = np.stack([np.cross(rows[(i + 1) % 3], rows[(i + 2) % 3]) for i in range(3)], axis=-2)
    signs = np.where(np.linalg.det(matrices) < 0.0, -1.0, 1.0)[:, None]
    return unit_vectors(signs * np.einsum("vij,vj->vi", np.broadcast_to(cofactors, (len(turned), 3, 3)), turned))


def _in_range(vertices: np.ndarray) -> bool:
    # The extremes suffice and need no copy of the array; comparisons with NaN are false.
    limit = float(np.finfo(np.float32).max)
    return bool(vertices.min() >= -limit and vertices.max() <= limit)


@dataclass(frozen=True)
class _Surface:
    """Appearance of all parts. slots: index of each part's material in `materials`. The others are as in AnimatedMesh."""

    slots: list[int]
    uvs: np.ndarray
    emissive_uvs: np.ndarray | None
    materials: tuple[Material, ...]
    textures: tuple[np.ndarray, ...]


def _mesh_of(tree: NodeTree, node: int) -> int:
    mesh = tree.nodes[node].mesh
    assert mesh is not None, "mesh_nodes holds nodes with a mesh only"
    return mesh


def _part(document: GltfDocument, index: int, node: Node, primitive: Primitive, skins: dict[int, Skin]) -> Part:
    if node.skin is None or primitive.joints is None or primitive.joint_weights is None:
        return Part(index, primitive, None, None)
    skin = skins[node.skin]
    used = primitive.joint_weights != 0.0
    if (primitive.joints[used] >= len(skin.joints)).any():
        document.nodes[index].fail(f"its mesh uses joint {primitive.joints[used].max()} of {len(skin.joints)}.")
    joints, weights = np.where(used, primitive.joints, 0), primitive.joint_weights.copy()
    # Weights should sum to 1 and are normalised; a vertex without any follows the first joint listed for it, as in
    # three.js (Blender does not move it, so it would stay behind when the object walks away).
    free = ~used.any(axis=1)
    listed = primitive.joints[free, 0]
    joints[free, 0], weights[free, 0] = np.where(listed < len(skin.joints), listed, 0), 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(joints)), joints.shape[1])
    matrix = csr_matrix((weights.ravel(), (rows, joints.ravel())), (len(joints), len(skin.joints)))
    return Part(index, primitive, skin, matrix)


def _posed(model: GltfModel, poses: Mapping[int, NodePose], num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices [T, V, 3] float64 of all parts with the given nodes posed; other nodes keep the file's transform.

    Also returns their handedness [V]: negative where the transforms mirror the surface around a vertex, else positive.
    """
    if len(model.tree.nodes) * num_frames > _MAX_MATRICES:
        message = f"{model.document.name}: {len(model.tree.nodes)} nodes in {num_frames} frames are too many to bake."
        raise ClipError("size", message)
    joints = [joint for part in model.parts if part.skin is not None for joint in part.skin.joints]
    vertices = np.empty((num_frames, len(model.colors), 3))
    handedness = np.empty(len(model.colors))
    joint_matrices: dict[int, np.ndarray] = {}
    start = 0
    with np.errstate(over="ignore", invalid="ignore"):  # huge values become infinite, which the callers refuse
        worlds = model.tree.world_matrices([*(part.node for part in model.parts), *joints], poses)
        for part in model.parts:
            stop = start + len(part.primitive.positions)
            positions = _morphed(model, part, poses.get(part.node))
            if part.skin is None or part.skin_weights is None:
                vertices[:, start:stop] = _transformed(positions, worlds[part.node])
                handedness[start:stop] = _handedness(worlds[part.node])
            else:
                key = id(part.skin)
                if key not in joint_matrices:
                    joint_matrices[key] = _joint_matrices(part.skin, worlds, num_frames)
                _skin(positions, part.skin_weights, joint_matrices[key], out=vertices[:, start:stop])
                handedness[start:stop] = part.skin_weights @ _handedness(joint_matrices[key])
            start = stop
    return vertices, handedness


def _handedness(matrices: np.ndarray) -> np.ndarray:
    """Return the mean over T of the signs of the determinants of [..., T, 3 or 4, 4]; the first frame breaks ties."""
    signs = np.sign(np.linalg.det(matrices[..., :3, :3]))
    return np.asarray(signs.mean(axis=-1) + 1e-6 * signs[..., 0])


def _morphed(model: GltfModel, part: Part, pose: NodePose | None) -> np.ndarray:
    """Return positions [T or 1, V, 3] after the morph targets (section 3.7.2.2)."""
    targets = part.primitive.targets
    if len(targets) == 0:
        return part.primitive.positions[None]
    node = model.tree.nodes[part.node]
    if pose is not None and pose.weights is not None:
        weights = pose.weights
    elif node.weights is not None:
        if len(node.weights) != len(targets):
            model.document.nodes[part.node].fail(f"has {len(node.weights)} weights for {len(targets)} morph targets.")
        weights = np.array(node.weights)[None]
    else:
        weights = model.meshes[_mesh_of(model.tree, part.node)].weights[None]
    return part.primitive.positions + np.tensordot(weights, targets, axes=1)


def _transformed(positions: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Transform positions [T or 1, V, 3] by matrices [T or 1, 4, 4]."""
    return positions @ matrices[:, :3, :3].transpose(0, 2, 1) + matrices[:, None, :3, 3]


def _joint_matrices(skin: Skin, worlds: dict[int, np.ndarray], num_frames: int) -> np.ndarray:
    """Return joint transforms [J, T, 3, 4]: inverse bind matrix, then world transform of the joint (section 3.7.3.3).

    The transform of the node that holds the skinned mesh does not count.
    """
    world = np.stack([np.broadcast_to(worlds[joint], (num_frames, 4, 4)) for joint in skin.joints])
    return (world @ skin.inverse_bind_matrices[:, None])[:, :, :3]


def _skin(positions: np.ndarray, weights: csr_matrix, joint_matrices: np.ndarray, out: np.ndarray) -> None:
    """Skin positions [T or 1, V, 3] by linear blending into `out` [T, V, 3]. weights: [V, J]; joint_matrices: [J, T, 3, 4]."""
    for frame in range(len(out)):
        blended = (weights @ joint_matrices[:, frame].reshape(-1, 12)).reshape(-1, 3, 4)
        unskinned = positions[min(frame, len(positions) - 1)]
        out[frame] = np.einsum("vij,vj->vi", blended[..., :3], unskinned) + blended[..., 3]


def _read_surface(document: GltfDocument, parts: tuple[Part, ...], max_texture_size: int | None) -> _Surface:
    """Read materials, textures and texture coordinates of the parts; only what is used is read."""
    slots: dict[int, int] = {}
    sources: list[SourceMaterial] = []
    for part in parts:
        if part.primitive.material not in slots:
            slots[part.primitive.material] = len(sources)
            sources.append(read_material(document, part.primitive.material))
    materials, images = placed_textures(sources)
    part_slots = [slots[part.primitive.material] for part in parts]
    uvs, emissive_uvs, differ = [], [], False
    for part, source in zip(parts, (sources[slot] for slot in part_slots)):
        use, emissive_use = source.texture or source.emissive_texture, source.emissive_texture or source.texture
        uvs.append(_read_uvs(document, part.primitive, use))
        if use is not None and emissive_use is not None and not use.same_uvs(emissive_use):
            emissive_uvs.append(_read_uvs(document, part.primitive, emissive_use))
            differ = True
        else:
            emissive_uvs.append(uvs[-1])
    return _Surface(
        slots=part_slots,
        uvs=np.concatenate(uvs),
        emissive_uvs=np.concatenate(emissive_uvs) if differ else None,
        materials=materials,
        textures=tuple(_read_texture(document, image, max_texture_size) for image in images),
    )


def _read_texture(document: GltfDocument, image: int, max_size: int | None) -> np.ndarray:
    texture = read_image(document, image)
    return texture if max_size is None else reduced(texture, max_size)


def _read_uvs(document: GltfDocument, primitive: Primitive, use: TextureUse | None) -> np.ndarray:
    """Return the texture coordinates [V, 2] float32 with which a part samples a texture; zeros where it has none."""
    num_vertices = len(primitive.positions)
    if use is None or use.uv_set not in primitive.uv_accessors:
        return np.zeros((num_vertices, 2), np.float32)
    accessor = primitive.uv_accessors[use.uv_set]
    uvs = document.floats(accessor, "VEC2")
    if len(uvs) != num_vertices:
        document.accessors[accessor].fail(f"has {len(uvs)} texture coordinates for {num_vertices} vertices.")
    return transform_uvs(uvs, use).astype(np.float32)
