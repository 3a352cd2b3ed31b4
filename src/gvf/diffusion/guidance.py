"""Classifier-free guidance over two conditions, the video and the canonical Gaussians."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Prediction = Callable[[Tensor, Tensor], Tensor]
"""A network with its conditions: (noised latents [B, ...], timesteps [B]) -> prediction, shaped like the latents."""


def guided(
    full: Prediction,
    without_video: Prediction,
    without_both: Prediction,
    *,
    static_scale: float,
    video_scale: float,
) -> Prediction:
    """Combine three conditionings: n00 + static_scale (n01 - n00) + video_scale (n11 - n01).

    n11 is `full`, n01 `without_video`, n00 `without_both` (zeros for the video's tokens, and for the static ones too).
    Velocity and noise predictions are combined in the same way: at a given timestep one is the other up to a linear map
    that all three share. Terms that cancel are not computed: with both scales 1 (the paper's sampling) it is `full` itself.
    """
    weights = [
        (1.0 - static_scale, without_both),
        (static_scale - video_scale, without_video),
        (video_scale, full),
    ]
    terms = [(weight, prediction) for weight, prediction in weights if weight != 0.0]
    if len(terms) == 1 and terms[0][0] == 1.0:
        return terms[0][1]

    def combined(noised: Tensor, timesteps: Tensor) -> Tensor:
        (weight, prediction), *rest = terms
        total = weight * prediction(noised, timesteps)
        for weight, prediction in rest:
            total = total + weight * prediction(noised, timesteps)
        return total

    return combined
