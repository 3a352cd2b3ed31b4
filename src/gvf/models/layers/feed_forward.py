"""Position-wise feed-forward networks of the two families of transformers."""

from __future__ import annotations

from torch import Tensor, nn

from gvf.models.layers.activations import geglu, gelu_tanh


class TanhGELU(nn.Module):
    """GELU in its tanh approximation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [..., C]. x: [..., C]."""
        return gelu_tanh(x)


class FeedForward(nn.Module):
    """Linear, GELU (tanh approximation), Linear; used by the diffusion and the sparse transformers."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), TanhGELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [..., C]. x: [..., C]."""
        return self.mlp(x)


class GEGLU(nn.Module):
    """First half of the channels times the exact GELU of the second half."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [..., C]. x: [..., 2C]."""
        return geglu(x)


class GatedFeedForward(nn.Module):
    """Linear to twice `ratio` times the width, GEGLU, Linear back; used by the variation VAE."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 2 * ratio * width), GEGLU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [..., C]. x: [..., C]."""
        return self.net(x)
