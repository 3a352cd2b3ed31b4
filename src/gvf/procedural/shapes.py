"""Build closed primitive shapes with normals, texture coordinates and colours.

Triangles wind anticlockwise seen from outside. Axes are glTF's: y up, and the front of an object looks along +z. On
shapes of revolution u = 0.5 faces +z and grows towards +x, v = 0 is the top, so a face painted in the middle of a
texture looks forwards, unmirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gvf.procedural.colors import BLACK, WHITE, linear

Array = NDArray[np.float64]
Vector = Sequence[float] | Array  # [3]


@dataclass(frozen=True)
class Shape:
    """A triangle mesh. positions, normals: [V,3]; uvs: [V,2]; colors: [V,4] linear RGBA; triangles: [F,3]."""

    positions: Array
    normals: Array
    uvs: Array
    colors: Array
    triangles: NDArray[np.int64]

    def moved(self, x: float, y: float, z: float) -> Shape:
        """Return the shape translated by (x, y, z)."""
        return replace(self, positions=self.positions + np.array([x, y, z]))

    def turned(self, axis: str, angle: float) -> Shape:
        """Return the shape rotated about an axis `x`, `y` or `z` through the origin; angle in radians, right-handed."""
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[j, i] = np.sin(angle)
        matrix[i, j] = -matrix[j, i]
        return replace(self, positions=self.positions @ matrix.T, normals=self.normals @ matrix.T)

    def scaled(self, x: float, y: float, z: float) -> Shape:
        """Return the shape, normals included, scaled about the origin by positive factors."""
        factors = np.array([x, y, z])
        assert np.all(factors > 0.0), factors
        return replace(self, positions=self.positions * factors, normals=_normalised(self.normals / factors))

    def bent(self, deform: Callable[[Array], Array]) -> Shape:
        """Return the shape with positions [V,3] mapped by `deform` and normals recomputed."""
        positions = deform(self.positions)
        return replace(self, positions=positions, normals=smooth_normals(positions, self.triangles))

    def painted(self, color: Vector, tip: Vector | None = None, axis: int = 1) -> Shape:
        """Return the shape with sRGB vertex colour `color`, blended linearly to `tip` along a coordinate axis if one is given."""
        rgb = np.broadcast_to(linear(color), self.positions.shape)
        if tip is not None:
            along = self.positions[:, axis]
            blend = ((along - along.min()) / np.ptp(along))[:, None]
            rgb = rgb + (linear(tip) - rgb) * blend
        return replace(self, colors=np.column_stack([rgb, np.ones(len(rgb))]))


def merge(shapes: Sequence[Shape]) -> Shape:
    """Join shapes into one."""
    offsets = np.cumsum([0, *(len(shape.positions) for shape in shapes[:-1])])
    return Shape(
        np.concatenate([shape.positions for shape in shapes]),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uvs for shape in shapes]),
        np.concatenate([shape.colors for shape in shapes]),
        np.concatenate([shape.triangles + offset for shape, offset in zip(shapes, offsets)]),
    )


def smooth_normals(positions: Array, triangles: NDArray[np.int64]) -> Array:
    """Return area-weighted vertex normals [V,3]; vertices at the same position (texture seams, poles) share theirs."""
    corners = positions[triangles]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    _, place = np.unique(np.round(positions, 6), axis=0, return_inverse=True)
    place = place.reshape(-1)
    sums = np.zeros((place.max() + 1, 3))
    for corner in range(3):
        np.add.at(sums, place[triangles[:, corner]], areas)
    return _normalised(sums[place])


def lathe(profile: Sequence[tuple[float, float]], segments: int = 16) -> Shape:
    """Build a surface of revolution about y. profile: (radius, height) from top to bottom, with radius 0 at both ends."""
    radii, heights = np.array(profile, dtype=np.float64).T
    angles = 2.0 * np.pi * (np.linspace(0.0, 1.0, segments + 1) - 0.5)
    lengths = np.hypot(np.diff(radii), np.diff(heights))
    v = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    grid = np.stack(
        [
            radii[:, None] * np.sin(angles),
            np.repeat(heights[:, None], segments + 1, axis=1),
            radii[:, None] * np.cos(angles),
        ],
        axis=-1,
    )
    return _grid(grid, v)


def sphere(radius: float = 1.0, rings: int = 10, segments: int = 16) -> Shape:
    """Build a sphere around the origin."""
    polar = np.linspace(0.0, np.pi, rings + 1)
    return lathe([(radius * float(np.sin(a)), radius * float(np.cos(a))) for a in polar], segments)


def cylinder(radius: float, height: float, segments: int = 16, *, top_radius: float | None = None) -> Shape:
    """Build a cylinder or truncated cone about y, centred at the origin, with slightly rounded rims."""
    top = radius if top_radius is None else top_radius
    bevel = 0.08 * min(radius, height)
    half = height / 2.0
    profile = [
        (0.0, half),
        (max(top - bevel, 0.3 * top), half),
        (top, half - bevel),
        (radius, bevel - half),
        (max(radius - bevel, 0.3 * radius), -half),
        (0.0, -half),
    ]
    return lathe(profile, segments)


def cone(radius: float, height: float, segments: int = 12) -> Shape:
    """Build a cone about y with its tip at (0, height, 0) and its base at the origin."""
    return lathe([(0.0, height), (0.5 * radius, 0.5 * height), (radius, 0.0), (0.0, 0.0)], segments)


def torus(ring: float, thickness: float, segments: int = 24, sides: int = 8) -> Shape:
    """Build a torus about y. ring: radius of its centre line; thickness: radius of its section."""
    around = np.linspace(0.0, 2.0 * np.pi, segments + 1) - np.pi
    section = np.pi / 2.0 - np.linspace(0.0, 2.0 * np.pi, sides + 1)
    radii = ring + thickness * np.cos(section)
    grid = np.stack(
        [
            radii[:, None] * np.sin(around),
            np.repeat(thickness * np.sin(section)[:, None], segments + 1, axis=1),
            radii[:, None] * np.cos(around),
        ],
        axis=-1,
    )
    return _grid(grid, np.linspace(0.0, 1.0, sides + 1))


def tube(
    path: Sequence[Vector] | Array, radii: Sequence[float] | Array, segments: int = 10, *, up: Vector = (0.0, 0.0, 1.0)
) -> Shape:
    """Build a tube along a path, closed by round caps; with two points it is a capsule.

    path: [P,3], P >= 2; radii: [P], or [P,2] for elliptic sections: across, and along `up` (made perpendicular to the
    path at its start and carried along it without twist).
    """
    points = np.asarray(path, dtype=np.float64)
    widths = np.asarray(radii, dtype=np.float64)
    widths = np.repeat(widths[:, None], 2, axis=1) if widths.ndim == 1 else widths
    tangents = _normalised(np.gradient(points, axis=0))
    caps = np.array([0.35, 0.8])  # sin of the angles of the rings of a cap
    first, last = widths[0].min(), widths[-1].min()
    rise = np.sqrt(1.0 - caps**2)
    points = np.concatenate(
        [
            points[:1] - tangents[:1] * np.concatenate([[1.0], rise])[:, None] * first,
            points,
            points[-1:] + tangents[-1:] * np.concatenate([rise[::-1], [1.0]])[:, None] * last,
        ]
    )
    shrink = np.concatenate([[0.0], caps])[:, None]
    widths = np.concatenate([widths[:1] * shrink, widths, widths[-1:] * shrink[::-1]])
    tangents = np.concatenate([tangents[:1]] * 3 + [tangents] + [tangents[-1:]] * 3)
    across, along = _frames(tangents, np.asarray(up, dtype=np.float64))
    angles = 2.0 * np.pi * (np.linspace(0.0, 1.0, segments + 1) - 0.5)
    grid = (
        points[:, None]
        + across[:, None] * (widths[:, :1] * np.sin(angles))[..., None]
        + along[:, None] * (widths[:, 1:] * np.cos(angles))[..., None]
    )
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return _grid(grid, np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum())


def rounded_box(size: Vector, radius: float) -> Shape:
    """Build a box of edge lengths `size` around the origin, edges rounded by `radius`; each face shows the whole texture."""
    half = np.asarray(size, dtype=np.float64) / 2.0
    radius = min(radius, 0.999 * float(half.min()))
    shapes = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            ticks = [_box_ticks(half[k], radius) for k in (i, j)]
            grid = np.empty((6, 6, 3))
            grid[..., axis] = sign * half[axis]
            grid[..., i], grid[..., j] = np.meshgrid(ticks[0], ticks[1], indexing="ij")
            if sign < 0.0:
                grid = grid[::-1]
            core = np.clip(grid, -(half - radius), half - radius)
            normals = _normalised(grid - core)
            quad = _grid(core + radius * normals, np.linspace(0.0, 1.0, 6))
            front = quad.positions
            across, height = (0, 1) if axis == 2 else ((2, 1) if axis == 0 else (0, 2))
            flip = {0: -sign, 1: 1.0, 2: sign}[axis]
            uvs = np.column_stack(
                [0.5 + 0.5 * flip * front[:, across] / half[across], 0.5 - 0.5 * front[:, height] / half[height]]
            )
            shapes.append(replace(quad, normals=normals.reshape(-1, 3), uvs=uvs))
    return merge(shapes)


def extrude(outline: Sequence[tuple[float, float]] | Array, depth: float) -> Shape:
    """Build a flat plate between z = -depth/2 and depth/2. outline: [P,2] anticlockwise, star-shaped about its mean."""
    rim = np.asarray(outline, dtype=np.float64)
    count = len(rim)
    low, high = rim.min(axis=0), rim.max(axis=0)
    fan = np.concatenate([[rim.mean(axis=0)], rim])
    fan_uvs = np.column_stack([(fan[:, 0] - low[0]) / (high - low)[0], (high[1] - fan[:, 1]) / (high - low)[1]])
    around = np.arange(count)
    after = (around + 1) % count
    triangles = np.column_stack([np.zeros(count, dtype=np.int64), around + 1, after + 1])
    faces = []
    for sign, winding in ((1.0, triangles), (-1.0, triangles[:, [0, 2, 1]])):
        positions = np.column_stack([fan, np.full(count + 1, sign * depth / 2.0)])
        normals = np.tile([0.0, 0.0, sign], (count + 1, 1))
        faces.append(Shape(positions, normals, fan_uvs, np.ones((count + 1, 4)), winding))
    edges = rim[after] - rim
    outward = _normalised(np.column_stack([edges[:, 1], -edges[:, 0], np.zeros(count)]))
    starts, ends = np.column_stack([rim, np.zeros(count)]), np.column_stack([rim[after], np.zeros(count)])
    push = np.array([0.0, 0.0, depth / 2.0])
    sides = np.stack([starts + push, starts - push, ends - push, ends + push], axis=1).reshape(-1, 3)
    quads = 4 * around[:, None]
    side_triangles = np.concatenate([quads + np.array(corners) for corners in ((0, 1, 2), (0, 2, 3))])
    side_uvs = np.repeat(np.stack([fan_uvs[1:], fan_uvs[1:][after]], axis=1), 2, axis=1).reshape(-1, 2)
    faces.append(Shape(sides, np.repeat(outward, 4, axis=0), side_uvs, np.ones((4 * count, 4)), side_triangles))
    return merge(faces)


def eyeball(radius: float) -> Shape:
    """Build a white eye with a dark pupil that looks along +z."""
    white = sphere(radius, 6, 10).painted(WHITE)
    pupil = sphere(0.6 * radius, 5, 8).moved(0.0, 0.0, 0.55 * radius).painted(BLACK)
    return merge([white, pupil])


def _box_ticks(half: float, radius: float) -> Array:
    inner = half - radius
    return np.array([-half, -inner - 0.42 * radius, -inner, inner, inner + 0.42 * radius, half])


def _grid(grid: Array, v: Array) -> Shape:
    """Build a shape from a [R,S,3] grid whose rows run down and columns to the right, seen from outside. v: [R]."""
    rows, columns = grid.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    top_left, top_right = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    low_left, low_right = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate(
        [np.column_stack([top_left, low_left, low_right]), np.column_stack([top_left, low_right, top_right])]
    )
    positions = grid.reshape(-1, 3)
    corners = positions[triangles]
    doubled_area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    triangles = triangles[doubled_area > 1e-9]  # drops the slivers at the poles
    u = np.tile(np.linspace(0.0, 1.0, columns), rows)
    uvs = np.column_stack([u, np.repeat(v, columns)])
    return Shape(positions, smooth_normals(positions, triangles), uvs, np.ones((len(positions), 4)), triangles)


def _frames(tangents: Array, up: Array) -> tuple[Array, Array]:
    """Return the directions [P,3] across and along each section; `along` starts at `up` and is carried on without twist."""
    across, along = np.empty_like(tangents), np.empty_like(tangents)
    carried = up if abs(up @ tangents[0]) < 0.95 else np.array([0.0, 1.0, 0.0])
    for index, tangent in enumerate(tangents):
        carried = carried - (carried @ tangent) * tangent
        carried = carried / np.linalg.norm(carried)
        along[index] = carried
        across[index] = np.cross(carried, tangent)
    return across, along


def _normalised(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
