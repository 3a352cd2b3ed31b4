"""Normals of a surface, carried along by a deformation of its triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]


class CarriedNormals:
    """Carries the normals of one shape over to other shapes of the same triangles.

    In a triangle, a normal keeps its products with the edges and, as far as the area allows, with the triangle's own normal;
    so rotations and scalings are followed exactly, also where a smooth normal is not that of the triangle. A vertex takes
    the mean over its triangles, weighted by their area. Vertices at the same place with the same normal share one, so that
    seams of textures stay unseen.
    """

    def __init__(
        self, normals: NDArray[np.floating], vertices: NDArray[np.floating], faces: NDArray[np.integer]
    ) -> None:
        """Prepare for normals [V, 3] of vertices [V, 3] and faces [F, 3], of which the outside does not matter."""
        self._faces = faces
        self._normals = unit_vectors(normals.astype(np.float64))
        corners = vertices.astype(np.float64)[faces]
        edges, area_normals = _edges(corners)
        areas = np.linalg.norm(area_normals, axis=1)
        face_normals = area_normals / np.maximum(areas, 1e-300)[:, None]
        own = self._normals[faces]  # [F, 3 corners, 3]
        self._along = np.einsum("fcd,fed->fce", own, edges)  # products with the two edges, [F, 3, 2]
        self._across = np.einsum("fcd,fd->fc", own, face_normals)
        self._areas = areas
        rows = np.concatenate([vertices, normals], axis=1).astype(np.float32)
        _, groups = np.unique(rows, axis=0, return_inverse=True)
        self._groups = groups.ravel()
        shape = (int(self._groups.max()) + 1, faces.size)
        corner_groups = self._groups[faces].ravel()
        self._sum = csr_matrix((np.ones(faces.size), (corner_groups, np.arange(faces.size))), shape)

    def at(self, vertices: NDArray[np.floating]) -> Array:
        """Return unit normals [V, 3] of the shape with other vertices [V, 3].

        A vertex without a triangle of any area keeps its normal.
        """
        edges, area_normals = _edges(vertices.astype(np.float64)[self._faces])
        areas = np.linalg.norm(area_normals, axis=1)
        sound = (areas > 0.0) & (self._areas > 0.0)
        safe = np.where(sound, areas, 1.0)
        out = area_normals / safe[:, None]
        # The dual basis of the edges in the triangle's plane: products with it add up to the vector.
        dual = np.stack([np.cross(edges[:, 1], out), np.cross(out, edges[:, 0])], axis=1) / safe[:, None, None]
        shrink = np.sqrt(self._areas / safe)
        carried = np.einsum("fce,fed->fcd", self._along, dual)
        carried += self._across[..., None] * shrink[:, None, None] * out[:, None]
        weighted = unit_vectors(carried) * np.where(sound, areas, 0.0)[:, None, None]
        summed = (self._sum @ weighted.reshape(-1, 3))[self._groups]
        lengths = np.linalg.norm(summed, axis=1, keepdims=True)
        return np.where(lengths > 0.0, summed / np.where(lengths > 0.0, lengths, 1.0), self._normals)


def _edges(corners: Array) -> tuple[Array, Array]:
    """Return two edges [F, 2, 3] of triangles [F, 3, 3], and their normals with twice their area as length."""
    edges = corners[:, 1:] - corners[:, :1]
    return edges, np.cross(edges[:, 0], edges[:, 1])


def unit_vectors(vectors: Array) -> Array:
    """Scale vectors [..., 3] to unit length; zero becomes (0, 0, 1)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(lengths > 1e-12, vectors / np.maximum(lengths, 1e-12), (0.0, 0.0, 1.0))
