"""Read triangle meshes from PLY files, with colours of vertices or faces, or a texture as MeshLab writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyParseError

from gvf.data.plain.mesh import PlainPart, PlainSurface, to_linear
from gvf.data.plain.mtl import PLAIN, WHITE
from gvf.data.plain.side_files import SideFiles
from gvf.errors import UserError
from gvf.gaussians.ply_header import read_ply_header
from gvf.text import MAX_NAME, clean

_INDICES = ("vertex_indices", "vertex_index")
_UVS = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_COLORS = ("red", "green", "blue")


def read_ply_mesh(path: Path, max_triangles: int) -> tuple[PlainSurface, list[str]]:
    """Return the mesh of a PLY file, and warnings. Raises UserError for a broken file and for one without faces."""
    header = read_ply_header(path, max_triangles)
    vertex, face = header.elements.get("vertex"), header.elements.get("face")
    if vertex is None or not {"x", "y", "z"} <= set(vertex.properties):
        raise UserError(f"{path}: has no vertices with x, y and z.")
    if face is None or not face.count:
        raise UserError(f"{path}: has no faces, so it is a cloud of points, neither a mesh nor Gaussians.")
    if vertex.count > 3 * max_triangles:
        raise UserError(f"{path}: has {vertex.count} vertices; at most {max_triangles} triangles are read.")
    indices = next((name for name in _INDICES if name in face.lists), None)
    if indices is None or vertex.lists:
        raise UserError(f"{path}: its faces have no list {' or '.join(_INDICES)}. Export the mesh again.")
    try:
        with np.errstate(over="ignore"):
            data = _read(path, indices if face.lists == {indices} else None)
        table = data["vertex"].data
        faces, owners = _triangles([np.asarray(row) for row in data["face"].data[indices]])
        files = SideFiles(path)
        part = _part(path, table, data["face"].data, faces, owners)
        part = _textured(part, data["face"].data, owners, table, header.comments, files)
    except (PlyParseError, ValueError, KeyError, OverflowError, TypeError, IndexError) as error:
        raise UserError(f"{path}: is not a readable PLY file ({clean(str(error), 200)}).") from None
    if len(part.faces) > max_triangles:
        raise UserError(f"{path}: has {len(part.faces)} triangles; at most {max_triangles} are read.")
    return PlainSurface((part,), tuple(files.images)), files.warnings


def _read(path: Path, indices: str | None) -> PlyData:
    """Read a file, fast where `indices`, the only list of its faces, names triangles alone."""
    if indices is not None:
        try:
            return PlyData.read(str(path), known_list_len={"face": {indices: 3}})
        except (PlyParseError, ValueError):
            pass  # other polygons, or damage, which the slow way reports
    return PlyData.read(str(path))


def _triangles(polygons: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return triangles [F, 3] that fan out polygons, and the polygon [F] of each; polygons of fewer corners are dropped."""
    sizes = np.array([len(polygon) for polygon in polygons])
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[sizes >= 3]):
        chosen = np.flatnonzero(sizes == size)
        corners = np.stack([polygons[i] for i in chosen]).astype(np.int64)
        for k in range(1, size - 1):
            triangles.append(corners[:, [0, k, k + 1]])
            owners.append(chosen)
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(triangles)[order], np.concatenate(owners)[order]


def _part(path: Path, vertices: Any, rows: Any, faces: np.ndarray, owners: np.ndarray) -> PlainPart:
    names = vertices.dtype.names
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
    normals = None
    if {"nx", "ny", "nz"} <= set(names):
        normals = np.stack([vertices[axis] for axis in ("nx", "ny", "nz")], axis=1).astype(np.float64)
    part = PlainPart(clean(path.stem, MAX_NAME) or "mesh", points, faces, PLAIN, normals)
    if set(_COLORS) <= set(names):
        return replace(part, colors=_colors(vertices), material=WHITE)
    if set(_COLORS) <= set(rows.dtype.names):  # of faces, which then share no vertices
        return replace(_apart(part), colors=np.repeat(_colors(rows)[owners], 3, axis=0), material=WHITE)
    return part


def _textured(
    part: PlainPart, rows: Any, owners: np.ndarray, vertices: Any, comments: tuple[str, ...], files: SideFiles
) -> PlainPart:
    """Return a part with texture coordinates of vertices or corners, and the texture that a comment names."""
    name = next((line[12:].strip() for line in comments if line.lower().startswith("texturefile ")), None)
    names = next((pair for pair in _UVS if set(pair) <= set(vertices.dtype.names)), None)
    if names is not None and len(part.vertices) == len(vertices):
        uvs = np.stack([vertices[axis] for axis in names], axis=1).astype(np.float64)
    elif names is None and "texcoord" in rows.dtype.names:
        corners = [np.asarray(row, np.float64).reshape(-1, 2) for row in rows["texcoord"]]
        whole = all(len(corners[owner]) == 3 for owner in np.unique(owners))
        if not whole or len(np.unique(owners)) != len(owners):
            files.warnings.append(f"{part.name}: texture coordinates of polygons are left out; triangulate the mesh.")
            return part
        uvs = np.concatenate([corners[owner] for owner in owners])
        part = part if len(part.vertices) == len(uvs) else _apart(part)
    else:
        return part
    uvs[:, 1] = 1.0 - uvs[:, 1]
    image = None if name is None else files.image(name)
    material = part.material if image is None else replace(WHITE, texture=image)
    return replace(part, uvs=uvs, material=material)


def _apart(part: PlainPart) -> PlainPart:
    """Return a part whose faces share no vertices."""
    corners = part.faces.ravel()
    return replace(
        part,
        vertices=part.vertices[corners],
        faces=np.arange(len(corners)).reshape(-1, 3),
        normals=None if part.normals is None else part.normals[corners],
        colors=None if part.colors is None else part.colors[corners],
    )


def _colors(table: Any) -> np.ndarray:
    """Return linear RGBA [V, 4] of colour columns: bytes, 16-bit numbers, or floats within [0, 1]."""
    names = table.dtype.names
    columns = [table[name] for name in _COLORS] + ([table["alpha"]] if "alpha" in names else [])
    shares = [
        column / np.iinfo(column.dtype).max if column.dtype.kind in "iu" else column.astype(np.float64)
        for column in columns
    ]
    values = np.ones((len(table), 4))
    values[:, : len(shares)] = np.clip(np.nan_to_num(np.stack(shares, axis=1)), 0.0, 1.0)
    values[:, :3] = to_linear(values[:, :3])
    return values
