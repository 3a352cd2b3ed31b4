"""Section `static_vae`: the canonical mesh-to-Gaussians autoencoder, E_GS and D_GS (Eq. 2, A.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, positive
from gvf.errors import ConfigError


@dataclass(frozen=True)
class StaticVaeConfig:
    """resolution: voxels along an edge of the unit box. feature_channels: channels of the image features on a voxel.

    width, num_layers, num_heads, feed_forward_ratio: both transformers (Table 4). window: voxels along a window's edge.
    latent_channels: of the structured latent of a voxel. gaussians_per_voxel: decoded from each.
    offset_range: how far from its voxel's centre a Gaussian may lie, in units of half a voxel. rotation_rate: factor on
    decoded quaternions. scale_bias, opacity_bias: scale (object units) and opacity where the network says 0.
    filter_3d: Mip-Splatting's 3D filter, object units.
    """

    resolution: int
    feature_channels: int
    width: int
    num_layers: int
    num_heads: int
    feed_forward_ratio: int
    window: int
    latent_channels: int
    gaussians_per_voxel: int
    offset_range: float
    rotation_rate: float
    scale_bias: float
    opacity_bias: float
    filter_3d: float

    def __post_init__(self) -> None:
        for name in ("feature_channels", "num_heads", "num_layers", "feed_forward_ratio", "latent_channels"):
            at_least(f"static_vae.{name}", getattr(self, name), 1)
        at_least("static_vae.resolution", self.resolution, 2)
        at_least("static_vae.width", self.width, 6)
        if self.width % self.num_heads:
            raise ConfigError("static_vae.num_heads", f"is {self.num_heads}, must divide width {self.width}.")
        at_least("static_vae.window", self.window, 2)
        between("static_vae.gaussians_per_voxel", self.gaussians_per_voxel, 1, 64)
        if not self.offset_range > 1.0:
            raise ConfigError("static_vae.offset_range", f"is {self.offset_range}, must be greater than 1.")
        positive("static_vae.rotation_rate", self.rotation_rate)
        positive("static_vae.scale_bias", self.scale_bias)
        between("static_vae.opacity_bias", self.opacity_bias, 0.001, 0.999)
        at_least("static_vae.filter_3d", self.filter_3d, 0.0)
