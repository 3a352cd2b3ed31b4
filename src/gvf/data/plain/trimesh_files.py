"""Read OBJ and STL files with trimesh, which sees neither other files nor images: materials are read here."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh

from gvf.data.mesh import Material
from gvf.data.plain.mesh import PlainPart, PlainSurface, to_linear
from gvf.data.plain.mtl import MAX_MATERIALS, PLAIN, WHITE, read_materials
from gvf.data.plain.side_files import SideFiles
from gvf.errors import UserError
from gvf.text import MAX_NAME, clean

_MAX_LIBRARIES = 16


def read_obj(path: Path, data: bytes, max_triangles: int) -> tuple[PlainSurface, list[str]]:
    """Return the parts of a Wavefront OBJ file, one for each material, and warnings. Raises UserError for a broken file."""
    files = SideFiles(path)
    data = _plain_lines(data)
    materials: dict[str, Material] = {}
    libraries = re.findall(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", data, re.MULTILINE)
    for library in list(dict.fromkeys(libraries))[:_MAX_LIBRARIES]:
        text = files.text(library.decode("utf-8", "replace").strip())
        materials |= {} if text is None else read_materials(text, files)
    if len(set(re.findall(rb"^[ \t]*usemtl[ \t]+([^\r\n]+)", data, re.MULTILINE))) > MAX_MATERIALS:
        raise UserError(f"{path}: uses more than {MAX_MATERIALS} materials.")
    num_vertices, num_faces = (len(re.findall(rb"^%b[ \t]" % kind, data, re.MULTILINE)) for kind in (b"v", b"f"))
    _refuse_counts(path, num_vertices, num_faces, max_triangles)
    has_normals = re.search(rb"^vn[ \t]", data, re.MULTILINE) is not None
    # trimesh names the materials of its parts only if it finds them in a library: here one that holds their names alone.
    names = "".join(f"newmtl {name}\n" for name in materials).encode()
    data = re.sub(rb"^[ \t]*mtllib[^\r\n]*", b"", data, flags=re.MULTILINE)
    scene = _loaded(path, b"mtllib names\n" + _with_absolute_indices(data), "obj", {"names": names})
    parts = []
    for geometry in scene.geometry.values():
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
            name = getattr(getattr(geometry.visual, "material", None), "name", None)
            parts.append(_obj_part(path, geometry, materials.get(str(name), PLAIN), has_normals))
    return PlainSurface(tuple(parts), tuple(files.images)), files.warnings


def read_stl(path: Path, data: bytes, max_triangles: int) -> tuple[PlainSurface, list[str]]:
    """Return the parts of an STL file, with corners at the same place joined. Raises UserError for a broken file."""
    binary = len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little")
    _refuse_counts(path, 0, (len(data) - 84) // 50 if binary else data.count(b"endfacet"), max_triangles)
    parts = []
    for name, geometry in _loaded(path, data, "stl", {}).geometry.items():
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
            vertices, places = np.unique(np.asarray(geometry.vertices, np.float64), axis=0, return_inverse=True)
            faces = places.ravel()[np.asarray(geometry.faces)]
            parts.append(PlainPart(clean(str(name), MAX_NAME) or path.stem, vertices, faces, PLAIN))
    return PlainSurface(tuple(parts), ()), []


def _plain_lines(data: bytes) -> bytes:
    """Return the text of an OBJ file as trimesh expects it: lines end in LF and start with their keyword, a space follows."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\t", b" ")
    return re.sub(rb"^ +", b"", data, flags=re.MULTILINE)


def _with_absolute_indices(data: bytes) -> bytes:
    """Replace negative indices of faces, which count back from the vertices so far; trimesh counts from the last of the file."""
    if re.search(rb"^f .*-\d", data, re.MULTILINE) is None:
        return data
    counts = {b"v": 0, b"vt": 0, b"vn": 0}
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        keyword = line.partition(b" ")[0]
        if keyword in counts:
            counts[keyword] += 1
        elif keyword == b"f" and b"-" in line:
            corners = [zip(corner.split(b"/"), counts.values()) for corner in line.split()[1:]]
            lines[number] = b"f " + b" ".join(b"/".join(_absolute(*pair) for pair in corner) for corner in corners)
    return b"\n".join(lines)


def _absolute(index: bytes, count: int) -> bytes:
    return b"%d" % (count + 1 + int(index)) if re.fullmatch(rb"-\d{1,9}", index) else index


def _obj_part(path: Path, geometry: trimesh.Trimesh, material: Material, has_normals: bool) -> PlainPart:
    count = len(geometry.vertices)
    uvs = getattr(geometry.visual, "uv", None)
    if uvs is not None and np.shape(uvs) == (count, 2):
        uvs = np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1)
    else:
        uvs = None
    colors = None
    if geometry.visual.kind == "vertex":
        colors = np.asarray(geometry.visual.vertex_colors, np.float64) / 255.0
        colors[:, :3] = to_linear(colors[:, :3])
    name = material.name if material is not PLAIN else clean(path.stem, MAX_NAME)
    normals = np.asarray(geometry.vertex_normals, np.float64) if has_normals else None
    if colors is not None and material is PLAIN:
        material = WHITE
    return PlainPart(
        name, np.asarray(geometry.vertices, np.float64), np.asarray(geometry.faces), material, normals, uvs, colors
    )


def _loaded(path: Path, data: bytes, kind: str, files: Mapping[str, bytes]) -> trimesh.Scene:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about the functions that trimesh parses numbers with
        try:
            return trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=_Files(files), process=False)
        except MemoryError:
            raise
        except (
            Exception
        ) as error:  # whatever trimesh's parsers raise on a broken file: index, value, key errors and more
            message = clean(str(error), 200) or type(error).__name__
            raise UserError(
                f"{path}: is not a readable {kind.upper()} file ({message}). Export the mesh again."
            ) from None


class _Files(dict[str, bytes]):
    """The only files that trimesh can ask for."""


def _refuse_counts(path: Path, vertices: int, faces: int, max_triangles: int) -> None:
    if faces > max_triangles or vertices > 3 * max_triangles:
        raise UserError(
            f"{path}: has {faces} faces and {vertices} vertices; at most {max_triangles} triangles are read."
        )
