"""Materials and light of rendered meshes: what colour a point of a surface has.

Light is fixed in the world and the shading is diffuse, so a point has one colour in all views, as the Gaussians with
degree-0 colour assume: no headlight, no highlights. A wide sky over a dimmer ground plus two lamps keep shapes
readable, and a white surface stays below 1 everywhere. Both sides of a surface are lit alike, as Cycles does it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gvf.data.mesh import AnimatedMesh
from gvf.rendering.texture import Texture

FloatArray = NDArray[np.float32]

SKY, GROUND = 0.70, 0.46  # irradiance of surfaces facing straight up and down; linear in the normal's z between
LAMPS = (  # direction towards the lamp (world axes, normalised below), irradiance when it shines perpendicularly
    ((-0.45, -0.70, 0.55), 0.28),  # key: front left, above
    ((0.75, 0.35, 0.35), 0.10),  # fill: right, a little behind
)
_WELD_COSINE = np.cos(np.deg2rad(30.0))
_LAMP_DIRECTIONS = np.array([np.array(d) / np.linalg.norm(d) for d, _ in LAMPS], dtype=np.float32)
_LAMP_STRENGTHS = np.array([strength for _, strength in LAMPS], dtype=np.float32)


def irradiance(normals: FloatArray) -> FloatArray:
    """Light arriving at surfaces with unit normals [n, 3] (world axes); [n], 1 shows a white surface as white."""
    sky = (SKY + GROUND) / 2 + (SKY - GROUND) / 2 * normals[:, 2]
    return sky + np.maximum(normals @ _LAMP_DIRECTIONS.T, 0.0) @ _LAMP_STRENGTHS


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
    own = vertex_normals(vertices, faces, np.arange(len(vertices)))
    mean = vertex_normals(vertices, faces, place)
    joins = np.einsum("vc,vc->v", own, mean[place]) >= _WELD_COSINE
    labels = np.where(joins, place, len(vertices) + np.arange(len(vertices)))
    return np.unique(labels, return_inverse=True)[1].ravel()


def vertex_normals(vertices: FloatArray, faces: NDArray[np.int32], groups: NDArray[np.integer]) -> FloatArray:
    """Unit normals [G, 3] of vertex groups [V], faces weighted by area; zero where a group has no area."""
    normals = face_normals(vertices, faces)
    corner_groups = groups[faces]
    num_groups = int(groups.max()) + 1
    summed = np.stack(
        [np.bincount(corner_groups.ravel(), np.repeat(normals[:, axis], 3), num_groups) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.divide(summed, lengths, out=np.zeros_like(summed), where=lengths > 0).astype(np.float32)


class MeshShader:
    """Colours of hits on the surface of an animated mesh; what does not move is prepared once for all frames."""

    def __init__(self, mesh: AnimatedMesh) -> None:
        self._faces = mesh.faces
        self._face_materials = mesh.face_materials
        self._groups = smoothing_groups(mesh.vertices[0], mesh.faces)
        self._corner_groups = self._groups[mesh.faces]
        self._textures = [Texture(texture) for texture in mesh.textures]
        self._material_textures = np.array([m.texture for m in mesh.materials])
        self._base_colors = np.array([m.base_color for m in mesh.materials], dtype=np.float32)
        self._emissive = np.array([m.emissive for m in mesh.materials], dtype=np.float32)
        cutoffs = [m.alpha_cutoff if m.alpha_mode == "MASK" else -1.0 for m in mesh.materials]
        self._cutoffs = np.array(cutoffs, dtype=np.float32)
        self._blended = np.array([m.alpha_mode == "BLEND" for m in mesh.materials])
        self._opaque = np.array([m.alpha_mode == "OPAQUE" for m in mesh.materials])
        self._static = mesh.uvs[mesh.faces].astype(np.float32)
        if not np.all(mesh.colors == 1.0):
            self._static = np.concatenate([self._static, mesh.colors[mesh.faces]], axis=2, dtype=np.float32)
        self._texel_areas = self._corner_texel_areas()
        self._corners = np.empty((0, 3, 5), dtype=np.float32)
        self._texel_density = np.empty(0, dtype=np.float32)

    def set_frame(self, vertices: FloatArray) -> None:
        """Take the shapes of the frame to be shaded from its vertices [V, 3]."""
        normals = vertex_normals(vertices, self._faces, self._groups)[self._corner_groups]
        self._corners = np.concatenate([normals, self._static], axis=2)
        doubled_areas = np.linalg.norm(face_normals(vertices, self._faces), axis=1)
        self._texel_density = np.sqrt(self._texel_areas / np.maximum(doubled_areas, 1e-12))

    def shade(
        self,
        prims: NDArray[np.int32],
        barycentrics: tuple[FloatArray, FloatArray],
        back: NDArray[np.bool_],
        spacing: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Colours of hits: linear RGB [n, 3] not multiplied by alpha, and alpha [n].

        prims: [n] triangle indices; barycentrics: weights [n] of the second and third corner; back: [n], whether the
        ray meets the back of the triangle; spacing: [n] distance between neighbouring samples at the hit, world units.
        """
        u, v = barycentrics[0][:, None], barycentrics[1][:, None]
        corners = self._corners.take(prims, axis=0)
        values = corners[:, 0] * (1 - u - v) + corners[:, 1] * u + corners[:, 2] * v
        materials = self._face_materials.take(prims)
        colors = self._base_colors.take(materials, axis=0)
        if values.shape[1] > 5:
            colors = colors * values[:, 5:9]
        self._apply_textures(colors, materials, values[:, 3:5], self._texel_density.take(prims) * spacing)
        normals = values[:, :3]
        lengths = np.sqrt(np.einsum("nc,nc->n", normals, normals))
        signs = np.where(back, np.float32(-1), np.float32(1)) / np.maximum(lengths, np.float32(1e-12))
        light = irradiance(normals * signs[:, None])
        rgb = np.minimum(colors[:, :3] * light[:, None] + self._emissive.take(materials, axis=0), 1.0)
        return rgb, self._alphas(colors[:, 3], materials)

    def _alphas(self, alphas: FloatArray, materials: NDArray[np.int32]) -> FloatArray:
        """Coverage by glTF's alpha modes: OPAQUE ignores alpha, MASK compares it with the cut-off, BLEND uses it."""
        if self._opaque.all():
            return np.ones_like(alphas)
        masked = (alphas >= self._cutoffs[materials]).astype(np.float32)
        return np.where(self._blended[materials], np.clip(alphas, 0.0, 1.0), masked)

    def _apply_textures(
        self, colors: FloatArray, materials: NDArray[np.int32], uvs: FloatArray, texels_per_sample: FloatArray
    ) -> None:
        """Multiply colors [n, 4] by the texture of each hit, at the mip level whose texels are as wide as a sample."""
        hit_textures = self._material_textures.take(materials)
        for index, texture in enumerate(self._textures):
            (here,) = np.nonzero(hit_textures == index)
            levels = np.rint(np.log2(np.maximum(texels_per_sample[here], 1.0))).astype(np.int64)
            levels = np.minimum(levels, texture.num_levels - 1)
            for level in np.flatnonzero(np.bincount(levels)):
                chosen = here[levels == level]
                colors[chosen] *= texture.sample(uvs[chosen], int(level))

    def _corner_texel_areas(self) -> FloatArray:
        """Twice the area of each triangle in its texture, square texels [F]; 0 without a texture."""
        sides = self._static[:, 1:, :2] - self._static[:, :1, :2]
        doubled = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
        texels = np.array([np.prod(t.size) for t in self._textures] + [0], dtype=np.float32)  # -1 finds the last
        return doubled * texels[self._material_textures[self._face_materials]]
