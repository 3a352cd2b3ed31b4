"""Gaussians of one frame as an SPZ file (version 3), about a quarter of the size of PLY, by the package gsply.

SPZ stores positions as 24-bit fixed point, logarithms of scale in steps of 1/16, opacity and colour in 8 bits, and rotations
as their three smallest components in 10 bits each; x right, y up, z backward. gsply quantises and packs. This module turns
the axes, chooses the finest fixed point that holds all positions, and sets the flag for splats trained with antialiasing,
which gsply does not write.
"""

from __future__ import annotations

import gzip
import math

from gvf.errors import UserError
from gvf.formats.checks import one_moment
from gvf.gaussians.axes import Y_UP, turn_points, turn_quats
from gvf.gaussians.gaussians import Gaussians
from gvf.storage.files import PathLike, atomic_path

_POSITION_BITS = 23  # of a coordinate's magnitude; the 24th is its sign
_FLAGS, _ANTIALIASED = 14, 1  # byte of the header, and the bit in it
_MARGIN = 1e-6  # opacities 0 and 1 have no finite logit


def save_spz(path: PathLike, gaussians: Gaussians, *, antialiased: bool) -> None:
    """Write Gaussians [N, ...] to an SPZ file.

    antialiased: whether renders lower opacities to make up for the low-pass filter's added area (Mip-Splatting), which
    viewers read from the file. Raises UserError for a batch, for values that are not finite or positions beyond 2^22.
    """
    import gsply

    gaussians = one_moment(path, gaussians)
    data = gsply.GSData.from_arrays(
        means=turn_points(gaussians.means.float(), Y_UP).numpy(),
        scales=gaussians.scales.log().numpy(),
        quats=turn_quats(gaussians.quats, Y_UP).numpy(),
        opacities=gaussians.opacities.logit(eps=_MARGIN).numpy(),
        sh0=gaussians.colors.float().numpy(),
        format="ply",
    )
    with atomic_path(path) as partial:
        gsply.write_spz(partial, data, version=3, fractional_bits=_fractional_bits(path, gaussians))
        payload = bytearray(gzip.decompress(partial.read_bytes()))
        payload[_FLAGS] |= _ANTIALIASED * antialiased
        partial.write_bytes(
            gzip.compress(payload, mtime=0)
        )  # without the time, so that equal Gaussians give equal bytes


def _fractional_bits(path: PathLike, gaussians: Gaussians) -> int:
    """Return how many of a coordinate's 23 bits may lie behind the point, given the largest coordinate."""
    _, whole_bits = math.frexp(gaussians.means.abs().max().item() + 2.0**-_POSITION_BITS)
    if whole_bits >= _POSITION_BITS:
        raise UserError(f"{path}: SPZ holds positions up to 2^22; scale the object down.")
    return min(_POSITION_BITS - whole_bits, _POSITION_BITS - 1)
