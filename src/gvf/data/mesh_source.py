"""A mesh in one pose, read from a file, with what is needed to write its materials again."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gvf.data.gltf.baking import GltfModel, bake_clip, bake_rest, load_model
from gvf.data.gltf.document import GLTF_SUFFIXES, read_gltf
from gvf.data.gltf.scene import NodePose
from gvf.data.mesh import AnimatedMesh
from gvf.data.named_clip import find_clip
from gvf.data.plain.mesh import PlainPart, PlainSurface, checked, joined
from gvf.data.plain.ply_mesh import read_ply_mesh
from gvf.data.plain.trimesh_files import read_obj, read_stl
from gvf.errors import ClipError, UserError

MESH_SUFFIXES = (*GLTF_SUFFIXES, ".obj", ".ply", ".stl")
MAX_TRIANGLES = 2_000_000
MAX_BYTES = 1 << 29
"""Largest OBJ, PLY or STL file that is read."""
UP = {".glb": "y", ".gltf": "y", ".obj": "y", ".ply": "z", ".stl": "z"}
"""The axis that points up in files of each kind, unless the user names another one: as Blender writes them."""

_MAX_TEXTURE = 2048  # texels along the longer side of a texture that is drawn; files written from it keep the original


@dataclass(frozen=True)
class GltfSurface:
    """The glTF file behind a mesh. poses: transforms of the nodes that the chosen animation moves, one frame each."""

    model: GltfModel
    poses: Mapping[int, NodePose]


@dataclass(frozen=True)
class MeshSource:
    """A mesh with one frame, in the file's units and y up.

    up: the axis that points up in the file itself. surface: what is written again. warnings: faults of the file, for people.
    """

    mesh: AnimatedMesh
    up: str
    surface: GltfSurface | PlainSurface
    warnings: tuple[str, ...] = ()


def read_mesh(path: Path, clip: str | None = None, up: str | None = None) -> MeshSource:
    """Read a mesh in .glb, .gltf, .obj, .ply or .stl; of a glTF file, its default scene.

    clip: animation of a glTF file whose first keyframe is the pose; None for the rest pose. up: `y` or `z`, None for
    what is usual for the kind of file; glTF is always y up. Raises UserError when the file cannot be read, has no such
    animation, or more than MAX_TRIANGLES triangles.
    """
    kind = path.suffix.lower()
    if kind not in MESH_SUFFIXES:
        raise UserError(f"{path}: is not a model file that gvf reads. Supported formats: {', '.join(MESH_SUFFIXES)}.")
    _refuse_irregular(path)
    if kind in GLTF_SUFFIXES:
        if up not in (None, "y"):
            raise UserError(f"{path}: is a glTF file, which always has y up. Leave --up out.")
        return _read_gltf(path, clip)
    if clip is not None:
        raise UserError(f"{path}: has no animations, so there is no clip {clip!r}. Leave --clip out.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES >> 20} MiB ({size >> 20} MiB). Simplify the mesh.")
    return _read_plain(path, kind, up or UP[kind], up is None)


def _read_gltf(path: Path, clip: str | None) -> MeshSource:
    try:
        document = read_gltf(path)
        model = load_model(document, MAX_TRIANGLES, _MAX_TEXTURE)
        if clip is None:
            return MeshSource(bake_rest(model), "y", GltfSurface(model, {}))
        animation = model.animation(find_clip(document, clip))
        start = np.array([animation.start])
        return MeshSource(bake_clip(model, animation, start), "y", GltfSurface(model, animation.poses(start)))
    except ClipError as error:
        raise UserError(error.message) from None


def _read_plain(path: Path, kind: str, up: str, assumed: bool) -> MeshSource:
    if kind == ".ply":
        surface, warnings = read_ply_mesh(path, MAX_TRIANGLES)
    else:
        read = read_obj if kind == ".obj" else read_stl
        surface, warnings = read(path, path.read_bytes(), MAX_TRIANGLES)
    surface = replace(surface, parts=tuple(part for part in surface.parts if len(part.faces)))
    if not surface.parts:
        raise UserError(f"{path}: has no triangles, so there is nothing to animate.")
    if sum(len(part.faces) for part in surface.parts) > MAX_TRIANGLES:
        raise UserError(f"{path}: has more than {MAX_TRIANGLES} triangles. Simplify the mesh.")
    if assumed and up == "z":
        warnings.append(
            f"{path.name}: is read with z up, as Blender writes {kind[1:].upper()}. If it lies down, pass --up y."
        )
    parts = [checked(part, str(path)) for part in surface.parts]
    surface = replace(surface, parts=tuple(part if up == "y" else _with_y_up(part) for part in parts))
    mesh = joined(surface.parts, surface.images, _MAX_TEXTURE)
    return MeshSource(mesh, up, surface, tuple(warnings))


def _with_y_up(part: PlainPart) -> PlainPart:
    """Turn a part with z up: (x, y, z) becomes (x, z, -y)."""
    vertices, normals = (
        None if array is None else array[:, [0, 2, 1]] * (1.0, 1.0, -1.0) for array in (part.vertices, part.normals)
    )
    assert vertices is not None
    return replace(part, vertices=vertices, normals=normals)


def _refuse_irregular(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block forever
            raise UserError(f"{path}: is not a file.")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
