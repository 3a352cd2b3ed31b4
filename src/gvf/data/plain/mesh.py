"""A mesh from a file that is not glTF: parts of consecutive vertices with one material each, joined into one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gvf.data.mesh import AnimatedMesh, Material, reduced
from gvf.errors import UserError
from gvf.storage.images import read_rgba


@dataclass(frozen=True)
class PlainPart:
    """A part in the file's own axes. vertices: [V, 3] float64. faces: [F, 3]. normals: [V, 3] or None.

    uvs: [V, 2] or None, glTF convention (v downwards). colors: [V, 4] linear RGBA or None.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    material: Material
    normals: np.ndarray | None = None
    uvs: np.ndarray | None = None
    colors: np.ndarray | None = None


@dataclass(frozen=True)
class PlainSurface:
    """What is written again of a mesh that is not glTF.

    parts: in the order of its vertices and faces, with y up. images: encoded textures, in the order of the mesh's.
    """

    parts: tuple[PlainPart, ...]
    images: tuple[bytes, ...]


def joined(parts: Sequence[PlainPart], images: Sequence[bytes], max_texture_size: int) -> AnimatedMesh:
    """Return the parts as one mesh of one frame. Raises UserError for images that cannot be decoded."""
    materials = tuple(dict.fromkeys(part.material for part in parts))
    sizes = [len(part.vertices) for part in parts]
    starts = np.cumsum([0, *sizes])
    return AnimatedMesh(
        vertices=np.concatenate([part.vertices for part in parts])[None],
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts)]).astype(np.int32),
        face_materials=np.concatenate(
            [np.full(len(part.faces), materials.index(part.material), np.int32) for part in parts]
        ),
        uvs=_attribute([part.uvs for part in parts], sizes, 2, 0.0),
        colors=_attribute([part.colors for part in parts], sizes, 4, 1.0),
        materials=materials,
        textures=tuple(reduced(read_rgba(image, f"texture {i}"), max_texture_size) for i, image in enumerate(images)),
        times=np.zeros(1, np.float32),
    )


def checked(part: PlainPart, where: str) -> PlainPart:
    """Return a part, or raise UserError when its values are not finite, or its faces name vertices that do not exist."""
    if part.vertices.shape[1:] != (3,) or part.faces.shape[1:] != (3,):
        raise UserError(f"{where}: has vertices without x, y and z. Export the mesh again.")
    if not np.isfinite(part.vertices).all() or np.abs(part.vertices).max() > float(np.finfo(np.float32).max):
        raise UserError(f"{where}: has a vertex that is NaN, infinite or too large.")
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise UserError(f"{where}: has a face of vertices that do not exist. Export the mesh again.")
    return part


def _attribute(arrays: Sequence[np.ndarray | None], sizes: Sequence[int], width: int, default: float) -> np.ndarray:
    filled = [
        np.full((size, width), default) if array is None else np.nan_to_num(array, nan=default, posinf=1e8, neginf=-1e8)
        for array, size in zip(arrays, sizes)
    ]
    return np.concatenate(filled).astype(np.float32)


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Return linear values of sRGB values within [0, 1] (IEC 61966-2-1)."""
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))
