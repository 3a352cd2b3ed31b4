"""Uniformly distributed points on a moving surface: drawn once, then carried along by their triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOVING_PART = 100  # one point in 100 has to move


@dataclass(frozen=True)
class SurfaceSamples:
    """Points fixed to a mesh. faces: [N] face indices; barycentric: [N, 3], rows sum to 1."""

    faces: np.ndarray
    barycentric: np.ndarray

    def positions(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Return the positions [..., N, 3] of the points for vertices [..., V, 3] and faces [F, 3]."""
        corners = vertices[..., faces[self.faces], :]  # [..., N, 3 corners, 3]
        return np.einsum("...nci,nc->...ni", corners, self.barycentric.astype(vertices.dtype))


def sample_surface(
    vertices: np.ndarray, faces: np.ndarray, num_points: int, generator: np.random.Generator
) -> SurfaceSamples:
    """Draw points on a surface, uniformly by area.

    vertices: [V, 3], faces: [F, 3]. Raises ValueError when the surface has no area.
    """
    areas = triangle_areas(vertices, faces)
    total = areas.sum()
    if not total > 0.0:
        raise ValueError("the surface has no area")
    # Stratified along the cumulative area: the same density as independent draws, with less clumping.
    positions = (np.arange(num_points) + generator.random(num_points)) / num_points * total
    chosen = np.searchsorted(np.cumsum(areas), positions, side="right")
    chosen = np.minimum(chosen, np.flatnonzero(areas)[-1])
    root, second = np.sqrt(generator.random(num_points)), generator.random(num_points)
    barycentric = np.stack([1.0 - root, root * (1.0 - second), root * second], axis=1)
    return SurfaceSamples(chosen, barycentric)


def motion_amount(points: np.ndarray) -> float:
    """Return the distance that at least 1 % of the points [T, N, 3] travel, in their unit.

    A point travels by its largest distance between any two frames, so frame 0 has no special role. The top 1 % is used
    instead of the mean because a waving hand is visible however still the body is.
    """
    travelled = np.zeros(points.shape[1], points.dtype)
    for frame in points:
        np.maximum(travelled, np.linalg.norm(points - frame, axis=-1).max(axis=0), out=travelled)
    rank = -(-len(travelled) // _MOVING_PART)  # at least one point
    return float(np.sort(travelled)[-rank])


def triangle_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the area of each triangle. vertices: [V, 3], faces: [F, 3]. Returns [F] float64."""
    a, b, c = np.moveaxis(vertices.astype(np.float64)[faces], 1, 0)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
