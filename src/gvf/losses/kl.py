"""KL divergence of diagonal Gaussians from the standard normal: the regulariser of both autoencoders."""

from __future__ import annotations

from torch import Tensor


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Compute the mean over all elements of KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2.

    mean, logvar: [...], the same shape. Returns a scalar.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
