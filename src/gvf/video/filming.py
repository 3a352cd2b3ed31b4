"""What separates a film of an object from a perfect rendering of it: other light, a rough mask, a camera known roughly.

Conditioning videos of training clips can be varied by it (`render.video_variation`), so that networks meet what users' videos
are like after the background has been removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gvf.config.render import VideoVariationConfig
from gvf.video.color import linear_from_srgb, srgb_from_linear
from gvf.video.edges import with_inner_colors

_TINT = 0.25  # of the change in brightness by which colour channels differ
_SHAKE = 0.25  # of a video's own error by which its frames differ
_PATCH = 0.12  # of the image: size of the parts of a silhouette that are cut out too wide or too narrow together
_HOLE = (0.01, 0.03)  # of the image: radius


@dataclass(frozen=True)
class Filming:
    """How one video of T frames is filmed. Lengths are fractions of the image's side.

    light: degrees by which the lights are turned about the vertical axis. gains: [3], factors on linear light. background:
    [3] uint8, the colour behind the object. edge: [T], how far the mask reaches beyond the silhouette where it is too wide,
    and stays behind it elsewhere. holes: [K, 5] x, y, radius, first and last frame. shift: [T, 2], zoom, roll (degrees): of
    the image against what the recorded camera would show. seed: of the places where the mask is too wide.
    """

    light: float
    gains: np.ndarray
    background: np.ndarray
    edge: np.ndarray
    holes: np.ndarray
    shift: np.ndarray
    zoom: float
    roll: float
    seed: int

    def cameras(self, viewmat: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cameras that film, [T, 4, 4] and [T, 3, 3], where `viewmat` and `K` are recorded."""
        turn, Ks = np.eye(4), np.repeat(K[None], len(self.shift), axis=0)
        turn[:3, :3] = _rotation(self.roll)
        Ks[:, [0, 1], [0, 1]] *= self.zoom
        Ks[:, :2, 2] += self.shift
        return np.repeat((turn @ viewmat)[None], len(self.shift), axis=0), Ks

    def relit(self, vertices: np.ndarray, viewmat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return object [V, 3] and camera turned together, so that the same view is lit from another side."""
        turn = np.eye(4)
        turn[:3, :3] = _rotation(self.light)
        return vertices @ turn[:3, :3].T, viewmat @ turn.T

    def developed(self, frames: np.ndarray) -> np.ndarray:
        """Return rendered frames uint8 [T, H, W, 4] as they look after filming and cutting out."""
        size = frames.shape[1]
        noise = np.random.default_rng(self.seed).standard_normal((size, size))
        wide = ndimage.gaussian_filter(noise, _PATCH * size, mode="wrap")
        wide /= max(float(np.abs(wide).max()), 1e-9)
        light = np.clip(linear_from_srgb(frames[..., :3]) * self.gains, 0.0, 1.0)
        colors = np.round(255.0 * srgb_from_linear(light))
        alpha = frames[..., 3:] / 255.0
        seen = np.round(alpha * colors + (1.0 - alpha) * self.background).astype(np.uint8)
        masks = [
            _mask(a[..., 0], size * edge * wide, self._holes(frame, size))
            for frame, (a, edge) in enumerate(zip(alpha, self.edge))
        ]
        return np.stack([with_inner_colors(rgb, mask) for rgb, mask in zip(seen, masks)])

    def _holes(self, frame: int, size: int) -> np.ndarray:
        """Return where the mask of a frame has a hole, [H, W] bool."""
        rows, columns = (np.mgrid[:size, :size] + 0.5) / size
        missing = np.zeros((size, size), bool)
        for x, y, radius, first, last in self.holes:
            if first <= frame <= last:
                missing |= np.hypot(columns - x, rows - y) < radius
        return missing


def draw_filming(config: VideoVariationConfig, num_frames: int, generator: np.random.Generator) -> Filming:
    """Draw how a video is filmed."""

    def around(largest: float, *shape: int) -> np.ndarray:
        return generator.uniform(-largest, largest, shape)

    stops = float(around(config.exposure))
    holes = [
        (*generator.uniform(0.25, 0.75, 2), generator.uniform(*_HOLE), *np.sort(generator.integers(0, num_frames, 2)))
        for _ in range(int(generator.integers(0, config.holes + 1)))
    ]
    return Filming(
        light=float(around(config.light)),
        gains=2.0 ** (stops + around(_TINT * config.exposure, 3)),
        background=generator.integers(0, 256, 3).astype(np.uint8),
        edge=float(around(config.edge)) + around(_SHAKE * config.edge, num_frames),
        holes=np.array(holes, np.float64).reshape(-1, 5),
        shift=around(config.shift, 2) + around(_SHAKE * config.shift, num_frames, 2),
        zoom=1.0 + float(around(config.zoom)),
        roll=float(around(config.roll)),
        seed=int(generator.integers(1 << 32)),
    )


def _mask(alpha: np.ndarray, edge: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return an alpha channel [H, W] float32 whose edge is moved outwards by `edge` [H, W] pixels, with holes."""
    solid = alpha > 0.5
    if not solid.any():
        return alpha.astype(np.float32)
    distance = np.where(solid, ndimage.distance_transform_edt(solid), -ndimage.distance_transform_edt(~solid))
    moved = np.clip(distance - np.sign(distance) * 0.5 + edge + 0.5, 0.0, 1.0)
    return np.where(holes, 0.0, np.where(edge == 0.0, alpha, moved)).astype(np.float32)


def _rotation(degrees: float) -> np.ndarray:
    """Return the rotation [3, 3] about the third axis, counter-clockwise."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
