"""Read the node hierarchy of a glTF file and compute local and world transforms (specification section 3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from gvf.data.gltf.document import GltfDocument
from gvf.data.gltf.fields import Fields


@dataclass(frozen=True)
class Node:
    """One node. Its local transform is `matrix` [row, column] when given, else translation, rotation (xyzw), scale.

    Where there is a matrix, the other three are its decomposition, for animations that replace one of them.
    """

    name: str
    parent: int | None
    children: tuple[int, ...]
    mesh: int | None
    skin: int | None
    weights: tuple[float, ...] | None
    matrix: np.ndarray | None
    translation: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class NodePose:
    """Animated local transform of a node over T times; None where the node's own value holds.

    translation [T, 3], rotation [T, 4] xyzw of unit length, scale [T, 3], weights [T, M] of its morph targets.
    """

    translation: np.ndarray | None = None
    rotation: np.ndarray | None = None
    scale: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class NodeTree:
    """All nodes of a file, and in depth-first order those of its default scene that have a mesh."""

    nodes: tuple[Node, ...]
    mesh_nodes: tuple[int, ...]

    def world_matrices(self, wanted: Iterable[int], poses: Mapping[int, NodePose]) -> dict[int, np.ndarray]:
        """Return world transforms [T or 1, 4, 4] float64 of the wanted nodes; 1 where neither they nor their parents move."""
        worlds: dict[int, np.ndarray] = {}
        for index in wanted:
            chain: list[int] = []
            step: int | None = index
            while step is not None and step not in worlds:
                chain.append(step)
                step = self.nodes[step].parent
            for link in reversed(chain):
                local = local_matrices(self.nodes[link], poses.get(link))
                parent = self.nodes[link].parent
                worlds[link] = local if parent is None else worlds[parent] @ local
        return worlds


def read_nodes(document: GltfDocument) -> NodeTree:
    """Read the node graph. Raises ClipError("invalid") when it is not a forest: a cycle, or a node with two parents.

    The default scene is the one `scene` names, else the first; a file without scenes shows all its root nodes.
    """
    fields = document.nodes
    children = [item.indices("children", len(fields)) for item in fields]
    parents = _parents(document, children)
    nodes = tuple(_read_node(document, i, parents[i], children[i]) for i in range(len(fields)))
    if document.scenes:
        scene = document.scenes[document.root.index("scene", len(document.scenes), default=0)]
        roots = scene.indices("nodes", len(fields))
        for root in roots:
            if parents[root] is not None:
                scene.fail(f"lists node {root}, which is a child of node {parents[root]}.")
    else:
        roots = tuple(i for i, parent in enumerate(parents) if parent is None)
    pending = list(reversed(roots))
    mesh_nodes: list[int] = []
    while pending:
        index = pending.pop()
        if nodes[index].mesh is not None:
            mesh_nodes.append(index)
        pending.extend(reversed(children[index]))
    return NodeTree(nodes, tuple(dict.fromkeys(mesh_nodes)))


def local_matrices(node: Node, pose: NodePose | None) -> np.ndarray:
    """Return local transforms translation @ rotation @ scale, [T or 1, 4, 4] float64; an unposed node keeps its matrix."""
    animated = pose or NodePose()
    if node.matrix is not None and animated.translation is animated.rotation is animated.scale is None:
        return node.matrix[None]
    translation = node.translation[None] if animated.translation is None else animated.translation
    rotation = node.rotation[None] if animated.rotation is None else animated.rotation
    scale = node.scale[None] if animated.scale is None else animated.scale
    matrices = np.zeros((max(len(translation), len(rotation), len(scale)), 4, 4))
    matrices[:, :3, :3] = rotation_matrices(rotation) * scale[:, None, :]
    matrices[:, :3, 3] = translation
    matrices[:, 3, 3] = 1.0
    return matrices


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Return rotation matrices [..., 3, 3] of unit quaternions [..., 4] in glTF order xyzw."""
    x, y, z, w = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def unit_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Scale quaternions [..., 4] xyzw to unit length; a quaternion of length zero becomes the identity."""
    lengths = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    return np.where(lengths > 1e-12, quaternions / np.maximum(lengths, 1e-12), identity)


def decompose(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return translation [3], rotation [4] xyzw and scale [3] of an affine matrix [4, 4], and a measure of its shear.

    Scale is the lengths of the columns, the first one negative where the matrix mirrors; rotation is the one nearest to
    the normalised columns. Shear is the largest distance between a normalised column and the rotation's, 0 to 2.
    """
    largest = np.abs(matrix[:3, :3]).max(axis=0)  # divided out first, so that squares stay in the range of float64
    columns = matrix[:3, :3] / np.where(largest > 0.0, largest, 1.0)
    scale = np.linalg.norm(columns, axis=0)
    columns /= np.where(scale > 0.0, scale, 1.0)
    if np.linalg.det(columns) < 0.0:
        scale[0], columns[:, 0] = -scale[0], -columns[:, 0]
    left, _, right = np.linalg.svd(columns)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))  # the sign is undetermined only for columns of length zero
    rotation = left @ right
    shear = float((np.linalg.norm(columns - rotation, axis=0) * (scale != 0.0)).max())
    return matrix[:3, 3].copy(), Rotation.from_matrix(rotation).as_quat(), scale * largest, shear


