"""Checks before an export: the axes of the Gaussians, and that all values are finite."""

from __future__ import annotations

from dataclasses import fields

import torch

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.storage.files import PathLike


def one_moment(path: PathLike, gaussians: Gaussians) -> Gaussians:
    """Return Gaussians [N, ...] on the CPU, without gradients. Raises UserError for other axes or values that are not finite."""
    return _checked(path, gaussians, 2, "[N, 3], one frame")


def sequence(path: PathLike, gaussians: Gaussians) -> Gaussians:
    """Return Gaussians [T, N, ...] on the CPU, without gradients. Raises UserError for other axes or values that are not finite."""
    return _checked(path, gaussians, 3, "[T, N, 3], a sequence of frames")


def _checked(path: PathLike, gaussians: Gaussians, axes: int, wanted: str) -> Gaussians:
    shape = gaussians.means.shape
    if len(shape) != axes or 0 in shape:
        raise UserError(f"{path}: needs means of shape {wanted}, found {list(shape)}.")
    gaussians = gaussians.detach().to("cpu")
    for name in (field.name for field in fields(gaussians) if field.name != "activation"):
        if not bool(torch.isfinite(getattr(gaussians, name)).all()):
            raise UserError(
                f"{path}: {name} of the Gaussians has a value that is NaN or infinite; nothing was written."
            )
    return gaussians
