"""The autoencoders of stage 2: E_GS (frozen), D_GS (finetuned) and the variation VAE, from mesh to moving Gaussians (Fig. 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.padding import pad
from gvf.geometry.displacement import displacement_field
from gvf.geometry.farthest_points import farthest_points
from gvf.geometry.interpolation import MeshGuide, mesh_guide
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.layers.attention import KeysValues
from gvf.models.layers.posterior import Posterior
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import load_network, save_network
from gvf.models.variation.vae import VariationVAE
from gvf.storage.files import PathLike

VARIATION_FOLDER = "variation_vae"


@dataclass(frozen=True)
class Canonical:
    """Canonical Gaussians of B clips (Eq. 2): fields [B, N, ...], and `valid` [B, N], false for padding."""

    gaussians: Gaussians
    valid: Tensor

    @classmethod
    def of(cls, gaussians: Gaussians) -> Canonical:
        """Return the canonical Gaussians [N] of one clip as a batch."""
        return cls(*pad([gaussians]))

    def clip(self, index: int) -> Gaussians:
        """Return the Gaussians of one clip, without padding."""
        count = int(self.valid[index].sum())
        return self.gaussians[index].map(lambda tensor: tensor[:count])


@dataclass(frozen=True)
class Motion:
    """How the mesh moves the canonical Gaussians of B clips, without gradient.

    displacements: [B, T, N, 3] of the mesh points (Eq. 1). points: [B, N, 3], canonical. interpolated: [B, T, G, 3],
    of the Gaussians (Eq. 4). chosen: [B, L], indices of the farthest-sampled Gaussians used as encoder queries. A clip of
    fewer than L Gaussians repeats some of them: equal queries give equal latents, and the decoder attends to both.
    """

    points: Tensor
    displacements: Tensor
    interpolated: Tensor
    chosen: Tensor


class JointVAE(nn.Module):
    """Holds `static` and `variation`; Canonical and Motion are what passes between them."""

    def __init__(self, static: StaticVaeConfig, variation: VariationVaeConfig) -> None:
        super().__init__()
        self.static = StaticVAE(static)
        self.variation = VariationVAE(variation)
        self.static.encoder.requires_grad_(False)  # E_GS stays, so that image-to-3D models of its latents stay usable

    @classmethod
    def of(cls, static: StaticVAE, variation: VariationVAE) -> JointVAE:
        """Return the autoencoders made of existing networks."""
        with torch.device("meta"):
            vae = cls(static.config, variation.config)
        vae.static, vae.variation = static, variation
        vae.static.encoder.requires_grad_(False)
        return vae.eval()

    def save(self, folder: PathLike) -> None:
        """Write each of the three networks into its own folder inside `folder`."""
        self.static.save(folder)
        save_network(self.variation, Path(folder) / VARIATION_FOLDER)

    @classmethod
    def load(cls, folder: PathLike) -> JointVAE:
        """Return the autoencoders that `save` wrote, in eval mode, on the CPU. Raises UserError when they do not fit."""
        return cls.of(StaticVAE.load(folder), load_network(VariationVAE, Path(folder) / VARIATION_FOLDER))

    def canonical(self, features: Tensor, voxels: VoxelBatch, generator: torch.Generator | None = None) -> Canonical:
        """Return G_1 = D_GS(E_GS(M_1)); the latent is drawn from its posterior with a generator, else it is the mean."""
        with torch.no_grad():
            posterior = self.static.encode(features, voxels)
        return self.decode_canonical(posterior, voxels, generator)

    def decode_canonical(
        self, posterior: Posterior, voxels: VoxelBatch, generator: torch.Generator | None = None
    ) -> Canonical:
        """Return G_1 = D_GS(S_1) for a posterior of S_1 [M, C] that E_GS returned earlier; `generator` as in `canonical`."""
        latents = posterior.mean if generator is None else posterior.sample(generator)
        return Canonical(*pad(self.static.decode(latents, voxels)))

    @torch.no_grad()
    def motion(self, canonical: Canonical, points: Tensor, generator: torch.Generator | None = None) -> Motion:
        """Return the interpolated displacements of the Gaussians and the encoder's queries.

        points: [B, 1 + T, N, 3], the canonical frame first. With a generator, farthest point sampling starts at a random Gaussian.
        """
        config = self.variation.config
        means = canonical.gaussians.means.detach()
        chosen = torch.stack(
            [
                farthest_points(canonical.clip(index).means, config.num_latents, generator=generator)
                for index in range(len(means))
            ]
        )
        guide: MeshGuide = mesh_guide(
            means, points[:, 0], num_neighbors=config.num_neighbors, beta=config.beta, variant=config.interpolation
        )
        displacements = displacement_field(points)[:, 1:]
        return Motion(points[:, 0], displacements, guide.interpolate(displacements), chosen)

    def encode(self, canonical: Canonical, motion: Motion) -> Posterior:
        """Return the distribution of the latents [B, T, L, C] (Eq. 5)."""
        rows = motion.chosen.unsqueeze(-1)
        positions = canonical.gaussians.means.detach().gather(1, rows.expand(-1, -1, 3))
        frames = motion.displacements.shape[1]
        queries = motion.interpolated.gather(2, rows.unsqueeze(1).expand(-1, frames, -1, 3))
        return self.variation.encode(positions, queries, motion.points, motion.displacements)

    def decode(self, canonical: Canonical, latents: Tensor) -> Tensor:
        """Return the variation field [B, T, G, 14] of the canonical Gaussians (Eq. 6)."""
        return self.variation.decode(latents, canonical.gaussians.to_activated14())

    def decode_for_training(
        self, canonical: Canonical, latents: Tensor, chosen: Tensor, num_whole: int
    ) -> tuple[Tensor, Tensor]:
        """Return parts of what `decode` returns, at less cost: all Gaussians in rendered frames, a few in all frames.

        chosen: [B, S], Gaussians of each clip. Returns the field of the first `num_whole` frames [B, num_whole, G, 14]
        and that of the chosen Gaussians in all frames [B, T, S, 14].
        """
        gaussians = canonical.gaussians.to_activated14()
        context = self.variation.decode_context(latents)
        num_clips, num_frames = latents.shape[:2]
        first = KeysValues(
            *(part.unflatten(0, (num_clips, num_frames))[:, :num_whole].flatten(0, 1) for part in context)
        )
        some = gaussians.gather(1, chosen.unsqueeze(-1).expand(-1, -1, gaussians.shape[-1]))
        return self.variation.decode_queries(first, gaussians), self.variation.decode_queries(context, some)


def varied(gaussians: Gaussians, variation: Tensor) -> Gaussians:
    """Return G_t = G_1 + dG_t for batches (Eq. 7), [B, T, G], from gaussians [B, G] and variation [B, T, G, 14]."""
    return gaussians.map(lambda tensor: tensor.unsqueeze(1)).vary(variation)


def displace(gaussians: Gaussians, displacements: Tensor) -> Gaussians:
    """Return gaussians [G] moved by displacements [T, G, 3] and otherwise unchanged, as Gaussians [T, G]."""
    frames = len(displacements)
    repeated = gaussians.map(lambda tensor: tensor.unsqueeze(0).expand(frames, *tensor.shape))
    return replace(repeated, means=repeated.means + displacements)
