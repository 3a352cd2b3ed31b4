"""Views of animated meshes: anti-aliased RGBA with straight alpha."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gvf.compiled import kernels
from gvf.data.mesh import AnimatedMesh
from gvf.rendering import mesh_raster
from gvf.rendering.mesh_shading import MeshSurface

FloatArray = NDArray[np.float32]

_MAX_RECORDS = 2_000_000  # faces times cameras drawn at once, which bounds the memory


class MeshRenderer:
    """Draws the frames of one animated mesh; what does not change over time is prepared once."""

    def __init__(self, mesh: AnimatedMesh) -> None:
        self._faces = np.array(mesh.faces, dtype=np.int32, order="C")
        self._double_sided = np.ascontiguousarray(mesh.double_sided)
        self._surface = MeshSurface(mesh)
        opaque = all(material.alpha_mode == "OPAQUE" for material in mesh.materials)
        self._layers = 1 if opaque else mesh_raster.MAX_LAYERS

    def render(
        self,
        vertices: NDArray[np.floating],
        viewmats: NDArray[np.floating],
        Ks: NDArray[np.floating],
        size: int,
        samples: int,
    ) -> NDArray[np.uint8]:
        """Render the views of one frame.

        vertices: [V, 3]; viewmats: [C, 4, 4] and Ks: [C, 3, 3], OpenCV world-to-camera and normalised intrinsics; size:
        height and width, pixels; samples: along each side of a pixel. Returns [C, size, size, 4] uint8 sRGB with
        straight alpha.
        """
        vertices = np.array(vertices, dtype=np.float32, order="C")
        surface = self._surface.at(vertices)
        viewmats = np.array(viewmats, dtype=np.float64, order="C")
        to_pixels = np.ascontiguousarray(np.diag([size, size, 1.0]) @ Ks)
        to_rays = np.ascontiguousarray(np.linalg.inv(to_pixels))
        spacings = (1.0 / (to_pixels[:, 0, 0] * samples)).astype(np.float32)
        offsets = _sample_offsets(samples)
        images = np.empty((len(viewmats), size, size, 4), dtype=np.uint8)
        num_faces = len(self._faces)
        at_once = max(1, _MAX_RECORDS // max(num_faces, 1))
        for first in range(0, len(viewmats), at_once):
            part = slice(first, first + at_once)
            num_cameras = len(viewmats[part])
            records = np.empty((num_cameras, num_faces * mesh_raster.RECORD), dtype=np.float32)
            boxes = np.empty((num_cameras, num_faces, 4), dtype=np.int64)
            kernels.run(
                mesh_raster.place_faces, num_cameras * -(-num_faces // mesh_raster.CHUNK), 1, vertices, self._faces,
                self._double_sided, viewmats[part], to_pixels[part], to_rays[part], size, records, boxes,
            )  # fmt: skip
            kernels.run(
                mesh_raster.draw_bands, num_cameras * -(-size // mesh_raster.BAND), 2, *surface, spacings[part],
                offsets, self._layers, records, boxes, images[part],
            )  # fmt: skip
        return images


def render_mesh(
    vertices: NDArray[np.floating],
    mesh: AnimatedMesh,
    viewmats: NDArray[np.floating],
    Ks: NDArray[np.floating],
    size: int,
    samples: int,
) -> NDArray[np.uint8]:
    """Render one shape [V, 3] of a mesh; arguments and result as in `MeshRenderer.render`."""
    return MeshRenderer(mesh).render(vertices, viewmats, Ks, size, samples)


def _sample_offsets(samples: int) -> FloatArray:
    """Return the positions [samples^2, 2] of the rays in a pixel, (x, y) in (0, 1): a grid sheared so that no two share a row or
    column (for 2 x 2 the rotated grid), which gives edges along the axes samples^2 + 1 levels."""
    a, b = np.meshgrid(np.arange(samples), np.arange(samples), indexing="ij")
    x = (a + (samples - 1 - b + 0.5) / samples) / samples
    y = (b + (a + 0.5) / samples) / samples
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
