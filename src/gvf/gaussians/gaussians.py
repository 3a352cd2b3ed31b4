"""3D Gaussians as named fields. This module alone knows the two 14-channel orders of the paper's release.

Canonical vectors (G_1 as input of the variation VAE and the DiT) hold ACTIVATED values:
    means 0:3, colors 3:6, opacity 6, scales 7:10, quats 10:14          (release, train_vae.py:466)
Variation vectors (dG_t, Eq. 7) hold additive changes in another order:
    means 0:3, scales 3:6, quats 6:10, colors 10:13, opacity 13         (release, gaussian_render.py:154)
of which scales, quats and opacity are added to the RAW values, before bias and activation, although Eq. 7 reads as a
plain sum: this way a sum never leaves the range of an activation, and it is what the published weights were trained with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.errors import UserError
from gvf.gaussians.sh import rgb_from_sh

NUM_CHANNELS = 14
VARIATION_SLICES = {  # channels of a variation that change each attribute
    "means": slice(0, 3),
    "scales": slice(3, 6),
    "quats": slice(6, 10),
    "colors": slice(10, 13),
    "opacities": slice(13, 14),
}
_SMALLEST_SCALE = 1e-6  # object units; keeps the inverse of the scale activation finite
_OPACITY_MARGIN = 1e-6  # keeps the logit of padded (0) and opaque (1) Gaussians finite


@dataclass(frozen=True)
class GaussianActivation:
    """How raw decoder values become scales, rotations and opacities.

    scale_bias: scale of a Gaussian whose raw value is 0, object units; the release's value is meant for 64^3 voxels.
    filter_3d: Mip-Splatting's 3D filter, added in quadrature to scales, object units.
    opacity_bias: opacity of a Gaussian whose raw value is 0.
    """

    scale_bias: float = 0.004
    filter_3d: float = 0.0009
    opacity_bias: float = 0.1

    def __post_init__(self) -> None:
        if not (self.scale_bias > 0 and self.filter_3d >= 0 and 0 < self.opacity_bias < 1):
            raise UserError(f"{self}: needs scale_bias > 0, filter_3d >= 0 and 0 < opacity_bias < 1.")

    def scales(self, raw: Tensor) -> Tensor:
        """Turn raw values [..., 3] into scales in object units: softplus(r + b), then sqrt(v^2 + filter_3d^2)."""
        value = F.softplus(raw.float() + math.log(math.expm1(self.scale_bias)))
        return torch.sqrt(value.square() + self.filter_3d**2)

    def raw_scales(self, scales: Tensor) -> Tensor:
        """Invert `scales`; scales below the filter count as the smallest positive value."""
        value = (scales.float().square() - self.filter_3d**2).clamp_min(_SMALLEST_SCALE**2).sqrt()
        return value + torch.log(-torch.expm1(-value)) - math.log(math.expm1(self.scale_bias))

    @staticmethod
    def quats(raw: Tensor) -> Tensor:
        """Turn raw values [..., 4] into unit quaternions wxyz: normalise(r + (1, 0, 0, 0))."""
        return F.normalize(raw.float() + raw.new_tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float32), dim=-1)

    @staticmethod
    def raw_quats(quats: Tensor) -> Tensor:
        """Invert `quats` on unit quaternions (the length of the raw value is not kept by the activation)."""
        return quats.float() - quats.new_tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float32)

    def opacities(self, raw: Tensor) -> Tensor:
        """Turn raw values [...] into opacities in (0, 1): sigmoid(r + logit(b))."""
        return torch.sigmoid(raw.float() + math.log(self.opacity_bias / (1 - self.opacity_bias)))

    def raw_opacities(self, opacities: Tensor) -> Tensor:
        """Invert `opacities`; the result is finite for 0 and 1 too."""
        return torch.logit(opacities.float(), eps=_OPACITY_MARGIN) - math.log(
            self.opacity_bias / (1 - self.opacity_bias)
        )


RELEASE_ACTIVATION = GaussianActivation()


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians, or any batch of them: every field may carry the same leading axes (frames, clips).

    means: [..., N, 3] positions, object units. colors: [..., N, 3] degree-0 SH coefficients, not activated.
    raw_scales: [..., N, 3]. raw_quats: [..., N, 4] wxyz. raw_opacities: [..., N]. `activation` turns the raw ones
    into `scales`, `quats` and `opacities`.
    """

    means: Tensor
    colors: Tensor
    raw_scales: Tensor
    raw_quats: Tensor
    raw_opacities: Tensor
    activation: GaussianActivation = RELEASE_ACTIVATION

    def __post_init__(self) -> None:
        lead = self.means.shape[:-1]
        wanted = {
            "means": (*lead, 3),
            "colors": (*lead, 3),
            "raw_scales": (*lead, 3),
            "raw_quats": (*lead, 4),
            "raw_opacities": tuple(lead),
        }
        for name, shape in wanted.items():
            if (found := tuple(getattr(self, name).shape)) != shape:
                raise UserError(f"Gaussians.{name} has shape {list(found)}, expected {list(shape)}.")

    @property
    def num_gaussians(self) -> int:
        """Return N, the last axis before the channels."""
        return self.means.shape[-2]

    @property
    def scales(self) -> Tensor:
        """Return standard deviations [..., N, 3] along the rotated axes, object units."""
        return self.activation.scales(self.raw_scales)

    @property
    def quats(self) -> Tensor:
        """Return unit quaternions [..., N, 4], wxyz."""
        return self.activation.quats(self.raw_quats)

    @property
    def opacities(self) -> Tensor:
        """Return opacities [..., N] in (0, 1)."""
        return self.activation.opacities(self.raw_opacities)

    @property
    def rgb(self) -> Tensor:
        """Return the colours [..., N, 3] as they are rendered, max(0, C0 c + 0.5)."""
        return rgb_from_sh(self.colors.float())

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Return the same Gaussians with `function` applied to every tensor field."""
        return replace(
            self,
            means=function(self.means),
            colors=function(self.colors),
            raw_scales=function(self.raw_scales),
            raw_quats=function(self.raw_quats),
            raw_opacities=function(self.raw_opacities),
        )

    def to(self, device: torch.device | str) -> Gaussians:
        """Return the same Gaussians on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> Gaussians:
        """Return the same Gaussians, detached from the autograd graph."""
        return self.map(Tensor.detach)

    def __getitem__(self, index: int | slice | Tensor) -> Gaussians:
        """Index the leading axis: a frame of a sequence, or a choice of Gaussians when there is only N."""
        return self.map(lambda tensor: tensor[index])

    def to_activated14(self) -> Tensor:
        """Return the activated values [..., N, 14]: means, colors (SH), opacity, scales, quats."""
        return torch.cat(
            [self.means.float(), self.colors.float(), self.opacities[..., None], self.scales, self.quats], dim=-1
        )

    @classmethod
    def from_activated14(cls, values: Tensor, activation: GaussianActivation = RELEASE_ACTIVATION) -> Gaussians:
        """Invert `to_activated14`, except for the lost length of raw quaternions. values: [..., N, 14]."""
        if values.ndim < 2 or values.shape[-1] != NUM_CHANNELS:
            raise UserError(f"Activated Gaussians need shape [..., N, 14], found {list(values.shape)}.")
        return cls(
            means=values[..., 0:3],
            colors=values[..., 3:6],
            raw_scales=activation.raw_scales(values[..., 7:10]),
            raw_quats=activation.raw_quats(values[..., 10:14]),
            raw_opacities=activation.raw_opacities(values[..., 6]),
            activation=activation,
        )

    @classmethod
    def from_rendered(
        cls,
        means: Tensor,
        colors: Tensor,
        scales: Tensor,
        quats: Tensor,
        opacities: Tensor,
        activation: GaussianActivation = RELEASE_ACTIVATION,
    ) -> Gaussians:
        """Make Gaussians from activated values given by name; `colors` are SH coefficients, `scales` in object units."""
        return cls.from_activated14(torch.cat([means, colors, opacities[..., None], scales, quats], -1), activation)

    def vary(self, variation: Tensor) -> Gaussians:
        """Return the varied Gaussians G_t = G_1 + dG_t (Eq. 7 as released), with the leading axes of `variation`.

        variation: [..., N, 14] in the variation order; usually [T, N, 14] on canonical Gaussians without leading axes.
        """
        if variation.shape[-2:] != (self.num_gaussians, NUM_CHANNELS):
            raise UserError(
                f"A variation of {self.num_gaussians} Gaussians needs shape [..., {self.num_gaussians}, 14], "
                f"found {list(variation.shape)}."
            )
        change = {name: variation[..., channels] for name, channels in VARIATION_SLICES.items()}
        return replace(
            self,
            means=self.means + change["means"],
            raw_scales=self.raw_scales + change["scales"],
            raw_quats=self.raw_quats + change["quats"],
            colors=self.colors + change["colors"],
            raw_opacities=self.raw_opacities + change["opacities"].squeeze(-1),
        )
