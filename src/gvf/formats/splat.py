"""Gaussians of one frame as a .splat file, the small format without header that web viewers read.

Per Gaussian 32 bytes, little endian: position 3 x float32, scale 3 x float32 (standard deviations, not their logarithm),
colour and opacity 4 x uint8, rotation wxyz 4 x uint8 (value x 128 + 128). Axes are y down, as in PLY files. Gaussians are
sorted by volume x opacity, largest first, so that a viewer that loads the file piece by piece shows the shape early.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gvf.formats.checks import one_moment
from gvf.gaussians.axes import Y_DOWN, turn_points, turn_quats
from gvf.gaussians.gaussians import Gaussians
from gvf.storage.files import PathLike, atomic_path

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def save_splat(path: PathLike, gaussians: Gaussians) -> None:
    """Write Gaussians [N, ...] to a .splat file. Raises UserError for a batch, and for values that are not finite."""
    gaussians = one_moment(path, gaussians)
    order = torch.argsort(gaussians.scales.prod(-1) * gaussians.opacities, descending=True, stable=True)
    gaussians = gaussians[order]
    rows = np.zeros(gaussians.num_gaussians, ROW)
    rows["position"] = turn_points(gaussians.means.float(), Y_DOWN)
    rows["scale"] = gaussians.scales
    rows["rgba"][:, :3] = _bytes(255 * gaussians.rgb)
    rows["rgba"][:, 3] = _bytes(255 * gaussians.opacities)
    rows["rotation"] = _bytes(128 * turn_quats(gaussians.quats, Y_DOWN) + 128)
    with atomic_path(path) as partial:
        partial.write_bytes(rows.tobytes())


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).byte().numpy()
