"""Views of animated meshes by ray casting (Embree): anti-aliased RGBA with straight alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from gvf.data.mesh import AnimatedMesh
from gvf.geometry.camera import positions, project
from gvf.rendering.mesh_shading import MeshShader
from gvf.rendering.texture import linear_to_srgb

FloatArray = NDArray[np.float32]

_MAX_LAYERS = 8  # surfaces a ray may pass through where they are masked out or blended
_STEP_BEHIND = 2e-5  # how far behind a passed surface the ray goes on, world units along the view axis
_OPAQUE_ENOUGH = 1 / 512  # a ray ends when less than half an 8-bit step shines through
_MAX_RAYS = 2_000_000  # rays cast at once, which bounds the memory


class MeshRenderer:
    """Draws the frames of one animated mesh; what does not move is prepared once."""

    def __init__(self, mesh: AnimatedMesh) -> None:
        self._faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
        self._used = np.zeros(len(mesh.uvs), dtype=bool)
        self._used[mesh.faces] = True
        self._shader = MeshShader(mesh)

    def render(
        self,
        vertices: NDArray[np.floating],
        viewmats: NDArray[np.floating],
        Ks: NDArray[np.floating],
        size: int,
        samples: int,
    ) -> NDArray[np.uint8]:
        """Views of one frame.

        vertices: [V, 3]; viewmats: [C, 4, 4] and Ks: [C, 3, 3], OpenCV world-to-camera and normalised intrinsics; size:
        height and width, pixels; samples: rays along each side of a pixel. Returns [C, size, size, 4] uint8 sRGB with
        straight alpha.
        """
        vertices = np.ascontiguousarray(vertices, dtype=np.float32)
        scene = EmbreeScene()
        TriangleMesh(scene, vertices, self._faces)
        self._shader.set_frame(vertices)
        coordinates, depths = project(vertices[self._used], viewmats, Ks)
        images = np.zeros((len(viewmats), size, size, 4), dtype=np.uint8)
        offsets = _sample_offsets(samples)
        pending: list[tuple[int, _Bundle]] = []
        num_rays = 0
        for camera in range(len(viewmats)):
            rows, columns = _covered(coordinates[camera], depths[camera], size)
            count = (rows.stop - rows.start) * (columns.stop - columns.start) * len(offsets)
            if pending and num_rays + count > _MAX_RAYS:
                _render_bundles(scene, self._shader, pending, images)
                pending, num_rays = [], 0
            if count:
                pending.append((camera, _bundle(viewmats[camera], Ks[camera], rows, columns, size, offsets)))
                num_rays += count
        if pending:
            _render_bundles(scene, self._shader, pending, images)
        return images


def render_clip(
    mesh: AnimatedMesh, viewmats: NDArray[np.floating], Ks: NDArray[np.floating], size: int, samples: int
) -> NDArray[np.uint8]:
    """Views of every frame of a clip: viewmats [T, C, 4, 4], Ks [T, C, 3, 3]; returns [T, C, size, size, 4] uint8."""
    renderer = MeshRenderer(mesh)
    frames = zip(mesh.vertices, viewmats, Ks, strict=True)
    return np.stack([renderer.render(*frame, size, samples) for frame in frames])


def render_mesh(
    vertices: NDArray[np.floating],
    mesh: AnimatedMesh,
    viewmats: NDArray[np.floating],
    Ks: NDArray[np.floating],
    size: int,
    samples: int,
) -> NDArray[np.uint8]:
    """Views of one shape [V, 3] of a mesh; arguments and result as in `MeshRenderer.render`."""
    return MeshRenderer(mesh).render(vertices, viewmats, Ks, size, samples)


@dataclass(frozen=True)
class _Bundle:
    """Rays of one camera through a rectangle of its image, in the order sample, row, column."""

    rows: slice
    columns: slice
    directions: FloatArray  # [rays, 3], of unit depth along the camera's z
    origin: FloatArray  # [3]
    spacing: float  # distance of neighbouring samples at unit depth


def _sample_offsets(samples: int) -> FloatArray:
    """Positions [samples^2, 2] of the rays in a pixel, (x, y) in (0, 1): a grid sheared so that no two share a row or
    column (for 2 x 2 the rotated grid), which gives edges along the axes samples^2 + 1 levels."""
    a, b = np.meshgrid(np.arange(samples), np.arange(samples), indexing="ij")
    x = (a + (samples - 1 - b + 0.5) / samples) / samples
    y = (b + (a + 0.5) / samples) / samples
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _covered(coordinates: NDArray[np.floating], depths: NDArray[np.floating], size: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels a shape may touch; all of them where part of it is beside or behind the camera."""
    if np.any(depths <= 1e-3):
        return slice(0, size), slice(0, size)
    low = np.clip(np.floor(coordinates.min(axis=0) * size), 0, size).astype(int)
    high = np.clip(np.ceil(coordinates.max(axis=0) * size), 0, size).astype(int)
    return slice(low[1], max(low[1], high[1])), slice(low[0], max(low[0], high[0]))


