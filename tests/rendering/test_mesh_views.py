"""Rendered meshes against closed forms: silhouettes, coverage, texture orientation, transparency, light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gvf.data.mesh import WRAP_MODES, AnimatedMesh, Material
from gvf.geometry.camera import intrinsics, orbit
from gvf.rendering.mesh_shading import GROUND, LAMPS, SKY, irradiance, smoothing_groups
from gvf.rendering.mesh_views import MeshRenderer, render_mesh
from gvf.rendering.texture import pack_textures, sample_texture, srgb_code, srgb_to_linear

PLAIN = Material(
    name="plain",
    base_color=(1.0, 1.0, 1.0, 1.0),
    texture=-1,
    alpha_mode="OPAQUE",
    alpha_cutoff=0.5,
    double_sided=True,
    emissive=(0.0, 0.0, 0.0),
)
GLOWING = replace(PLAIN, base_color=(0.0, 0.0, 0.0, 1.0), emissive=(0.5, 0.25, 1.0))
K = intrinsics(np.array([40.0]))
FRONT = orbit([0.0], 0.0, 2.0)
LIGHT_TOWARDS_FRONT = (SKY + GROUND) / 2 + 0.28 * 0.70 / np.sqrt(0.45**2 + 0.70**2 + 0.55**2)  # by hand, normal -y


def make_mesh(
    vertices: np.ndarray,
    faces: np.ndarray,
    materials: tuple[Material, ...] = (PLAIN,),
    face_materials: np.ndarray | None = None,
    uvs: np.ndarray | None = None,
    textures: tuple[np.ndarray, ...] = (),
    colors: np.ndarray | None = None,
) -> AnimatedMesh:
    """A mesh of one frame, or of several where vertices is [T, V, 3]."""
    vertices = np.asarray(vertices, dtype=np.float32)
    vertices = vertices if vertices.ndim == 3 else vertices[None]
    count = vertices.shape[1]
    return AnimatedMesh(
        vertices=vertices,
        faces=np.asarray(faces, dtype=np.int32),
        face_materials=np.zeros(len(faces), np.int32) if face_materials is None else face_materials.astype(np.int32),
        uvs=np.zeros((count, 2), np.float32) if uvs is None else np.asarray(uvs, dtype=np.float32),
        colors=np.ones((count, 4), np.float32) if colors is None else np.asarray(colors, dtype=np.float32),
        materials=materials,
        textures=textures,
        times=np.arange(len(vertices), dtype=np.float32),
        points=vertices[:, :1],
    )


def quad(y: float = 0.0, half: float = 0.25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square facing the front camera (normal -y); uvs put the image's top left corner at the top left."""
    corners = np.array([[-half, y, -half], [half, y, -half], [half, y, half], [-half, y, half]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]]), np.array([[0, 1], [1, 1], [1, 0], [0, 0]])


def sphere(radius: float, rings: int) -> tuple[np.ndarray, np.ndarray]:
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1))
    unit = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    index = np.arange(polar.size).reshape(polar.shape)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    return radius * np.stack(unit, axis=-1).reshape(-1, 3), np.r_[np.c_[a, b, c], np.c_[a, c, d]]


def encoded(linear: object) -> np.ndarray:
    """sRGB encoding of linear light, clipped to [0, 1]."""
    value = np.clip(linear, 0.0, 1.0)
    return np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)


def view(mesh: AnimatedMesh, viewmats: np.ndarray = FRONT, size: int = 64, samples: int = 2) -> np.ndarray:
    """One view as float RGBA [H, W, 4]."""
    (image,) = render_mesh(mesh.vertices[0], mesh, viewmats, K, size, samples)
    assert image.dtype == np.uint8
    return image / 255.0


def test_silhouette_of_a_sphere() -> None:
    """A sphere of radius r at distance d is a disc of radius fx r/sqrt(d^2 - r^2) image widths."""
    image = view(make_mesh(*sphere(0.4, 64)), size=128, samples=3)
    radius = K[0, 0, 0] * 0.4 / np.sqrt(4 - 0.16)
    assert image[..., 3].sum() / 128**2 == pytest.approx(np.pi * radius**2, rel=2e-3)
    y, x = (np.mgrid[:128, :128] + 0.5) / 128 - 0.5
    distance = np.hypot(x, y)
    assert np.all(image[distance < radius - 0.01, 3] == 1.0)
    assert np.all(image[distance > radius + 0.01] == 0.0)


