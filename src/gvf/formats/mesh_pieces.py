"""The surface of a mesh source as primitives of a new glTF file: everything but positions, which change over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.data.gltf.baking import Part, posed_normals
from gvf.data.mesh import AnimatedMesh
from gvf.data.mesh_source import GltfSurface, MeshSource
from gvf.data.plain.mesh import PlainSurface
from gvf.errors import ClipError
from gvf.formats.glb_file import GlbFile
from gvf.formats.material_copy import MAX_UV_SETS, MaterialCopy, add_image, add_material, add_texture
from gvf.geometry.carried_normals import unit_vectors
from gvf.text import MAX_NAME, clean


@dataclass(frozen=True)
class Piece:
    """One primitive. start, stop: its vertices in the source's mesh. faces: [F, 3] int32, counted from start.

    attributes: accessors of colours and texture coordinates. material: its index in the file, None for the default one.
    normals: [V, 3] unit vectors in the source's pose; None where the source has none.
    """

    start: int
    stop: int
    faces: np.ndarray
    attributes: dict[str, int]
    material: int | None
    normals: np.ndarray | None


@dataclass(frozen=True)
class Shape:
    """The primitives of one node."""

    name: str
    pieces: tuple[Piece, ...]


def copy_surface(source: MeshSource, file: GlbFile) -> tuple[list[Shape], list[str]]:
    """Copy materials, texture coordinates and colours into a file; return the shapes, and warnings for people."""
    if isinstance(source.surface, PlainSurface):
        return [_plain_shape(source.mesh, source.surface, file)], []
    copy = _GltfCopy(source.mesh, source.surface, file)
    return copy.shapes(), copy.warnings + copy.materials.warnings


class _GltfCopy:
    """Copies the surface of a glTF file. warnings: what had to be left out."""

    def __init__(self, mesh: AnimatedMesh, surface: GltfSurface, file: GlbFile) -> None:
        self._mesh, self._model, self._poses, self._file = mesh, surface.model, surface.poses, file
        self._uv_accessors: dict[int, int] = {}
        self.materials = MaterialCopy(surface.model.document, file)
        self.warnings: list[str] = []

    def shapes(self) -> list[Shape]:
        """Return one shape for each node that shows a mesh."""
        start = first_face = 0
        by_node: dict[int, list[Piece]] = {}
        for part in self._model.parts:
            stop, last_face = start + len(part.primitive.positions), first_face + len(part.primitive.faces)
            faces = self._mesh.faces[first_face:last_face] - start
            by_node.setdefault(part.node, []).append(self._piece(part, start, stop, faces))
            start, first_face = stop, last_face
        names = self._model.tree.nodes
        return [Shape(clean(names[node].name, MAX_NAME), tuple(pieces)) for node, pieces in by_node.items()]

    def _piece(self, part: Part, start: int, stop: int, faces: np.ndarray) -> Piece:
        primitive = part.primitive
        material = self.materials.material(primitive.material)
        attributes: dict[str, int] = {}
        if (primitive.colors != 1.0).any():
            width = 4 if (primitive.colors[:, 3] != 1.0).any() else 3
            attributes["COLOR_0"] = self._file.accessor(primitive.colors[:, :width].astype("<f4"))
        wanted = {*primitive.uv_accessors, *self.materials.uv_sets(primitive.material)}
        for uv_set in range(max((index + 1 for index in wanted if index < MAX_UV_SETS), default=0)):  # without gaps
            attributes[f"TEXCOORD_{uv_set}"] = self._uvs(primitive.uv_accessors.get(uv_set), stop - start)
        return Piece(start, stop, faces, attributes, material, self._normals(part))

    def _normals(self, part: Part) -> np.ndarray | None:
        """Return the file's normals in the pose; None where it has none."""
        primitive = part.primitive
        if primitive.normal_accessor is None:
            return None
        try:
            normals = self._model.document.floats(primitive.normal_accessor, "VEC3")
        except ClipError as error:
            self.warnings.append(f"the animated mesh has no normals: {error.message}")
            return None
        if len(normals) != len(primitive.positions):
            return None
        return posed_normals(self._model, part, self._poses, normals)

    def _uvs(self, accessor: int | None, count: int) -> int:
        """Return texture coordinates as they are in the file; zeros where there are none."""
        if accessor is None:
            return self._file.zeros(count, 2)
        if accessor not in self._uv_accessors:
            try:
                values = self._model.document.numbers(accessor, "VEC2")
            except ClipError as error:  # of a set that no texture of our renderer reads
                self.warnings.append(f"texture coordinates are left out of the animated mesh: {error.message}")
                values = np.zeros((0, 2))
            fit = np.clip(np.nan_to_num(values), -1e30, 1e30).astype("<f4")
            self._uv_accessors[accessor] = self._file.accessor(fit) if len(fit) == count else self._file.zeros(count, 2)
        return self._uv_accessors[accessor]


def _plain_shape(mesh: AnimatedMesh, surface: PlainSurface, file: GlbFile) -> Shape:
    textures: dict[int, int] = {}
    for index, encoded in enumerate(surface.images):
        image, mime = add_image(file, encoded, f"texture {index}")
        textures[index] = add_texture(file, image, mime, None)
    materials = [add_material(file, material, textures) for material in mesh.materials]
    pieces = []
    start = 0
    for part in surface.parts:
        attributes: dict[str, int] = {}
        if part.colors is not None:
            attributes["COLOR_0"] = file.accessor(part.colors.astype("<f4"))
        textured = {part.material.texture, part.material.emissive_texture} != {-1}
        if part.uvs is not None:
            attributes["TEXCOORD_0"] = file.accessor(mesh.uvs[start : start + len(part.vertices)].astype("<f4"))
        elif textured:
            attributes["TEXCOORD_0"] = file.zeros(len(part.vertices), 2)
        normals = None
        if part.normals is not None and np.isfinite(part.normals).all():
            normals = unit_vectors(part.normals)
        material = materials[mesh.materials.index(part.material)]
        stop = start + len(part.vertices)
        pieces.append(Piece(start, stop, part.faces.astype(np.int32), attributes, material, normals))
        start = stop
    return Shape(surface.parts[0].name, tuple(pieces))
