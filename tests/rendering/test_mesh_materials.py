"""What materials show: unlit surfaces, emissive textures, and faces whose backs are culled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gvf.data.mesh import WRAP_MODES
from gvf.geometry.camera import orbit
from gvf.rendering.mesh_views import render_mesh
from gvf.rendering.texture import srgb_code
from tests.rendering.test_mesh_views import (
    FRONT,
    GLOWING,
    LIGHT_TOWARDS_FRONT,
    PLAIN,
    K,
    encoded,
    make_mesh,
    quad,
    sphere,
    view,
)

BEHIND = orbit([180.0], 0.0, 2.0)
SINGLE = replace(GLOWING, double_sided=False)
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
BLACK = replace(PLAIN, base_color=(0.0, 0.0, 0.0, 1.0), emissive=(1.0, 1.0, 1.0), emissive_texture=0)


def quadrants(texels: int = 64) -> np.ndarray:
    """Red, green over blue, yellow, [2 texels, 2 texels, 4] uint8."""
    image = np.array([[RED, GREEN], [BLUE, YELLOW]], np.uint8).repeat(texels, axis=0).repeat(texels, axis=1)
    return np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=-1)


def corners_of(image: np.ndarray) -> list[list[int]]:
    """RGB codes in the middle of the four quarters of the square of `quad`, row by row from the top left."""
    low = round((0.5 - K[0, 0, 0] * 0.25 / 2 / 2) * len(image))
    high = len(image) - 1 - low
    return [(image[y, x, :3] * 255).round().astype(int).tolist() for y in (low, high) for x in (low, high)]


@pytest.mark.parametrize("azimuth", [0.0, 35.0, 180.0])
def test_unlit_is_the_base_colour_whatever_the_light(azimuth: float) -> None:
    """(0.5, 0.25, 1) is sRGB (188, 137, 255) by hand."""
    material = replace(PLAIN, base_color=(0.5, 0.25, 1.0, 1.0), unlit=True)
    image = view(make_mesh(*quad()[:2], materials=(material,)), orbit([azimuth], 20.0, 2.0))
    assert (image[32, 32] * 255).round().tolist() == [188, 137, 255, 255]
    material = replace(material, base_color=(1.0, 0.5, 1.0, 1.0))  # the same as factor times vertex colour
    colors = np.tile([0.5, 0.5, 1.0, 1.0], (4, 1))
    image = view(make_mesh(*quad()[:2], materials=(material,), colors=colors), orbit([azimuth], 20.0, 2.0))
    assert (image[32, 32] * 255).round().tolist() == [188, 137, 255, 255]


def test_unlit_shows_texels_unchanged_and_cuts_and_blends_like_others() -> None:
    corners, faces, uvs = quad()
    material = replace(PLAIN, texture=0, unlit=True)
    mesh = make_mesh(corners, faces, uvs=uvs, textures=(quadrants() // 2,), materials=(material,))
    assert corners_of(view(mesh)) == [[127, 0, 0], [0, 127, 0], [0, 0, 127], [127, 127, 0]]
    blend = replace(material, alpha_mode="BLEND", base_color=(1.0, 1.0, 1.0, 0.5), texture=-1)
    np.testing.assert_allclose(
        view(make_mesh(corners, faces, materials=(blend,)))[32, 32], [1, 1, 1, 0.5], atol=1 / 255
    )
    gone = replace(blend, alpha_mode="MASK", alpha_cutoff=0.6)
    assert not view(make_mesh(corners, faces, materials=(gone,))).any()


def test_an_emissive_texture_glows_texel_by_texel() -> None:
    corners, faces, uvs = quad()
    mesh = make_mesh(corners, faces, uvs=uvs, textures=(quadrants(),), materials=(BLACK,))
    assert corners_of(view(mesh)) == [list(RED), list(GREEN), list(BLUE), list(YELLOW)]
    half = replace(BLACK, emissive=(0.5, 0.25, 7.0))  # beyond 1 is cut off
    mesh = make_mesh(corners, faces, uvs=uvs, textures=(quadrants(),), materials=(half,))
    assert corners_of(view(mesh)) == [[188, 0, 0], [0, 137, 0], [0, 0, 255], [188, 137, 0]]


def test_emission_is_added_to_the_lit_base_texture() -> None:
    """A base texture of half the light, 188, and emission on the upper half of the image."""
    corners, faces, uvs = quad()
    base = np.full((8, 8, 4), (188, 188, 188, 255), np.uint8)
    glow = np.zeros((16, 16, 4), np.uint8)
    glow[:8, :, 0], glow[..., 3] = 255, 0  # alpha of an emissive texture means nothing
    material = replace(PLAIN, texture=0, emissive=(0.25, 0.25, 0.25), emissive_texture=1)
    image = view(make_mesh(corners, faces, uvs=uvs, textures=(base, glow), materials=(material,)))
    lit = 0.5029 * LIGHT_TOWARDS_FRONT  # the linear value of 188
    top, _, bottom, _ = np.array(corners_of(image)) / 255
    np.testing.assert_allclose(top, encoded([lit + 0.25, lit, lit]), atol=1.5 / 255)
    np.testing.assert_allclose(bottom, encoded([lit, lit, lit]), atol=1.5 / 255)
    assert np.all(image[32, 32, 3] == 1)


@pytest.mark.parametrize("colored", [False, True])
def test_an_emissive_texture_is_read_with_its_own_coordinates(colored: bool) -> None:
    """Turned by half a turn, while the base texture, green, is read as ever; with vertex colours and without."""
    corners, faces, uvs = quad()
    green = np.full((4, 4, 4), (*GREEN, 255), np.uint8)
    material = replace(BLACK, texture=1, emissive=(1.0, 0.0, 1.0), base_color=(1.0, 1.0, 1.0, 1.0), unlit=True)
    colors = np.tile([1.0, 0.25, 1.0, 1.0], (4, 1)) if colored else None
    mesh = make_mesh(corners, faces, (material,), uvs=uvs, textures=(quadrants(), green), colors=colors)
    mesh = replace(mesh, emissive_uvs=(1 - uvs).astype(np.float32))
    level = 137 if colored else 255
    expected = [[255, level, 0], [0, level, 255], [0, level, 0], [255, level, 0]]  # yellow, blue, green, red turned
    assert corners_of(view(mesh)) == expected


def test_the_sampler_of_an_emissive_texture_says_how_it_wraps() -> None:
    """Left of the image: the image once more, the colour of its left edge, or the image turned over."""
    corners, faces, uvs = quad()
    upper = {}
    for mode in WRAP_MODES:
        material = replace(BLACK, texture=0, base_color=(0.0, 0.0, 0.0, 1.0), emissive_wrap=(mode, "REPEAT"))
        mesh = make_mesh(corners, faces, uvs=uvs - (1, 0), textures=(quadrants(),), materials=(material,))
        upper[mode] = corners_of(view(mesh))[:2]
    assert upper == {
        "REPEAT": [list(RED), list(GREEN)],
        "CLAMP_TO_EDGE": [list(RED), list(RED)],
        "MIRRORED_REPEAT": [list(GREEN), list(RED)],
    }


def test_fine_emissive_textures_do_not_alias() -> None:
    """A one-texel chequerboard far finer than the pixels is an even grey of half the light, whatever the base has."""
    board = np.indices((1024, 1024)).sum(axis=0) % 2 * 255
    fine = np.repeat(board[..., None], 4, axis=2).astype(np.uint8)
    corners, faces, uvs = quad()
    coarse = np.zeros((2, 2, 4), np.uint8)
    for texture in (-1, 1):
        material = replace(BLACK, texture=texture)
        mesh = make_mesh(corners, faces, uvs=uvs, textures=(fine, coarse), materials=(material,))
        np.testing.assert_allclose(view(mesh, size=32)[12:20, 12:20, :3], encoded(0.5), atol=0.02)


def test_backs_of_single_sided_faces_are_not_drawn() -> None:
    corners, faces, _ = quad()
    front = make_mesh(corners, faces, materials=(SINGLE,))
    np.testing.assert_array_equal(view(front), view(make_mesh(corners, faces, materials=(GLOWING,))))
    assert view(front)[32, 32, 3] == 1
    assert not view(front, BEHIND).any()
    turned = make_mesh(corners, faces[:, ::-1], materials=(SINGLE,))
    assert not view(turned).any()
    np.testing.assert_array_equal(view(turned, BEHIND)[..., 3], view(front)[..., 3])
    one_each = make_mesh(corners, faces, (SINGLE, GLOWING), np.array([0, 1]))
    half = view(one_each, BEHIND)[..., 3].sum() / view(one_each)[..., 3].sum()
    assert half == pytest.approx(0.5, abs=0.02)  # the double-sided triangle is half of the square


def test_one_looks_through_a_back_at_what_is_behind_it() -> None:
    """An inverted hull: a black shell around a red ball, wound inside out, shows as an outline only."""
    ball, faces = sphere(0.3, 24)
    shell = sphere(0.35, 24)[0]
    red = replace(PLAIN, base_color=(0.0, 0.0, 0.0, 1.0), emissive=(1.0, 0.0, 0.0), double_sided=False)
    outline = replace(red, emissive=(0.0, 0.0, 0.0))
    mesh = make_mesh(
        *(np.r_[ball, shell], np.r_[faces, faces[:, ::-1] + len(ball)], (red, outline)),
        np.repeat([0, 1], len(faces)),
    )
    image = view(mesh, size=128)
    assert image[64, 64].tolist() == [1, 0, 0, 1]
    ring = int((0.5 + K[0, 0, 0] * 0.325 / 2) * 128)
    assert image[64, ring].tolist() == [0, 0, 0, 1]
    double = make_mesh(mesh.vertices[0], mesh.faces, (red, replace(outline, double_sided=True)), mesh.face_materials)
    assert view(double, size=128)[64, 64].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("mode", ["MASK", "BLEND"])
def test_layers_of_cut_and_blended_surfaces_leave_out_backs(mode: str) -> None:
    """Two half-transparent squares; seen from behind, the nearer, single-sided one is not there."""
    near, far = quad(y=-0.2)[0], quad(y=0.2)[0]
    faces = quad()[1]
    glass = replace(
        *(SINGLE,), alpha_mode=mode, base_color=(0.0, 0.0, 0.0, 0.5), alpha_cutoff=0.25, emissive=(1.0, 0.0, 0.0)
    )
    smoke = replace(glass, emissive=(0.0, 0.0, 1.0), double_sided=True)
    for front_material, back_material in ((glass, smoke), (smoke, glass)):
        mesh = make_mesh(np.r_[near, far], np.r_[faces, faces + 4], (front_material, back_material), np.r_[0, 0, 1, 1])
        alpha = 0.5 if mode == "BLEND" else 1.0
        np.testing.assert_allclose(view(mesh, BEHIND)[32, 32], [0, 0, 1, alpha], atol=1.5 / 255)
    both = view(mesh)[32, 32]  # smoke before glass: both are seen from the front
    if mode == "BLEND":
        np.testing.assert_allclose(both, [*encoded(np.array([0.25, 0, 0.5]) / 0.75), 0.75], atol=1.5 / 255)
    else:
        np.testing.assert_allclose(both, [0, 0, 1, 1], atol=1.5 / 255)


def test_a_closed_surface_looks_the_same_with_culling() -> None:
    vertices, faces = sphere(0.4, 24)
    viewmats = orbit([0.0, 120.0], [0.0, 70.0], 2.0)
    views = [
        render_mesh(mesh.vertices[0], mesh, viewmats, np.tile(K, (2, 1, 1)), 64, 2)
        for material in (PLAIN, replace(PLAIN, double_sided=False))
        for mesh in [make_mesh(vertices, faces, materials=(material,))]
    ]
    assert (views[0] != views[1]).mean() < 1e-3  # samples on the silhouette alone
    assert views[0][0, 32, 32, 3] == 255


def test_a_value_that_is_not_finite_is_black() -> None:
    """Infinity times 0, as hostile factors and colours make it, must not become an index."""
    assert [srgb_code(np.float32(value)) for value in (np.nan, -np.inf, np.inf, -1.0)] == [0, 0, 255, 0]
    texture = np.zeros((2, 2, 4), np.uint8)
    material = replace(PLAIN, texture=0, base_color=(1e39, 1.0, 1.0, 1.0))
    uvs = np.full((4, 2), np.inf, np.float32)
    with np.errstate(all="ignore"):
        mesh = make_mesh(*quad()[:2], (material,), uvs=uvs, textures=(texture,))
        assert view(mesh, FRONT)[32, 32, :3].tolist() == [0, 0, 0]