def test_edge_coverage_is_the_covered_area() -> None:
    """A quad whose edge crosses pixels: alpha is the exact area up to one ray in 16."""
    half = 0.3
    image = view(make_mesh(*quad(half=half)[:2]), size=32, samples=4)
    edge = (0.5 + K[0, 0, 0] * half / 2) * 32  # pixels from the left
    column, covered = int(edge), edge - int(edge)
    assert 0.05 < covered < 0.95
    np.testing.assert_allclose(image[12:20, column, 3], covered, atol=1 / 16 + 1 / 255)
    np.testing.assert_allclose(image[12:20, 31 - column, 3], covered, atol=1 / 16 + 1 / 255)


def test_colour_at_an_edge_is_straight() -> None:
    image = view(make_mesh(*quad(half=0.3)[:2], materials=(GLOWING,)), size=33)
    soft = (image[..., 3] > 0) & (image[..., 3] < 1)
    assert soft.any()
    expected = encoded(GLOWING.emissive)
    np.testing.assert_allclose(image[soft, :3], np.broadcast_to(expected, (soft.sum(), 3)), atol=1 / 255)


def test_texture_is_upright_and_not_mirrored() -> None:
    texture = np.zeros((2, 2, 4), np.uint8)
    texture[..., 3] = 255
    texture[0, 0, :3], texture[0, 1, :3], texture[1, 0, :3] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    texture = texture.repeat(32, axis=0).repeat(32, axis=1)
    corners, faces, uvs = quad()
    mesh = make_mesh(corners, faces, uvs=uvs, textures=(texture,), materials=(replace(PLAIN, texture=0),))
    image = view(mesh)
    shown = (0.5 - K[0, 0, 0] * 0.25 / 2 / 2) * 64  # middle of the first quarter
    low, high = int(shown), 63 - int(shown)
    lit = encoded(srgb_to_linear(np.array(200 / 255)) * LIGHT_TOWARDS_FRONT)
    np.testing.assert_allclose(image[low, low], [lit, 0, 0, 1], atol=1 / 255)  # top left
    np.testing.assert_allclose(image[low, high], [0, lit, 0, 1], atol=1 / 255)  # top right
    np.testing.assert_allclose(image[high, low], [0, 0, lit, 1], atol=1 / 255)  # bottom left
    np.testing.assert_allclose(image[high, high], [0, 0, 0, 1], atol=1 / 255)


def test_texture_filters_in_linear_light_and_repeats() -> None:
    texels = np.array([[[255, 0, 0, 255], [0, 0, 255, 0]]], np.uint8)
    other = np.full((3, 5, 4), 9, np.uint8)
    textures = pack_textures([other, texels])
    assert textures.num_levels.tolist() == [3, 2]
    uvs = np.array([[0.25, 0.5], [0.5, 0.5], [0.0, 0.3], [-0.75, 7.5], [1.5, 0.5]], np.float32)
    expected = [[1, 0, 0, 1], [0.5, 0, 0.5, 0.5], [0.5, 0, 0.5, 0.5], [1, 0, 0, 1], [0.5, 0, 0.5, 0.5]]
    sampled = [sample_texture(textures.texels, textures.levels, 1, 0, u, v, 0, 0) for u, v in uvs]
    np.testing.assert_allclose(sampled, expected, atol=1e-6)
    half = srgb_to_linear(np.array(188 / 255))  # 188 is the sRGB code of half the light
    coarse = sample_texture(textures.texels, textures.levels, 1, 1, *uvs[0], 0, 0)
    np.testing.assert_allclose(coarse, [half, 0, half, 128 / 255], atol=1e-6)
    flat = srgb_to_linear(np.array(9 / 255))
    for level in range(3):
        found = sample_texture(textures.texels, textures.levels, 0, level, *uvs[3], 0, 0)
        np.testing.assert_allclose(found, [flat, flat, flat, 9 / 255], atol=1e-6)


PADDING = {"REPEAT": "wrap", "CLAMP_TO_EDGE": "edge", "MIRRORED_REPEAT": "symmetric"}  # NumPy's names