def _parents(document: GltfDocument, children: list[tuple[int, ...]]) -> list[int | None]:
    parents: list[int | None] = [None] * len(children)
    for parent, listed in enumerate(children):
        for child in listed:
            if parents[child] is not None or child == parent:
                what = "is its own child" if child == parent else f"is a child of nodes {parents[child]} and {parent}"
                document.nodes[child].fail(f"{what}; the node graph must be a tree.")
            parents[child] = parent
    # Every node has one parent, so a node that cannot be reached from a root lies on a cycle.
    reached = [False] * len(children)
    pending = [i for i, parent in enumerate(parents) if parent is None]
    while pending:
        index = pending.pop()
        reached[index] = True
        pending.extend(children[index])
    if not all(reached):
        document.nodes[reached.index(False)].fail("is part of a cycle; the node graph must be a tree.")
    return parents


def _read_node(document: GltfDocument, index: int, parent: int | None, children: tuple[int, ...]) -> Node:
    fields: Fields = document.nodes[index]
    matrix = _read_matrix(fields)
    if matrix is None:
        translation = np.array(fields.numbers("translation", 3, (0.0, 0.0, 0.0)))
        rotation = unit_quaternions(np.array(fields.numbers("rotation", 4, (0.0, 0.0, 0.0, 1.0))))
        scale = np.array(fields.numbers("scale", 3, (1.0, 1.0, 1.0)))
    else:
        translation, rotation, scale, _ = decompose(matrix)
    return Node(
        name=fields.text("name", f"node_{index}"),
        parent=parent,
        children=children,
        mesh=fields.index("mesh", len(document.meshes), None),
        skin=fields.index("skin", len(document.skins), None),
        weights=fields.numbers("weights", None, None),
        matrix=matrix,
        translation=translation,
        rotation=rotation,
        scale=scale,
    )


def _read_matrix(fields: Fields) -> np.ndarray | None:
    """Return a node's matrix [row, column], or None where translation, rotation and scale apply."""
    if "matrix" not in fields:
        return None
    matrix = np.array(fields.numbers("matrix", 16)).reshape(4, 4).T
    if any(name in fields for name in ("translation", "rotation", "scale")):
        # The specification allows only one of the two. Readers use the matrix, but an identity is an exporter's default.
        identity = np.array_equal(matrix, np.eye(4))
        used = "translation, rotation and scale are" if identity else "the matrix is"
        fields.warn(f"has both a matrix and translation, rotation or scale, which is not allowed; {used} used.")
        if identity:
            return None
    if not np.array_equal(matrix[3], [0.0, 0.0, 0.0, 1.0]):
        fields.warn("has a matrix that is not affine; its last row is read as 0, 0, 0, 1.")
        matrix[3] = 0.0, 0.0, 0.0, 1.0
    return matrix
