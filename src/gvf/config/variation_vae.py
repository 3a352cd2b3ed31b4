"""Section `variation_vae`: the 4DMesh-to-GS variation field autoencoder (Sec. 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, one_of, positive
from gvf.errors import ConfigError

ATTRIBUTES = ("means", "scales", "quats", "colors", "opacities")


@dataclass(frozen=True)
class VariationVaeConfig:
    """width, num_layers, num_heads, feed_forward_ratio: the transformer (Table 4).

    num_latents, latent_channels: L and C of the latent of a frame. drop_path: stochastic depth of the decoder's layers.
    query: what the encoder asks with (Table 2): `motion` (interpolated displacements) or `position`.
    attributes: which attributes of the Gaussians vary (Table 2). num_neighbors, beta: K and beta of Eq. 3 (Table 6).
    interpolation: Eq. 3 as `paper` or as `release`, which drops neighbours beyond the radius.
    position_scale: factor on positions before their sine embedding; 1 in the published weights.
    query_chunk: Gaussians decoded at once where no gradient is kept; memory only, the result does not depend on it.
    """

    width: int
    num_layers: int
    num_heads: int
    feed_forward_ratio: int
    num_latents: int
    latent_channels: int
    drop_path: float
    query: str
    attributes: tuple[str, ...]
    num_neighbors: int
    beta: float
    interpolation: str
    position_scale: float
    query_chunk: int

    def __post_init__(self) -> None:
        at_least("variation_vae.width", self.width, 6)
        at_least("variation_vae.num_heads", self.num_heads, 1)
        if self.width % self.num_heads:
            raise ConfigError("variation_vae.num_heads", f"is {self.num_heads}, must divide width {self.width}.")
        at_least("variation_vae.num_layers", self.num_layers, 0)
        at_least("variation_vae.feed_forward_ratio", self.feed_forward_ratio, 1)
        at_least("variation_vae.num_latents", self.num_latents, 1)
        at_least("variation_vae.latent_channels", self.latent_channels, 1)
        between("variation_vae.drop_path", self.drop_path, 0.0, 0.99)
        one_of("variation_vae.query", self.query, ("motion", "position"))
        for name in self.attributes:
            one_of("variation_vae.attributes", name, ATTRIBUTES)
        if "means" not in self.attributes:
            raise ConfigError("variation_vae.attributes", "must contain means: without it nothing moves.")
        at_least("variation_vae.num_neighbors", self.num_neighbors, 1)
        positive("variation_vae.beta", self.beta)
        one_of("variation_vae.interpolation", self.interpolation, ("paper", "release"))
        positive("variation_vae.position_scale", self.position_scale)
        at_least("variation_vae.query_chunk", self.query_chunk, 1)
