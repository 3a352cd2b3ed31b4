"""Tone-map frames of high dynamic range (PQ or HLG in BT.2020) to display sRGB."""

from __future__ import annotations

import numpy as np

from gvf.video.color import srgb_from_linear

TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range by their code in ITU-T H.273."""

_WHITE = 203.0  # cd/m2 of diffuse white (ITU-R BT.2408)
_PEAK = 1000.0  # cd/m2 that becomes 1
_KR, _KB = 0.2627, 0.0593  # luma of BT.2020
_LUMINANCE = np.array([_KR, 1 - _KR - _KB, _KB], dtype=np.float32)
_BT709_FROM_BT2020 = np.array(  # ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)


def tone_mapped(planes: np.ndarray, transfer: int, full_range: bool) -> np.ndarray:
    """Return display sRGB uint8 [H, W, 3] of a frame.

    planes: uint16 [H, W, 3], Y'CbCr with the matrix of BT.2020, 16 bits wide. transfer: a key of TRANSFERS.
    """
    signal = _rgb(planes.astype(np.float32) / 65536, full_range)
    light = (_light_of_pq if TRANSFERS[transfer] == "PQ" else _light_of_hlg)(signal) / _WHITE
    luminance = np.maximum(light @ _LUMINANCE, 1e-6)[..., None]
    mapped = light * (_compressed(luminance) / luminance)
    display = np.clip(mapped @ _BT709_FROM_BT2020.T, 0, 1)
    return np.round(255 * srgb_from_linear(display)).astype(np.uint8)


def _rgb(planes: np.ndarray, full_range: bool) -> np.ndarray:
    """Y'CbCr of BT.2020 in [0, 1) to R'G'B' in [0, 1], both [H, W, 3]."""
    if full_range:
        luma, blue, red = planes[..., 0], 2 * planes[..., 1] - 1, 2 * planes[..., 2] - 1
    else:
        luma = (planes[..., 0] * 256 - 16) / 219
        blue, red = (planes[..., 1] * 256 - 128) / 112, (planes[..., 2] * 256 - 128) / 112
    r = luma + (1 - _KR) * red
    b = luma + (1 - _KB) * blue
    g = (luma - _KR * r - _KB * b) / (1 - _KR - _KB)
    return np.clip(np.stack([r, g, b], axis=-1), 0, 1)


def _light_of_pq(signal: np.ndarray) -> np.ndarray:
    """Inverse of PQ's transfer function (SMPTE ST 2084): display light in cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** np.float32(1 / m2)
    return 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** np.float32(1 / m1)


def _light_of_hlg(signal: np.ndarray) -> np.ndarray:
    """HLG (ITU-R BT.2100) shown on a display of 1000 cd/m2: inverse OETF, then the OOTF with gamma 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = np.maximum(scene @ _LUMINANCE, 1e-6)[..., None]
    return 1000 * scene * luminance ** np.float32(0.2)


def _compressed(luminance: np.ndarray) -> np.ndarray:
    """Reinhard's curve with a white point on top of a straight line: diffuse white stays bright, highlights are kept.

    Below the knee the curve is the identity; above it, it approaches 1 at the peak with the slope continuous.
    """
    knee, peak = 0.6, _PEAK / _WHITE
    span = (peak - knee) / (1 - knee)
    x = np.maximum(luminance - knee, 0) / (1 - knee)
    curve = x * (1 + x / span**2) / (1 + x)
    return np.where(luminance <= knee, luminance, np.minimum(knee + (1 - knee) * curve, 1))
