"""Confidence in the azimuth, from the loss of the best view and that of its best rival."""

from __future__ import annotations

import math

RIVAL_DISTANCE = 30.0  # degrees of azimuth from which on another view is a rival
_AS_GOOD = 1.1  # loss of a rival that fits nearly as well / loss of the best view
_BIAS, _MARGIN, _LOSS = (
    -0.5,
    7.4,
    -2.3,
)  # logistic regression on 100 images of known cameras; the bias is set, not fitted
_FLOOR = 0.03  # losses of images without noise; added, so that margins below it do not count


def confidence(loss: float, rival_loss: float) -> float:
    """Return the estimated probability that the azimuth is within 10 degrees of the right one.

    loss: of the best view. rival_loss: of the best one more than `RIVAL_DISTANCE` away.
    """
    margin = math.log((rival_loss + _FLOOR) / (loss + _FLOOR))
    return 1.0 / (1.0 + math.exp(-(_BIAS + _MARGIN * math.sqrt(max(margin, 0.0)) + _LOSS * loss)))


def fits_as_well(loss: float, rival_loss: float) -> bool:
    """Return whether a rival fits nearly as well as the best view."""
    return rival_loss + _FLOOR < _AS_GOOD * (loss + _FLOOR)
