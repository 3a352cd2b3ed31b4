"""Materials and light of rendered meshes: what colour a point of a surface has.

Light is fixed in the world and the shading is diffuse, so a point has one colour in all views, as the Gaussians with
degree-0 colour assume: no headlight, no highlights. A wide sky over a dimmer ground plus two lamps keep shapes
readable, and a white surface stays below 1 everywhere. Both sides of a double-sided surface are lit equally, as in
Cycles. An unlit surface (KHR_materials_unlit) shows its base colour.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gvf.compiled.bits import float_bits
from gvf.compiled.kernels import helper
from gvf.data.mesh import ALPHA_MODES, WRAP_MODES, AnimatedMesh
from gvf.rendering.texture import pack_textures, sample_texture

FloatArray = NDArray[np.float32]

_UV, _COLORS = 3, 5  # attributes of a face's corners, after its normals
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
    """Return the light arriving at a surface with this unit normal (world axes); 1 shows a white surface as white."""
    light = _LEVEL + _SLOPE * nz
    for lamp in range(len(_LAMPS)):
        light += max(_LAMPS[lamp, 0] * nx + _LAMPS[lamp, 1] * ny + _LAMPS[lamp, 2] * nz, np.float32(0))
    return light


def face_normals(vertices: FloatArray, faces: NDArray[np.int32]) -> FloatArray:
    """Return normals [F, 3] of triangles, with twice the triangle's area as length; counter-clockwise faces the viewer."""
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def smoothing_groups(vertices: FloatArray, faces: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the group [V], counted from 0, of each vertex; a group shares one smooth normal.

    Files split vertices both at hard edges and at texture seams. Vertices at the same place are one group when the
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
    """Return unit normals [G, 3] of groups of corners [F, 3] from `face_normals` [F, 3]; zero where a group has no area."""
    summed = np.stack(
        [np.bincount(corner_groups.ravel(), np.repeat(normals[:, axis], 3), num_groups) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.divide(summed, lengths, out=np.zeros_like(summed), where=lengths > 0).astype(np.float32)


class Surface(NamedTuple):
    """The data of a mesh in one frame that the kernels read.

    corners: [F, 15 to 33], the values at the three corners of each face, attribute by attribute: normal (3), uv (2),
    then vertex colours (4) if the mesh has any, then the uv (2) of emissive textures if they differ.
    texel_density: [F, 1 or 2], texels per world unit of the face's texture and, if the mesh has any, its emissive
    texture. face_materials: [F]. materials: [M, 17], see `material_rows`. texels, levels, num_levels: `Textures`.
    """

    corners: FloatArray
    texel_density: FloatArray
    face_materials: NDArray[np.int32]
    materials: FloatArray
    texels: NDArray[np.uint8]
    levels: NDArray[np.int64]
    num_levels: NDArray[np.int64]


def material_rows(mesh: AnimatedMesh, emissive_uv: int) -> FloatArray:
    """Return the materials as rows [M, 17] for the kernels.

    Columns: linear base colour (4), emission (3), alpha mode (0 opaque, 1 mask, 2 blend), alpha cut-off, texture
    (-1: none), its wrap modes along u and v (indices of WRAP_MODES), 1 where unlit, emissive texture (-1: none), its
    wrap modes along u and v, and `emissive_uv`, the corner attribute at which its uv begins.
    """
    return np.array(
        [
            (
                *(*m.base_color, *m.emissive, ALPHA_MODES.index(m.alpha_mode), m.alpha_cutoff, m.texture),
                *(WRAP_MODES.index(mode) for mode in m.wrap),
                *(m.unlit, m.emissive_texture, *(WRAP_MODES.index(mode) for mode in m.emissive_wrap), emissive_uv),
            )
            for m in mesh.materials
        ],
        np.float32,
    )


class MeshSurface:
    """The surface of an animated mesh; what does not change over time is prepared once for all frames."""

    def __init__(self, mesh: AnimatedMesh) -> None:
        self._faces = mesh.faces
        groups = smoothing_groups(mesh.vertices[0], mesh.faces)
        self._corner_groups, self._num_groups = groups[mesh.faces], int(groups.max()) + 1
        self._textures = pack_textures(mesh.textures)
        self._face_materials = np.array(mesh.face_materials, np.int32)
        colored = not np.all(mesh.colors == 1.0)
        attributes = [mesh.uvs]
        if colored:
            attributes.append(mesh.colors)
        if mesh.emissive_uvs is not None:
            attributes.append(mesh.emissive_uvs)
        self._still = np.concatenate(attributes, axis=1)[mesh.faces].astype(np.float32)
        emissive_uv = _UV if mesh.emissive_uvs is None else (_COLORS + 4 if colored else _COLORS)
        self._materials = material_rows(mesh, emissive_uv)
        areas = [self._doubled_texel_areas(mesh, [m.texture for m in mesh.materials], _UV)]
        emissive = [m.emissive_texture for m in mesh.materials]
        if max(emissive) >= 0:
            areas.append(self._doubled_texel_areas(mesh, emissive, emissive_uv))
        self._texel_areas = np.stack(areas, axis=1)

    def at(self, vertices: FloatArray) -> Surface:
        """Return the surface in the frame with these vertices [V, 3]."""
        crossed = face_normals(vertices, self._faces)
        normals = vertex_normals(crossed, self._corner_groups, self._num_groups)[self._corner_groups]
        corners = np.concatenate([normals, self._still], axis=2).transpose(0, 2, 1).reshape(len(self._faces), -1)
        doubled_areas = np.maximum(np.linalg.norm(crossed, axis=1), np.float32(1e-12))
        density = np.sqrt(self._texel_areas / doubled_areas[:, None])
        return Surface(corners, density, self._face_materials, self._materials, *self._textures)

    def _doubled_texel_areas(self, mesh: AnimatedMesh, textures: Sequence[int], uv: int) -> FloatArray:
        """Return twice the area of each triangle in its texture, [F] square texels; 0 without a texture.

        textures: texture of each material; uv: the corner attribute at which its texture coordinates begin.
        """
        at = uv - _UV
        sides = self._still[:, 1:, at : at + 2] - self._still[:, :1, at : at + 2]
        doubled = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
        texels = np.array([image.shape[0] * image.shape[1] for image in mesh.textures] + [0], np.float32)
        return doubled * texels[np.array(textures)[self._face_materials]]  # index -1 selects the 0 at the end


@helper
def nearest_log2(value):
    """Return log2 of a positive float32, rounded to the nearest integer."""
    return np.int64(float_bits(value * np.float32(math.sqrt(2.0))) >> np.uint32(23)) - 127


@helper
def between(corners, face, attribute, a, b, c):
    """Return an attribute of a face at the point with these weights of its corners."""
    at = 3 * attribute
    return corners[face, at] * a + corners[face, at + 1] * b + corners[face, at + 2] * c


@helper
def mip_level(wide, count):
    """Return the mip level, 0 to count - 1, whose texels are as wide as a sample; wide: texels per sample."""
    return min(nearest_log2(wide), count - 1) if wide > np.float32(1) else np.int64(0)


@helper
def shade(
    corners, texel_density, face_materials, materials, texels, levels, num_levels, face, b, c, back, spacing,
):  # fmt: skip
    """Return the colour of a point on a `Surface`: linear RGB, not multiplied by alpha, and alpha, as four float32.

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
    if corners.shape[1] > 3 * (_COLORS + 2):
        red *= between(corners, face, _COLORS, a, b, c)
        green *= between(corners, face, _COLORS + 1, a, b, c)
        blue *= between(corners, face, _COLORS + 2, a, b, c)
        alpha *= between(corners, face, _COLORS + 3, a, b, c)
    texture = np.int64(materials[material, 9])
    if texture >= 0:
        u, v = between(corners, face, _UV, a, b, c), between(corners, face, _UV + 1, a, b, c)
        level = mip_level(texel_density[face, 0] * spacing, num_levels[texture])
        tr, tg, tb, ta = sample_texture(
            texels, levels, texture, level, u, v, materials[material, 10], materials[material, 11]
        )
        red, green, blue, alpha = red * tr, green * tg, blue * tb, alpha * ta
    light = one
    if materials[material, 12] == 0:
        towards = (-one if back else one) / (math.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12))
        light = irradiance(nx * towards, ny * towards, nz * towards)
    glow_red, glow_green, glow_blue = materials[material, 4], materials[material, 5], materials[material, 6]
    emissive = np.int64(materials[material, 13])
    if emissive >= 0:
        uv = np.int64(materials[material, 16])
        u, v = between(corners, face, uv, a, b, c), between(corners, face, uv + 1, a, b, c)
        level = mip_level(texel_density[face, 1] * spacing, num_levels[emissive])
        tr, tg, tb, _ = sample_texture(
            texels, levels, emissive, level, u, v, materials[material, 14], materials[material, 15]
        )
        glow_red, glow_green, glow_blue = glow_red * tr, glow_green * tg, glow_blue * tb
    mode = materials[material, 7]
    if mode == 0:
        alpha = one
    elif mode == 1:
        alpha = one if alpha >= materials[material, 8] else np.float32(0)
    else:
        alpha = min(max(alpha, np.float32(0)), one)
    return (
        min(red * light + glow_red, one),
        min(green * light + glow_green, one),
        min(blue * light + glow_blue, one),
        alpha,
    )
