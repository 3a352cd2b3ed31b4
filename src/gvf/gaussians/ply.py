"""Gaussians as PLY files that splat viewers read, in the convention of the paper's release.

One vertex a Gaussian, binary little endian, all float32: x y z, nx ny nz (zero), f_dc_0..2 (degree-0 SH), opacity
(logit), scale_0..2 (natural logarithm), rot_0..3 (wxyz). Viewers have y down: positions and orientations are turned by
(x, y, z) -> (x, -z, y), so that our up, z, becomes -y.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.files import PathLike, atomic_path
from gvf.gaussians.gaussians import RELEASE_ACTIVATION, GaussianActivation, Gaussians

_COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4"},
    **{"float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8"},
}
_HALF = math.sqrt(0.5)


def _turn_points(points: Tensor, direction: int) -> Tensor:
    """(x, y, z) to (x, -z, y) for direction 1, back for -1. points: [N, 3]."""
    x, y, z = points.unbind(-1)
    return torch.stack([x, -direction * z, direction * y], dim=-1)


def _turn_quats(quats: Tensor, direction: int) -> Tensor:
    """The same quarter turn about x, applied after each rotation. quats: [N, 4] wxyz."""
    w, x, y, z = quats.unbind(-1)
    return _HALF * torch.stack([w - direction * x, x + direction * w, y - direction * z, z + direction * y], dim=-1)


def save_ply(path: PathLike, gaussians: Gaussians) -> None:
    """Write N Gaussians (no leading axes: one frame) to a PLY file. Raises UserError for a batch."""
    if gaussians.means.ndim != 2:
        raise UserError(f"{path}: a PLY holds one frame, found means of shape {list(gaussians.means.shape)}.")
    gaussians = gaussians.detach().to("cpu")
    table = np.zeros((gaussians.num_gaussians, len(_COLUMNS)), "<f4")
    table[:, 0:3] = _turn_points(gaussians.means, 1)
    table[:, 6:9] = gaussians.colors.float()
    table[:, 9] = torch.logit(gaussians.opacities, eps=1e-6)
    table[:, 10:13] = gaussians.scales.log()
    table[:, 13:17] = _turn_quats(gaussians.quats, 1)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in _COLUMNS] + ["end_header", ""]
    with atomic_path(path) as partial, open(partial, "wb") as file:
        file.write("\n".join(header).encode())
        file.write(table.tobytes())


def load_ply(path: PathLike, activation: GaussianActivation = RELEASE_ACTIVATION) -> Gaussians:
    """Read the Gaussians of a PLY file in the same convention; further properties (higher SH bands) are ignored.

    activation: how the result's raw values shall be stored; scales below its filter_3d are raised to it.
    Raises UserError when the file is missing, truncated, of another format or without the columns above.
    """
    table = _read_vertices(path)
    missing = [name for name in _COLUMNS if name not in (table.dtype.names or ()) and name not in ("nx", "ny", "nz")]
    if missing:
        raise UserError(f"{path}: not a Gaussian splat, it has no property {', '.join(missing)}.")

    def columns(*names: str) -> Tensor:
        return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))

    quats = columns("rot_0", "rot_1", "rot_2", "rot_3")
    return Gaussians.from_rendered(
        means=_turn_points(columns("x", "y", "z"), -1),
        colors=columns("f_dc_0", "f_dc_1", "f_dc_2"),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        quats=_turn_quats(torch.nn.functional.normalize(quats, dim=-1), -1),
        opacities=columns("opacity")[:, 0].sigmoid(),
        activation=activation,
    )


def _read_vertices(path: PathLike) -> np.ndarray:
    """The vertex element as a structured array."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    head, separator, body = content.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").split("\n")
    if lines[0].strip() != "ply" or not separator:
        raise UserError(f"{path}: not a PLY file.")
    count, fields, element = -1, [], ""
    for line in lines[1:]:
        words = line.split()
        if words[:1] == ["format"] and words[1:2] != ["binary_little_endian"]:
            raise UserError(f"{path}: PLY format {' '.join(words[1:2])}; only binary_little_endian is read.")
        if words[:1] == ["element"]:
            if count >= 0 and words[1] == "vertex":
                raise UserError(f"{path}: two vertex elements.")
            if count < 0 and words[1] != "vertex":
                raise UserError(f"{path}: element {words[1]} before the vertices; only splats are read.")
            element = words[1]
            count = int(words[2]) if element == "vertex" and words[2].isdigit() else count
        if words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise UserError(f"{path}: cannot read '{line.strip()}'.")
            fields.append((words[2], _TYPES[words[1]]))
    layout = np.dtype(fields)
    if count < 0 or len(body) < count * layout.itemsize:
        raise UserError(f"{path}: truncated, {len(body)} bytes for {count} vertices of {layout.itemsize}.")
    return np.frombuffer(body, layout, count)
