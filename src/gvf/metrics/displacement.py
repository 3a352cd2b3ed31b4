"""Errors of displacements relative to the ground-truth motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def relative_error(displacements: Tensor, reference: Tensor) -> float:
    """Return the RMS of the difference over the RMS of the reference: 0 is perfect, 1 is the score of no motion."""
    return ((displacements - reference).square().mean() / reference.square().mean()).sqrt().item()


def relative_errors(displacements: Tensor, reference: Tensor) -> Tensor:
    """Return the RMS of every frame's difference over the RMS of the whole reference, [T]; both are [T, N, 3].

    The root of the mean of their squares is `relative_error`, which lets frames near the canonical one count little.
    """
    return ((displacements - reference).square().mean(dim=(1, 2)) / reference.square().mean()).sqrt()