@pytest.mark.parametrize("along_u", WRAP_MODES)
@pytest.mark.parametrize("along_v", WRAP_MODES)
def test_textures_go_on_beyond_their_edges_as_numpy_pads(along_u: str, along_v: str) -> None:
    """At and between the texels of an image three times as wide and high."""
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    textures = pack_textures([image])
    linear = np.concatenate([srgb_to_linear(image[..., :3] / 255), image[..., 3:] / 255], axis=-1)
    rows = np.pad(linear, ((3, 3), (0, 0), (0, 0)), PADDING[along_v])  # type: ignore[call-overload]
    padded = np.pad(rows, ((0, 0), (4, 4), (0, 0)), PADDING[along_u])  # type: ignore[call-overload]
    modes = WRAP_MODES.index(along_u), WRAP_MODES.index(along_v)

    def sampled(column: float, row: float) -> tuple[float, ...]:
        u, v = np.float32((column + 0.5) / 4), np.float32((row + 0.5) / 3)
        return sample_texture(textures.texels, textures.levels, 0, 0, u, v, *modes)

    for row in range(-3, 5):
        for column in range(-4, 7):
            texels = padded[row + 3 : row + 5, column + 4 : column + 6]
            np.testing.assert_allclose(sampled(column, row), texels[0, 0], atol=1e-5)
            np.testing.assert_allclose(sampled(column + 0.5, row + 0.5), texels.mean(axis=(0, 1)), atol=1e-5)


def test_a_material_says_how_its_texture_wraps() -> None:
    """Left of the image: the image once more, the colour of its left edge, or the image turned over."""
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[:, :4, 1:], texture[:, 4:, :2] = 0, 0  # red, blue
    corners, faces, uvs = quad()
    colors = {}
    for mode in WRAP_MODES:
        material = replace(PLAIN, texture=0, wrap=(mode, "REPEAT"))
        mesh = make_mesh(corners, faces, uvs=uvs - (1, 0), textures=(texture,), materials=(material,))
        left, right = view(mesh, size=32)[16, [13, 18], :3].argmax(axis=-1)
        colors[mode] = left, right
    assert colors == {"REPEAT": (0, 2), "CLAMP_TO_EDGE": (0, 0), "MIRRORED_REPEAT": (2, 0)}


def test_fine_textures_do_not_alias() -> None:
    """A one-texel chequerboard far finer than the pixels is an even grey of half the light."""
    board = np.indices((1024, 1024)).sum(axis=0) % 2 * 255
    texture = np.repeat(board[..., None], 4, axis=2).astype(np.uint8)
    texture[..., 3] = 255
    corners, faces, uvs = quad()
    mesh = make_mesh(corners, faces, uvs=uvs, textures=(texture,), materials=(replace(PLAIN, texture=0),))
    image = view(mesh, size=32)
    inside = image[12:20, 12:20, :3]
    np.testing.assert_allclose(inside, encoded(0.5 * LIGHT_TOWARDS_FRONT), atol=0.02)


def test_srgb_round_trip_and_known_codes() -> None:
    codes = np.arange(256)
    assert [srgb_code(value) for value in srgb_to_linear(codes / 255)] == codes.tolist()
    np.testing.assert_allclose(srgb_to_linear(np.array([0.5, 0.04])), [0.21404114, 0.04 / 12.92], atol=1e-6)
    values = np.random.default_rng(0).uniform(-0.1, 1.1, 5000).astype(np.float32)
    exact = 255 * encoded(values.astype(np.float64))
    assert np.abs([srgb_code(value) for value in values] - exact).max() < 0.5 + 1e-4


def test_lit_colour_by_hand() -> None:
    """Colour factor x vertex colour x (sky + lamps) + emission, encoded as sRGB."""
    material = replace(PLAIN, base_color=(0.8, 0.5, 0.2, 1.0), emissive=(0.0, 0.1, 0.0))
    corners, faces, _ = quad()
    mesh = make_mesh(corners, faces, materials=(material,), colors=np.full((4, 4), 0.5))
    linear = np.array([0.4, 0.25, 0.1]) * LIGHT_TOWARDS_FRONT + [0, 0.1, 0]
    np.testing.assert_allclose(view(mesh)[32, 32, :3], encoded(linear), atol=1 / 255)


