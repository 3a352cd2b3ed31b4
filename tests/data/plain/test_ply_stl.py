"""Meshes in PLY and STL files: colours, textures, polygons, axes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from gvf.data.mesh_source import read_mesh
from gvf.data.plain.mesh import PlainSurface
from gvf.errors import UserError
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES, png

HEADER = """ply
format ascii 1.0
comment TextureFile skin.png
element vertex {vertices}
property float x
property float y
property float z
{more}element face {faces}
property list uchar int vertex_indices
{face}end_header
"""


def ply(path: Path, vertices: list[str], faces: list[str], more: str = "", face: str = "") -> Path:
    head = HEADER.format(vertices=len(vertices), faces=len(faces), more=more, face=face)
    path.write_text(head + "\n".join([*vertices, *faces]) + "\n")
    return path


def binary_cube(path: Path, quad: bool = False) -> Path:
    """The cube as a binary PLY; with `quad`, its first two triangles are one polygon."""
    faces = [list(map(int, face)) for face in CUBE_FACES]
    if quad:
        faces[:2] = [[0, 1, 3, 2]]
    head = HEADER.format(vertices=8, faces=len(faces), more="", face="").replace("ascii", "binary_big_endian")
    body = CUBE.astype(">f4").tobytes() + b"".join(struct.pack(f">B{len(f)}i", len(f), *f) for f in faces)
    path.write_bytes(head.encode() + body)
    return path


@pytest.mark.parametrize("quad", [False, True])
def test_a_binary_cube(tmp_path: Path, quad: bool) -> None:
    mesh = read_mesh(binary_cube(tmp_path / "cube.ply", quad), up="y").mesh
    np.testing.assert_array_equal(mesh.vertices[0], CUBE)
    corners = mesh.vertices[0][mesh.faces]
    assert len(corners) == 12
    assert np.linalg.det(corners).sum() / 6.0 == pytest.approx(1.0)


def test_z_is_up_unless_told_otherwise(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", ["0 0 0", "1 0 0", "0 0 5"], ["3 0 1 2"])
    source = read_mesh(path)
    assert source.up == "z"
    np.testing.assert_array_equal(source.mesh.vertices[0], [[0, 0, 0], [1, 0, 0], [0, 5, 0]])
    np.testing.assert_allclose(source.mesh.normalized().vertices[0, 2], [-0.1, 0.0, 0.5], atol=1e-7)
    assert "--up y" in source.warnings[0]
    assert read_mesh(path, up="z").warnings == ()
    np.testing.assert_array_equal(read_mesh(path, up="y").mesh.vertices[0, 2], [0, 0, 5])


def test_colours_of_vertices_and_faces(tmp_path: Path) -> None:
    colours = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    points = ["0 0 0 255 0 0", "1 0 0 0 255 0", "0 1 0 0 0 188"]
    mesh = read_mesh(ply(tmp_path / "vertices.ply", points, ["3 0 1 2"], colours), up="y").mesh
    np.testing.assert_allclose(mesh.colors[2], [0, 0, 0.5029, 1], atol=1e-4)
    assert mesh.materials[0].base_color == (1.0, 1.0, 1.0, 1.0)
    faces = ["3 0 1 2 255 0 0", "3 0 1 3 0 255 0"]
    mesh = read_mesh(
        ply(tmp_path / "faces.ply", ["0 0 0", "1 0 0", "0 1 0", "0 -1 0"], faces, face=colours), up="y"
    ).mesh
    np.testing.assert_array_equal(mesh.colors[mesh.faces][:, :, :3], [[[1, 0, 0]] * 3, [[0, 1, 0]] * 3])


@pytest.mark.parametrize("where", ["vertices", "corners"])
def test_a_texture_as_meshlab_writes_it(tmp_path: Path, where: str) -> None:
    (tmp_path / "skin.png").write_bytes(png([[[255, 0, 0], [0, 255, 0]]]))
    if where == "vertices":
        more = "property float s\nproperty float t\n"
        path = ply(tmp_path / "a.ply", ["0 0 0 0 0", "1 0 0 1 0", "0 1 0 0 1"], ["3 0 1 2"], more)
    else:
        face = "property list uchar float texcoord\n"
        path = ply(tmp_path / "a.ply", ["0 0 0", "1 0 0", "0 1 0"], ["3 0 1 2 6 0 0 1 0 0 1"], face=face)
    source = read_mesh(path, up="y")
    mesh = source.mesh
    np.testing.assert_array_equal(mesh.uvs[mesh.faces[0]], [[0, 1], [1, 1], [0, 0]])
    assert mesh.materials[0].texture == 0
    assert mesh.textures[0].shape == (1, 2, 4)
    assert isinstance(source.surface, PlainSurface)
    assert source.surface.images == ((tmp_path / "skin.png").read_bytes(),)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (["0 0 0", "1 0 0"], [], "cloud of points"),
        (["0 0 0", "1 0 0", "0 1 0"], ["3 0 1 7"], "do not exist"),
        (["0 0 0", "1 0 0", "0 1 0"], ["3 0 1 -1"], "do not exist"),
        (["0 0 0", "1 0 0", "0 nan 0"], ["3 0 1 2"], "NaN"),
        (["0 0 0", "1 0 0", "0 1 0"], ["2 0 1"], "no triangles"),
        (["0 0 0", "1 0", "0 1 0"], ["3 0 1 2"], "not a readable PLY"),
    ],
)
def test_broken_ply_files(tmp_path: Path, vertices: list[str], faces: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_mesh(ply(tmp_path / "a.ply", vertices, faces))


def test_a_declared_size_reads_nothing(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", ["0 0 0", "1 0 0", "0 1 0"], ["3 0 1 2"])
    path.write_text(path.read_text().replace("element face 1", "element face 1999999999"))
    with pytest.raises(UserError, match="truncated: 1999999999 rows"):
        read_mesh(path)


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = binary_cube(tmp_path / "cube.ply", quad=True)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(1, len(damaged) + 1)])
        try:
            read_mesh(path)
        except UserError:
            continue


@pytest.mark.parametrize("ascii_text", [False, True])
def test_stl_corners_are_joined(tmp_path: Path, ascii_text: bool) -> None:
    path = tmp_path / "cube.stl"
    corners = CUBE[CUBE_FACES]
    if ascii_text:
        facets = [
            "facet normal 0 0 0\nouter loop\n"
            + "".join("vertex {} {} {}\n".format(*point) for point in face)
            + "endloop\nendfacet\n"
            for face in corners
        ]
        path.write_text("solid cube\n" + "".join(facets) + "endsolid cube\n")
    else:
        body = b"".join(struct.pack("<12fH", 0, 0, 0, *face.ravel(), 0) for face in corners)
        path.write_bytes(bytes(80) + struct.pack("<I", 12) + body)
    mesh = read_mesh(path, up="y").mesh
    assert mesh.vertices.shape == (1, 8, 3)
    np.testing.assert_array_equal(np.sort(mesh.vertices[0][mesh.faces], axis=0), np.sort(corners, axis=0))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"cube\.stl"):
        read_mesh(path)