def _bundle(
    viewmat: NDArray[np.floating], K: NDArray[np.floating], rows: slice, columns: slice, size: int, offsets: FloatArray
) -> _Bundle:
    to_world = (viewmat[:3, :3].T @ np.linalg.inv(K)).astype(np.float32)  # image coordinates (x, y, 1) to directions
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + offsets[:, 0, None]) / size
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + offsets[:, 1, None]) / size
    along_rows = y[:, :, None, None] * to_world[:, 1] + to_world[:, 2]
    directions = (along_rows + x[:, None, :, None] * to_world[:, 0]).reshape(-1, 3)
    spacing = float(1.0 / (K[0, 0] * size * np.sqrt(len(offsets))))
    return _Bundle(
        rows, columns, directions.astype(np.float32, copy=False), positions(viewmat).astype(np.float32), spacing
    )


def _render_bundles(
    scene: EmbreeScene, shader: MeshShader, bundles: list[tuple[int, _Bundle]], images: NDArray[np.uint8]
) -> None:
    """Cast the rays of several cameras at once and write their pixels into images [C, H, W, 4]."""
    counts = [len(bundle.directions) for _, bundle in bundles]
    directions = np.concatenate([bundle.directions for _, bundle in bundles])
    origins = np.repeat(np.stack([bundle.origin for _, bundle in bundles]), counts, axis=0)
    spacings = np.repeat(np.array([bundle.spacing for _, bundle in bundles], dtype=np.float32), counts)
    light = _cast(scene, shader, origins, directions, spacings)
    start = 0
    for (camera, bundle), count in zip(bundles, counts, strict=True):
        height, width = bundle.rows.stop - bundle.rows.start, bundle.columns.stop - bundle.columns.start
        pixels = light[start : start + count].reshape(-1, height * width * 4)
        pixels = np.add.reduce(pixels, axis=0) / len(pixels)
        images[camera, bundle.rows, bundle.columns] = _encode(pixels.reshape(height, width, 4))
        start += count


def _cast(
    scene: EmbreeScene, shader: MeshShader, origins: FloatArray, directions: FloatArray, spacings: FloatArray
) -> FloatArray:
    """Premultiplied linear RGBA [rays, 4]: surfaces along each ray composited front to back."""
    light = np.zeros((len(directions), 4), dtype=np.float32)
    rays = np.arange(len(directions))
    for _ in range(_MAX_LAYERS):
        result = scene.run(origins, directions, output=1)
        (hit,) = np.nonzero(result["primID"] >= 0)
        if not len(hit):
            break
        depths = result["tfar"].take(hit)
        back = np.einsum("nc,nc->n", result["Ng"].take(hit, axis=0), directions.take(hit, axis=0)) > 0
        barycentrics = (result["u"].take(hit), result["v"].take(hit))
        rgb, alpha = shader.shade(result["primID"].take(hit), barycentrics, back, spacings.take(hit) * depths)
        rays = rays.take(hit)
        so_far = light.take(rays, axis=0)
        layer = np.concatenate([rgb * alpha[:, None], alpha[:, None]], axis=1, dtype=np.float32)
        so_far = so_far + layer * (1 - so_far[:, 3:])
        light[rays] = so_far
        (onward,) = np.nonzero(so_far[:, 3] < 1 - _OPAQUE_ENOUGH)
        if not len(onward):
            break
        hit, depths, rays = hit[onward], depths[onward], rays[onward]
        directions, spacings = directions[hit], spacings[hit]
        steps = directions * (depths + _STEP_BEHIND)[:, None]
        origins = np.add(origins[hit], steps, dtype=np.float32)
    return light


def _encode(light: FloatArray) -> NDArray[np.uint8]:
    """uint8 sRGB with straight alpha of premultiplied linear pixels [..., 4]."""
    alpha = light[..., 3:]
    rgb = np.divide(light[..., :3], alpha, out=np.zeros_like(light[..., :3]), where=alpha > 0)
    encoded = np.rint(np.concatenate([linear_to_srgb(rgb), np.minimum(alpha, 1.0)], axis=-1) * 255).astype(np.uint8)
    encoded[encoded[..., 3] == 0] = 0
    return encoded