def test_light_comes_from_above_and_never_overexposes_white() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(2000, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = [irradiance(*normal) for normal in normals]
    assert max(light) < 1.0
    assert min(light) >= GROUND
    up, down = (irradiance(*np.array([0, 0, z], np.float32)) for z in (1, -1))
    key = sum(strength * d[2] / np.linalg.norm(d) for d, strength in LAMPS)
    assert up == pytest.approx(SKY + key, abs=1e-6)
    assert down == pytest.approx(GROUND)


def test_back_faces_are_lit_as_they_are_seen() -> None:
    """The same square seen from both sides equals the square turned around."""
    corners, faces, _ = quad()
    turned = make_mesh(corners, faces[:, ::-1])
    np.testing.assert_array_equal(view(make_mesh(corners, faces)), view(turned))


def test_mask_lets_rays_through_to_what_is_behind() -> None:
    corners, faces, _ = quad(y=-0.1)
    colors = np.ones((8, 4))
    colors[[0, 3], 3], colors[[1, 2], 3] = 0.0, 1.0  # alpha grows from left to right
    behind = quad(y=0.2, half=0.4)[0]
    materials = (replace(PLAIN, alpha_mode="MASK", base_color=(1.0, 0.0, 0.0, 1.0)), GLOWING)
    both = make_mesh(np.r_[corners, behind], np.r_[faces, faces + 4], materials, np.array([0, 0, 1, 1]), colors=colors)
    image = view(both)
    np.testing.assert_allclose(image[32, 26], [*encoded(GLOWING.emissive), 1], atol=1 / 255)
    np.testing.assert_allclose(image[32, 38, 1:], [0, 0, 1], atol=1 / 255)
    alone = view(make_mesh(corners, faces, materials[:1], colors=colors[:4]))
    np.testing.assert_array_equal(alone[32, 26], 0)
    assert alone[32, 38, 3] == 1


def test_blended_layers_composite_front_to_back() -> None:
    glass = replace(GLOWING, alpha_mode="BLEND", base_color=(0.0, 0.0, 0.0, 0.5), emissive=(1.0, 0.0, 0.0))
    smoke = replace(glass, base_color=(0.0, 0.0, 0.0, 0.25), emissive=(0.0, 0.0, 1.0))
    near, far = quad(y=-0.2)[0], quad(y=0.2, half=0.4)[0]
    faces = quad()[1]
    mesh = make_mesh(np.r_[near, far], np.r_[faces, faces + 4], (glass, smoke), np.array([0, 0, 1, 1]))
    pixel = view(mesh)[32, 32]
    alpha = 1 - 0.5 * 0.75
    expected = encoded(np.array([0.5, 0, 0.5 * 0.25]) / alpha)
    np.testing.assert_allclose(pixel, [*expected, alpha], atol=1.5 / 255)


def test_seams_are_smooth_and_hard_edges_stay() -> None:
    """A flat strip split in the middle is one group per place; a cube split at its edges keeps one group per side."""
    strip = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [1, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    groups = smoothing_groups(strip.astype(np.float32), faces)
    assert groups[1] == groups[4]
    assert groups[2] == groups[7]
    assert len(np.unique(groups)) == 6
    side = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    corner_sides = np.concatenate([side, side[:, [2, 0, 1]], side[:, [1, 2, 0]]]).astype(np.float32)
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(3)])
    assert len(np.unique(smoothing_groups(corner_sides, faces))) == 12


def test_every_frame_and_camera_is_rendered_as_alone() -> None:
    corners, faces, _ = quad()
    rng = np.random.default_rng(0)
    mesh = make_mesh(np.stack([corners, corners * [0.5, 1, 1] + [0.1, 0, 0]]), faces)
    viewmats = orbit(rng.uniform(-60, 60, (2, 3)), rng.uniform(-15, 45, (2, 3)), 2.0)
    Ks = intrinsics(rng.uniform(30, 60, (2, 3)))
    renderer = MeshRenderer(mesh)
    images = np.stack([renderer.render(*frame, 24, 2) for frame in zip(mesh.vertices, viewmats, Ks)])
    assert images.shape == (2, 3, 24, 24, 4)
    for frame in range(2):
        for camera in range(3):
            alone = render_mesh(
                mesh.vertices[frame], mesh, viewmats[frame, camera][None], Ks[frame, camera][None], 24, 2
            )
            np.testing.assert_array_equal(images[frame, camera], alone[0])


def test_out_of_sight_is_empty_and_a_camera_inside_sees_all_around() -> None:
    mesh = make_mesh(*sphere(0.4, 16))
    away = orbit([0.0], 0.0, -2.0)  # at (0, 2, 0), looking away from the object
    assert not view(mesh, away).any()
    assert np.all(view(mesh, orbit([0.0], 0.0, 0.01))[..., 3] == 1.0)


