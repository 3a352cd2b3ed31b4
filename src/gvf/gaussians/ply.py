"""Gaussians as PLY files that splat viewers read, in the convention of the paper's release.

One vertex per Gaussian, binary little endian, all float32: x y z, nx ny nz (zero), f_dc_0..2 (degree-0 SH), opacity
(logit), scale_0..2 (natural logarithm), rot_0..3 (wxyz). Viewers have y down: positions and orientations are turned by
(x, y, z) -> (x, -z, y), so that our up, z, becomes -y. The package plyfile reads and writes the files; this module
checks what plyfile does not check: counts, rows and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError
from torch import Tensor

from gvf.errors import UserError
from gvf.gaussians.axes import Y_DOWN, Y_UP, turn_points, turn_quats
from gvf.gaussians.gaussians import RELEASE_ACTIVATION, GaussianActivation, Gaussians
from gvf.gaussians.ply_header import read_ply_header
from gvf.storage.files import PathLike, atomic_path
from gvf.text import clean

_COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_READ = tuple(name for name in _COLUMNS if name not in ("nx", "ny", "nz"))
_MAX_TABLE_ROWS = 1 << 60  # of a header that is only looked at
_MAX_LIST_ROWS = 1_000_000  # of an element with list properties, which are read row by row


def save_ply(path: PathLike, gaussians: Gaussians, comments: Sequence[str] = ()) -> None:
    """Write N Gaussians (no leading axes: one frame) to a PLY file; a scale of zero becomes the smallest float32.

    comments: lines of ASCII for the header, which readers skip.
    Raises UserError for a batch, and for a value that is NaN or infinite.
    """
    if gaussians.means.ndim != 2:
        raise UserError(f"{path}: a PLY holds one frame, found means of shape {list(gaussians.means.shape)}.")
    gaussians = gaussians.detach().to("cpu")
    values = np.zeros((gaussians.num_gaussians, len(_COLUMNS)), "<f4")
    values[:, 0:3] = turn_points(gaussians.means, Y_DOWN)
    values[:, 6:9] = gaussians.colors.float()
    values[:, 9] = torch.logit(gaussians.opacities, eps=1e-6)
    values[:, 10:13] = gaussians.scales.float().clamp(min=torch.finfo(torch.float32).tiny).log()
    values[:, 13:17] = turn_quats(gaussians.quats, Y_DOWN)
    _refuse_values(path, _COLUMNS, np.isfinite(values), values)
    table = values.view([(name, "<f4") for name in _COLUMNS])[:, 0]
    with atomic_path(path) as partial:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<", comments=list(comments)).write(str(partial))


def load_ply(
    path: PathLike, activation: GaussianActivation = RELEASE_ACTIVATION, up: Literal["y", "z", "-y"] = "-y"
) -> Gaussians:
    """Read the Gaussians of a PLY file in the same convention; further properties and elements are ignored.

    up: the axis of the file that points up, where it is not that of viewers.
    activation: how the result stores its raw values; scales below its filter_3d are raised to it.
    Binary and ASCII files are read. Raises UserError when the file is missing, damaged, not a Gaussian splat, or holds a
    value that is not finite; the message names the row, counted from 0, and the property.
    """
    _check_header(path)
    table = _read_vertices(path)
    values = np.stack([np.asarray(table[name], np.float64) for name in _READ], axis=-1)
    with np.errstate(over="ignore"):
        _refuse_values(path, _READ, np.isfinite(values.astype(np.float32)), values)
        columns = {name: torch.from_numpy(values[:, index].copy()) for index, name in enumerate(_READ)}
        scales = _stacked(columns, "scale_0", "scale_1", "scale_2").exp()
        finite = np.isfinite(scales.float().numpy())
    _refuse_values(
        path, ("scale_0", "scale_1", "scale_2"), finite, values[:, 7:10], "too large for a logarithm of scale"
    )
    quats = _stacked(columns, "rot_0", "rot_1", "rot_2", "rot_3")
    lengths = quats.norm(dim=-1, keepdim=True)
    if (short := (lengths[:, 0] < 1e-12).nonzero()).numel():
        raise UserError(f"{path}: row {int(short[0])}: rot_0 to rot_3 are all zero, which is no rotation.")
    means, quats = _stacked(columns, "x", "y", "z"), quats / lengths
    if up != "z":
        turn = -Y_DOWN if up == "-y" else -Y_UP
        means, quats = turn_points(means, turn), turn_quats(quats, turn)
    return Gaussians.from_rendered(
        means=means.float(),
        colors=_stacked(columns, "f_dc_0", "f_dc_1", "f_dc_2").float(),
        scales=scales.float(),
        quats=quats.float(),
        opacities=columns["opacity"].sigmoid().float(),
        activation=activation,
    )


def _stacked(columns: dict[str, Tensor], *names: str) -> Tensor:
    return torch.stack([columns[name] for name in names], dim=-1)


def _refuse_values(
    path: PathLike, names: tuple[str, ...], sound: np.ndarray, values: np.ndarray, why: str = "not a finite float32"
) -> None:
    """Raise UserError for the first row that is not valid. sound, values: [N, len(names)]."""
    if sound.all():
        return
    row, column = (int(index) for index in np.argwhere(~sound)[0])
    raise UserError(f"{path}: row {row}: property {names[column]} is {values[row, column]:g}, {why}.")


def ply_holds_gaussians(path: PathLike) -> bool:
    """Return whether the vertices of a PLY file have properties of Gaussians, even if one of them is missing.

    Raises UserError when it is no PLY file.
    """
    vertex = read_ply_header(path, _MAX_TABLE_ROWS).elements.get("vertex")
    return vertex is not None and not {"f_dc_0", "scale_0", "rot_0"}.isdisjoint(vertex.properties)


def _check_header(path: PathLike) -> None:
    """Raise UserError unless the header is complete and declares a Gaussian splat whose rows fit into the file."""
    vertex = read_ply_header(path, _MAX_LIST_ROWS).elements.get("vertex")
    if vertex is None:
        raise UserError(f"{path}: not a Gaussian splat, it has no element vertex.")
    if vertex.lists:
        raise UserError(f"{path}: not a Gaussian splat, its vertices have a list property.")
    if missing := [name for name in _READ if name not in vertex.properties]:
        raise UserError(f"{path}: not a Gaussian splat, it has no property {', '.join(missing)}.")
    if vertex.count == 0:
        raise UserError(f"{path}: holds no Gaussian, it has 0 vertices.")


def _read_vertices(path: PathLike) -> Any:
    """Read the columns of the vertex element from a file whose header has been checked."""
    try:
        with open(path, "rb") as file, np.errstate(over="ignore"):
            return PlyData.read(file)["vertex"].data
    except PlyParseError as error:
        what = "truncated" if "early end-of-file" in str(error) else "not a readable PLY file"
        raise UserError(f"{path}: {what} ({clean(str(error), 200)}).") from None
    except (ValueError, OverflowError, OSError, MemoryError) as error:
        raise UserError(f"{path}: not a readable PLY file ({clean(str(error), 200)}).") from None
