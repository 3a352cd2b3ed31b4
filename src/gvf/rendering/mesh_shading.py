"""Materials and light of rendered meshes: what colour a point of a surface has.

Light is fixed in the world and the shading is diffuse, so a point has one colour in all views, as the Gaussians with
degree-0 colour assume: no headlight, no highlights. A wide sky over a dimmer ground plus two lamps keep shapes
readable, and a white surface stays below 1 everywhere. Both sides of a surface are lit alike, as Cycles does it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gvf.data.mesh import ALPHA_MODES, WRAP_MODES, AnimatedMesh
from gvf.rendering.kernels import helper
from gvf.rendering.simd import float_bits
from gvf.rendering.texture import pack_textures, sample_texture

FloatArray = NDArray[np.float32]

SKY, GROUND = 0.70, 0.46  # irradiance of surfaces facing straight up and down; linear in the normal's z between
LAMPS = (  # direction towards the lamp (world axes, normalised below), irradiance when it shines perpendicularly
    ((-0.45, -0.70, 0.55), 0.28),  # key: front left, above
    ((0.75, 0.35, 0.35), 0.10),  # fill: right, a little behind
)
_WELD_COSINE = np.cos(np.deg2rad(30.0))
_LAMPS = np.array([strength * np.array(d) / np.linalg.norm(d) for d, strength in LAMPS], dtype=np.float32)
_LEVEL, _SLOPE = np.float32((SKY + GROUND) / 2), np.float32((SKY - GROUND) / 2)


@helper
def irradiance(nx, ny, nz):
    """Light arriving at a surface with this unit normal (world axes); 1 shows a white surface as white."""
    light = _LEVEL + _SLOPE * nz
    for lamp in range(len(_LAMPS)):
        light += max(_LAMPS[lamp, 0] * nx + _LAMPS[lamp, 1] * ny + _LAMPS[lamp, 2] * nz, np.float32(0))
    return light


def face_normals(vertices: FloatArray, faces: NDArray[np.int32]) -> FloatArray:
    """Normals [F, 3] of triangles, with twice the triangle's area as length; counter-clockwise faces the viewer."""
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def smoothing_groups(vertices: FloatArray, faces: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which vertices share one smooth normal, [V] group numbers from 0.

    Files split vertices at hard edges and at texture seams alike. Vertices at the same place are one group when the
    normal of each lies within 30 degrees of their mean, so that seams do not show in the light and edges stay hard.
    """
    _, place = np.unique(vertices, axis=0, return_inverse=True)
    place = place.ravel()
    normals = face_normals(vertices, faces)
    own = vertex_normals(normals, faces, len(vertices))
    mean = vertex_normals(normals, place[faces], int(place.max()) + 1)
    joins = np.einsum("vc,vc->v", own, mean[place]) >= _WELD_COSINE
    labels = np.where(joins, place, len(vertices) + np.arange(len(vertices)))
    return np.unique(labels, return_inverse=True)[1].ravel()


def vertex_normals(normals: FloatArray, corner_groups: NDArray[np.integer], num_groups: int) -> FloatArray:
    """Unit normals [G, 3] of groups of corners [F, 3] from `face_normals` [F, 3]; zero where a group has no area."""
    summed = np.stack(
        [np.bincount(corner_groups.ravel(), np.repeat(normals[:, axis], 3), num_groups) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.divide(summed, lengths, out=np.zeros_like(summed), where=lengths > 0).astype(np.float32)


class Surface(NamedTuple):
    """What the kernels read of a mesh in one frame.

    corners: [F, 15] of each face the normal (3) and uv (2) at its three corners, attribute by attribute, or [F, 27] with
    vertex colours (4). texel_density: [F] texels per world unit. face_materials: [F]. materials: [M, 12] linear base
    colour (4), emission (3), how alpha is read (0 not at all, 1 cut off, 2 as it is), cut-off, texture (-1: none), how it
    wraps along u and v (indices of WRAP_MODES).
    texels, levels, num_levels: `Textures`.
    """

    corners: FloatArray
    texel_density: FloatArray
    face_materials: NDArray[np.int32]
    materials: FloatArray
    texels: NDArray[np.uint8]
    levels: NDArray[np.int64]
    num_levels: NDArray[np.int64]


class MeshSurface:
    """The surface of an animated mesh; what does not move is prepared once for all frames."""

    def __init__(self, mesh: AnimatedMesh) -> None:
        self._faces = mesh.faces
        groups = smoothing_groups(mesh.vertices[0], mesh.faces)
        self._corner_groups, self._num_groups = groups[mesh.faces], int(groups.max()) + 1
        self._textures = pack_textures(mesh.textures)
        self._face_materials = np.array(mesh.face_materials, np.int32)
        self._materials = np.array(
            [
                (
                    *(*m.base_color, *m.emissive, ALPHA_MODES.index(m.alpha_mode), m.alpha_cutoff, m.texture),
                    *(WRAP_MODES.index(mode) for mode in m.wrap),
                )
                for m in mesh.materials
            ],
            np.float32,
        )
        still = mesh.uvs if np.all(mesh.colors == 1.0) else np.concatenate([mesh.uvs, mesh.colors], axis=1)
        self._still = still[mesh.faces].astype(np.float32)
        self._texel_areas = self._doubled_texel_areas(mesh)

    def at(self, vertices: FloatArray) -> Surface:
        """The surface in the frame with these vertices [V, 3]."""
        crossed = face_normals(vertices, self._faces)
        normals = vertex_normals(crossed, self._corner_groups, self._num_groups)[self._corner_groups]
        corners = np.concatenate([normals, self._still], axis=2).transpose(0, 2, 1).reshape(len(self._faces), -1)
        doubled_areas = np.maximum(np.linalg.norm(crossed, axis=1), np.float32(1e-12))
        density = np.sqrt(self._texel_areas / doubled_areas)
        return Surface(corners, density, self._face_materials, self._materials, *self._textures)

    def _doubled_texel_areas(self, mesh: AnimatedMesh) -> FloatArray:
        """Twice the area of each triangle in its texture, square texels [F]; 0 without a texture."""
        sides = self._still[:, 1:, :2] - self._still[:, :1, :2]
        doubled = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
        texels = np.array([image.shape[0] * image.shape[1] for image in mesh.textures] + [0], np.float32)
        textures = np.array([material.texture for material in mesh.materials])  # -1 finds the 0 above
        return doubled * texels[textures[self._face_materials]]


@helper
def nearest_log2(value):
    """log2 of a positive float32, rounded to the nearest integer."""
    return np.int64(float_bits(value * np.float32(math.sqrt(2.0))) >> np.uint32(23)) - 127


@helper
def between(corners, face, attribute, a, b, c):
    """An attribute of a face's corners at the point with these weights."""
    at = 3 * attribute
    return corners[face, at] * a + corners[face, at + 1] * b + corners[face, at + 2] * c


@helper
def shade(
    corners, texel_density, face_materials, materials, texels, levels, num_levels, face, b, c, back, spacing,
):  # fmt: skip
    """Colour of a point on a `Surface`: linear RGB, not multiplied by alpha, and alpha, as four float32.

    b, c: weights of the face's second and third corner; back: whether its back is seen; spacing: distance to the next
    sample, world units.
    """
    one = np.float32(1)
    a = one - b - c
    nx, ny, nz = (
        between(corners, face, 0, a, b, c),
        between(corners, face, 1, a, b, c),
        between(corners, face, 2, a, b, c),
    )
    material = face_materials[face]
    red, green, blue, alpha = (
        materials[material, 0],
        materials[material, 1],
        materials[material, 2],
        materials[material, 3],
    )
    if corners.shape[1] > 15:
        red *= between(corners, face, 5, a, b, c)
        green *= between(corners, face, 6, a, b, c)
        blue *= between(corners, face, 7, a, b, c)
        alpha *= between(corners, face, 8, a, b, c)
    texture = np.int64(materials[material, 9])
    if texture >= 0:
        u, v = between(corners, face, 3, a, b, c), between(corners, face, 4, a, b, c)
        wide = texel_density[face] * spacing
        level = np.int64(0)
        if wide > one:  # the level whose texels are as wide as a sample
            level = min(nearest_log2(wide), num_levels[texture] - 1)
        tr, tg, tb, ta = sample_texture(
            texels, levels, texture, level, u, v, materials[material, 10], materials[material, 11]
        )
        red, green, blue, alpha = red * tr, green * tg, blue * tb, alpha * ta
    towards = (-one if back else one) / (math.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12))
    light = irradiance(nx * towards, ny * towards, nz * towards)
    mode = materials[material, 7]
    if mode == 0:
        alpha = one
    elif mode == 1:
        alpha = one if alpha >= materials[material, 8] else np.float32(0)
    else:
        alpha = min(max(alpha, np.float32(0)), one)
    return (
        min(red * light + materials[material, 4], one),
        min(green * light + materials[material, 5], one),
        min(blue * light + materials[material, 6], one),
        alpha,
    )
