"""The 4DMesh-to-GS variation field autoencoder (Sec. 3.1, Eq. 5-7; details and names as in the published weights).

Frames are independent of one another: every attention sees one frame, T only multiplies the batch. Legend of shapes:
B clips, T frames, N mesh points, L latents, C latent channels, G Gaussians.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from gvf.config.variation_vae import ATTRIBUTES, VariationVaeConfig
from gvf.gaussians.gaussians import NUM_CHANNELS, VARIATION_SLICES
from gvf.models.layers.attention import CrossAttention, KeysValues
from gvf.models.layers.embedding import PointEmbedding
from gvf.models.layers.feed_forward import GatedFeedForward
from gvf.models.layers.posterior import INITIAL_LOGVAR, Posterior
from gvf.models.layers.residual import add_and_norm, norm
from gvf.models.network_folder import StoredNetwork
from gvf.models.variation.displacement_tokens import displacement_tokens

PRE_NORM_EPS = 1e-6
EMBEDDING_STD = 0.2
LOGVAR_STD = 0.02
COMMON_DISPLACEMENT = 0.1  # object units
LOGVAR_RANGE = (-30.0, 20.0)
QUERY_CHUNK = 8192  # Gaussians decoded at once without gradients


class Sublayer(nn.Module):
    """Holder of the sublayer `fn`; `drop_path` is the probability that a frame skips its update in training."""

    def __init__(self, fn: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.fn = fn
        self.drop_path = drop_path

    def drop(self, update: Tensor) -> Tensor:
        """Return the update, or zeros in the frames where it is dropped. update: [B, N, C]."""
        if self.training and self.drop_path > 0.0:
            keep = 1.0 - self.drop_path
            return update * (update.new_empty(len(update), 1, 1).bernoulli_(keep) / keep)
        return update


class Layer(nn.ModuleList):
    """Attention and feed-forward, each with a norm before it and a residual connection around it."""

    def __init__(self, width: int, num_heads: int, ratio: int, drop_path: float) -> None:
        super().__init__()
        self.append(Sublayer(CrossAttention(width, num_heads, bias=False), drop_path))
        self.append(Sublayer(GatedFeedForward(width, ratio), drop_path))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the layer's output [B, N, C]. x: [B, N, C]; context: [B, M, C], normalised; by default the norm of x."""
        attention, feed_forward = cast("tuple[Sublayer, Sublayer]", tuple(self))
        queries = norm(x, PRE_NORM_EPS)
        source = queries if context is None else context
        cross = cast(CrossAttention, attention.fn)
        update = attention.drop(cross.attend_once(queries, source))
        x, normal = add_and_norm(x, update, PRE_NORM_EPS)
        return x + feed_forward.drop(feed_forward.fn(normal))


