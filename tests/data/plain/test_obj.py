"""OBJ files with their materials, as exporters write them and as nobody should."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gvf.data.mesh_source import read_mesh
from gvf.data.plain import trimesh_files
from gvf.data.plain.mesh import PlainSurface
from gvf.errors import UserError
from tests.data.gltf.gltf_files import png

SQUARE = """# a unit square of two materials
mtllib square.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
usemtl skin of paint
f 1/1/1 2/2/1 3/3/1
usemtl glass
f 1/1/1 3/3/1 4/4/1
"""
MATERIALS = """newmtl skin of paint
Kd 0.8 0.8 0.8
map_Kd -s 1 1 1 -clamp on maps\\my skin.png
newmtl glass
Kd 0.1 0.2 0.3
d 0.25
Ke 0.5 0 0
"""


def square(folder: Path, materials: str = MATERIALS, obj: str = SQUARE) -> Path:
    (folder / "maps").mkdir()
    (folder / "maps" / "my skin.png").write_bytes(png([[[255, 0, 0], [0, 255, 0]]]))
    (folder / "square.mtl").write_text(materials)
    (folder / "square.obj").write_text(obj)
    return folder / "square.obj"


def test_materials_textures_and_coordinates(tmp_path: Path) -> None:
    source = read_mesh(square(tmp_path))
    mesh = source.mesh
    assert source.warnings == ()
    assert source.up == "y"
    by_name = {material.name: material for material in mesh.materials}
    assert by_name["skin of paint"].base_color == (1.0, 1.0, 1.0, 1.0), "the texture replaces Kd"
    assert by_name["skin of paint"].texture == 0
    assert by_name["skin of paint"].alpha_mode == "OPAQUE"
    assert by_name["glass"].base_color == (0.1, 0.2, 0.3, 0.25)
    assert by_name["glass"].alpha_mode == "BLEND"
    assert by_name["glass"].emissive == (0.5, 0.0, 0.0)
    assert all(material.double_sided for material in mesh.materials)
    np.testing.assert_array_equal(mesh.textures[0], [[[255, 0, 0, 255], [0, 255, 0, 255]]])
    assert isinstance(source.surface, PlainSurface)
    assert source.surface.images == ((tmp_path / "maps" / "my skin.png").read_bytes(),)
    corners = mesh.vertices[0][mesh.faces]
    assert mesh.vertices.shape == (1, 6, 3)
    np.testing.assert_allclose(mesh.uvs[mesh.faces][..., 0], corners[..., 0])
    np.testing.assert_allclose(mesh.uvs[mesh.faces][..., 1], 1.0 - corners[..., 1], err_msg="v points down in glTF")
    assert all(np.allclose(part.normals, [0, 0, 1]) for part in source.surface.parts if part.normals is not None)
    skin = [material.name for material in mesh.materials].index("skin of paint")
    np.testing.assert_allclose(corners[mesh.face_materials == skin][0].max(axis=0), [1, 1, 0])


def test_polygons_and_files_without_materials(tmp_path: Path) -> None:
    path = tmp_path / "house.obj"
    path.write_text("v 0 0 0\nv 2 0 0\nv 2 1 0\nv 1 2 0\nv 0 1 0\nf 1 2 3 4 5\nf 1 2 3\n")
    mesh = read_mesh(path).mesh
    corners = mesh.vertices[0][mesh.faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2.0
    assert areas.sum() == pytest.approx(3.0 + 1.0)
    assert mesh.materials[0].base_color[:3] == (0.8, 0.8, 0.8)


def test_negative_indices_tabs_and_indented_lines(tmp_path: Path) -> None:
    """Two triangles, each of the three vertices before it."""
    path = tmp_path / "two.obj"
    first = "v\t0 0 0\r\n  v 1 0 0\r\nv 0 1 0\r\nvn 0 0 1\r\nf -3//-1 -2//-1 -1//-1\r\n"
    second = "v 5 0 0\r\nv 7 0 0\r\nv 5 2 0\r\nvn 0 0 1\r\n\tf -3//-1 -2//-1 -1//-1\r\n"
    path.write_bytes((first + second).encode())
    mesh = read_mesh(path).mesh
    corners = mesh.vertices[0][mesh.faces]
    np.testing.assert_array_equal(np.sort(corners.mean(axis=1)[:, 0]), [pytest.approx(1 / 3), pytest.approx(5 + 2 / 3)])


def test_vertex_colours_are_srgb(tmp_path: Path) -> None:
    path = tmp_path / "bright.obj"
    path.write_text("v 0 0 0 1 0.5 0\nv 1 0 0 1 0.5 0\nv 0 1 0 1 0.5 0\nf 1 2 3\n")
    np.testing.assert_allclose(read_mesh(path).mesh.colors[0], [1.0, 0.2140, 0.0, 1.0], atol=3e-3)


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.png", "C:\\art\\skin.png", "linked.png", "pipe.png"])
def test_textures_come_from_the_files_own_folder_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(png([[[1, 2, 3]]]))
    path = square(folder, f"newmtl skin of paint\nmap_Kd {name}\n")
    (folder / "linked.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(folder / "pipe.png")
    source = read_mesh(path)
    assert source.mesh.textures == ()
    assert ["there is no file" in warning for warning in source.warnings] == [True]


def test_an_absolute_name_finds_the_file_beside_the_mesh(tmp_path: Path) -> None:
    path = square(tmp_path, "newmtl skin of paint\nmap_Kd C:\\Users\\me\\skin.png\n")
    (tmp_path / "skin.png").write_bytes(png([[[9, 8, 7]]]))
    np.testing.assert_array_equal(read_mesh(path).mesh.textures[0], [[[9, 8, 7, 255]]])


def test_what_is_missing_costs_only_itself(tmp_path: Path) -> None:
    path = square(tmp_path, "newmtl skin of paint\nmap_Kd eps.png\nnewmtl glass\nKd nan 1 1\n")
    (tmp_path / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    source = read_mesh(path)
    assert "EPS" in source.warnings[0]
    assert {material.base_color[:3] for material in source.mesh.materials} == {(0.8, 0.8, 0.8)}
    (tmp_path / "square.mtl").unlink()
    source = read_mesh(path)
    assert "no file 'square.mtl'" in source.warnings[0]
    assert len(source.mesh.faces) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no triangles"),
        ("v 0 0 0\nv 1 0 0\n", "no triangles"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "square.obj"),
        ("v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n", "NaN"),
        ("v 0 0 0\nv 1e300 0 0\nv 0 1 0\nf 1 2 3\n", "too large"),
        ("v 0 0\nf 1 1 1\n", "square.obj"),
        ("v a b c\nf x y z\n", "square.obj"),
        ("\x00\xff\x01 v f usemtl", "square.obj"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "square.obj"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_mesh(path)


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = square(tmp_path)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(1, len(damaged) + 1)])
        try:
            read_mesh(path)
        except UserError:
            continue


def test_size_is_refused_before_trimesh_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gvf.data.mesh_source.MAX_TRIANGLES", 1)
    monkeypatch.setattr(trimesh_files, "_loaded", lambda *_: pytest.fail("was read"))
    with pytest.raises(UserError, match="2 faces and 4 vertices; at most 1 triangles"):
        read_mesh(square(tmp_path))
    with pytest.raises(UserError, match="no animations"):
        read_mesh(tmp_path / "square.obj", clip="walk")
    with pytest.raises(UserError, match=r"is not a model file that gvf reads. Supported formats: \.glb"):
        read_mesh(tmp_path / "square.mtl")
    with pytest.raises(UserError, match="No such file"):
        read_mesh(tmp_path / "nowhere.obj")