def surfaces_along_rays(
    vertices: np.ndarray, faces: np.ndarray, viewmat: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Faces [size, size, F] that the ray of each pixel's centre meets in front of the camera, nearest first and -1 after
    the last; and the least distance [size, size] of an edge to the ray or of two surfaces. float64, all rays and faces."""
    corners = (vertices.astype(np.float64) @ viewmat[:3, :3].T + viewmat[:3, 3])[faces]
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(K[0]).T
    planes = np.stack([np.cross(corners[:, (k + 1) % 3], corners[:, (k + 2) % 3]) for k in range(3)], axis=1)
    weights = np.einsum("yxc,fkc->yxfk", rays, planes)
    whole = weights.sum(axis=-1)
    depths = np.einsum("fc,fc->f", corners[:, 0], planes[:, 0]) / whole
    weights = weights / whole[..., None]
    met = np.all(weights >= 0, axis=-1) & (depths > 0)
    order = np.argsort(np.where(met, depths, np.inf), axis=-1)
    sorted_depths = np.take_along_axis(np.where(met, depths, 1e9), order, axis=-1)
    gaps = np.where(sorted_depths[..., 1:] < 1e9, np.diff(sorted_depths, axis=-1), 1.0).min(axis=-1)
    edges = np.where(depths > 0, np.abs(weights.min(axis=-1)), 1.0).min(axis=-1)
    return np.where(np.take_along_axis(met, order, axis=-1), order, -1), np.minimum(gaps, edges)


@pytest.mark.parametrize(("distance", "seed"), [(2.0, 0), (2.0, 1), (0.3, 2), (0.0, 3), (0.05, 4)])
@pytest.mark.parametrize("alpha", [1.0, 0.75])
def test_triangles_in_any_place_are_seen_as_by_rays(distance: float, seed: int, alpha: float) -> None:
    """A heap of large and tiny triangles, around the camera too: every pixel shows what its ray meets, in order."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-0.5, 0.5, (60, 1, 3))
    vertices = (centres + rng.normal(size=(60, 3, 3)) * rng.choice([0.01, 0.1, 0.6], (60, 1, 1))).reshape(-1, 3)
    faces = np.arange(180).reshape(60, 3)
    emitted = rng.uniform(0, 1, (60, 3))
    materials = tuple(
        replace(
            PLAIN,
            base_color=(0.0, 0.0, 0.0, alpha),
            emissive=tuple(light),
            alpha_mode="OPAQUE" if alpha == 1 else "BLEND",
        )
        for light in emitted
    )
    mesh = make_mesh(vertices, faces, materials, np.arange(60))
    viewmat = orbit([20.0 * seed], 10.0, max(distance, 1e-6))
    image = view(mesh, viewmat, size=40, samples=1)
    met, doubt = surfaces_along_rays(mesh.vertices[0], faces, viewmat[0], 40)
    sure = doubt > 1e-5
    assert sure.mean() > 0.95
    passed, light = np.ones((40, 40)), np.zeros((40, 40, 3))
    for layer in range(5):  # then less than half an 8-bit step shines through
        here = met[..., layer]
        weight = np.where(here >= 0, alpha, 0.0) * passed
        light += weight[..., None] * emitted[here]
        passed -= weight
    covered = 1 - passed
    straight = np.divide(light, covered[..., None], out=np.zeros_like(light), where=covered[..., None] > 0)
    expected = np.concatenate([encoded(straight), covered[..., None]], axis=-1)
    assert (covered > 0).any()
    assert np.abs(image - expected)[sure].max() <= 0.51 / 255 + 1e-4


def test_faces_that_share_edges_leave_no_gap() -> None:
    """A closed bumpy shell of tiny triangles that fills the image covers every one of its samples."""
    vertices, faces = sphere(0.4, 150)
    rng = np.random.default_rng(0)
    _, place = np.unique(vertices.round(9), axis=0, return_inverse=True)  # poles and seam move as one
    vertices = vertices * (1 + 0.01 * rng.normal(size=place.max() + 1))[place.ravel(), None]
    near = orbit([30.0], 20.0, 0.55)
    assert np.all(view(make_mesh(vertices, faces), near, size=128, samples=4)[..., 3] == 1.0)


def test_images_do_not_depend_on_the_number_of_threads() -> None:
    mesh = make_mesh(*sphere(0.4, 32))
    before = torch.get_num_threads()
    images = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            images.append(view(mesh, size=70, samples=2))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(images[0], other) for other in images[1:])