class VariationVAE(StoredNetwork, nn.Module):
    """Encoder of displacements into L latents per frame, and decoder of latents into the variation of any Gaussian."""

    KIND = "variation-vae"
    CONFIG = VariationVaeConfig
    FREE_SIZES = frozenset({"num_latents", "drop_path"})

    def __init__(self, config: VariationVaeConfig) -> None:
        super().__init__()
        self.config = config
        width, heads, ratio = config.width, config.num_heads, config.feed_forward_ratio
        self.cross_attend_blocks = Layer(width, heads, ratio, drop_path=0.0)
        self.input_embedding = nn.Sequential(nn.Linear(3, width), nn.LayerNorm(width, elementwise_affine=False))
        self.gs_embedding = nn.Sequential(nn.Linear(NUM_CHANNELS, width), nn.LayerNorm(width, elementwise_affine=False))
        self.position_encoding = nn.Sequential(
            PointEmbedding(width, config.position_scale), nn.LayerNorm(width, elementwise_affine=False)
        )
        self.layers = nn.ModuleList(Layer(width, heads, ratio, config.drop_path) for _ in range(config.num_layers))
        self.decoder_cross_attn = Sublayer(CrossAttention(width, heads, bias=False), drop_path=0.0)
        self.to_outputs = nn.Linear(width, NUM_CHANNELS)
        self.proj = nn.Linear(config.latent_channels, width)
        self.mean_fc = nn.Linear(width, config.latent_channels)
        self.logvar_fc = nn.Linear(width, config.latent_channels)
        self.still_channels = [VARIATION_SLICES[name] for name in ATTRIBUTES if name not in config.attributes]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise: normal weights of variance 1/inputs, biases 0; a zero output layer, so that nothing moves at first.

        The release's 0.02 everywhere is 0.55 of this at its own width, and nearly silences attention in a narrow
        network (width 128, error of unseen motions over the motion itself after 300 steps: 0.90, against 0.72 so).

        Two biases are not 0. That of the displacements' embedding has the size of common displacements (a tenth of the
        object) times the weights: the norm behind it would otherwise erase how far a point moves and keep only where
        to. That of the log variance: see INITIAL_LOGVAR.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.to_outputs.weight)
        embedding = cast(nn.Linear, self.input_embedding[0])
        nn.init.normal_(embedding.weight, std=EMBEDDING_STD)
        nn.init.normal_(embedding.bias, std=EMBEDDING_STD * COMMON_DISPLACEMENT)
        nn.init.normal_(self.logvar_fc.weight, std=LOGVAR_STD)
        nn.init.constant_(self.logvar_fc.bias, INITIAL_LOGVAR)

    def encode(
        self, query_positions: Tensor, query_displacements: Tensor, points: Tensor, displacements: Tensor
    ) -> Posterior:
        """Return the distribution of the latents of every frame (Eq. 5).

        query_positions: [B, L, 3], canonical positions of L Gaussians; query_displacements: [B, T, L, 3], displacements
        interpolated there (Eq. 4), unused where the query is `position`; points: [B, N, 3], canonical mesh
        points; displacements: [B, T, N, 3] of the points (Eq. 1). Returns mean and logvar [B, T, L, C], float32.
        """
        frames = displacements.shape[:2]
        queries = self._per_frame(self.position_encoding(query_positions), frames[1])
        if self.config.query == "motion":
            queries = queries + self.input_embedding(query_displacements.flatten(0, 1))
        linear, inner = cast("tuple[nn.Linear, nn.LayerNorm]", tuple(self.input_embedding))
        eps = inner.eps, PRE_NORM_EPS
        context = displacement_tokens(displacements, self.position_encoding(points), linear, eps)
        x = self.cross_attend_blocks(queries, context.flatten(0, 1))
        mean, logvar = (head(x).float().unflatten(0, frames) for head in (self.mean_fc, self.logvar_fc))
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode_context(self, latents: Tensor) -> KeysValues:
        """Run the self-attention layers; return the keys and values for any queries, once per frame.

        latents: [B, T, L, C]. Returns keys and values of B*T frames.
        """
        x = self.proj(latents.flatten(0, 1))
        for layer in self.layers:
            x = layer(x)
        return self._decoder_attention().project_context(norm(x, PRE_NORM_EPS))

    def decode_queries(self, context: KeysValues, gaussians: Tensor) -> Tensor:
        """Return the variations of Gaussians from the context of their clip's frames (Eq. 6).

        context: of B*T frames, clip by clip; gaussians: [B, G, 14], activated values. Returns [B, T, G, 14], float32.
        """
        tokens = self.gs_embedding(gaussians) + self.position_encoding(gaussians[..., :3])
        attention = self._decoder_attention()
        # Nothing stands between the attention's output projection and `to_outputs`: one 14-channel matrix does both.
        head, out = self.to_outputs, attention.to_out
        weight, bias = head.weight @ out.weight, head.weight @ out.bias + head.bias
        variation = attention.attend_and_project(norm(tokens, PRE_NORM_EPS), context, weight, bias).float()
        for channels in self.still_channels:
            variation[..., channels] = 0.0
        return variation.unflatten(0, (len(tokens), -1))

    def decode(self, latents: Tensor, gaussians: Tensor, chunk: int = QUERY_CHUNK) -> Tensor:
        """Return the variation field of every frame (Eq. 6).

        latents: [B, T, L, C]; gaussians: [B, G, 14], activated values of the canonical Gaussians. Returns [B, T, G, 14]
        in the channel order of variations (means, scales, quats, colors, opacity). chunk: Gaussians decoded at once when
        no gradient is needed; it bounds memory and changes no value.
        """
        context = self.decode_context(latents)
        if torch.is_grad_enabled():
            return self.decode_queries(context, gaussians)
        chunks = gaussians.split(chunk, dim=1)
        return torch.cat([self.decode_queries(context, chunk) for chunk in chunks], dim=2)

    def _decoder_attention(self) -> CrossAttention:
        return cast(CrossAttention, self.decoder_cross_attn.fn)

    @staticmethod
    def _per_frame(x: Tensor, num_frames: int) -> Tensor:
        """Repeat [B, ...] for every frame of a clip: [B*T, ...]."""
        return x.unsqueeze(1).expand(-1, num_frames, *x.shape[1:]).flatten(0, 1)
