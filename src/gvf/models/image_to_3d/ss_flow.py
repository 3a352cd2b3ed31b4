"""Sparse structure flow: an image to the latent grid of an object's occupancy (TRELLIS; names as in its weights).

It predicts the velocity of a rectified flow, noise minus data. Legend of shapes: B objects, R cells per edge, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gvf.config.ss_flow import SsFlowConfig
from gvf.models.image_to_3d.flow_transformer import LAST_NORM_EPS, FlowTransformer, ImageCondition, ImageConditions
from gvf.models.layers.embedding import AbsolutePositionEmbedding
from gvf.models.layers.norm import layer_norm
from gvf.models.network_folder import StoredNetwork


class SsFlow(StoredNetwork, FlowTransformer):
    """Transformer over all cells of a dense grid, one token each."""

    KIND = "ss-flow"
    CONFIG = SsFlowConfig

    pos_emb: Tensor

    def __init__(self, config: SsFlowConfig) -> None:
        super().__init__(config, config.width)
        self.config = config
        self.input_layer = nn.Linear(config.latent_channels, config.width)
        self.out_layer = nn.Linear(config.width, config.latent_channels)
        axis = torch.arange(config.resolution)
        cells = torch.cartesian_prod(axis, axis, axis)  # z fastest, as the tokens
        self.register_buffer("pos_emb", AbsolutePositionEmbedding(config.width)(cells))
        self.reset_parameters(self.out_layer)

    def denoise(self, noised: Tensor, timesteps: Tensor, conditions: ImageConditions) -> Tensor:
        """Return the velocity for prepared conditions, in one network call.

        noised: [B, C, R, R, R], axes x, y, z; timesteps: [B], 0..1000. Returns the velocity in the same shape, float32.
        """
        rows = self.input_layer(noised.flatten(2).transpose(1, 2)) + self.pos_emb
        if conditions.rows is not None:
            rows = rows + conditions.rows.view_as(rows)
        h = self.enter_blocks(rows)
        h = self.transform(h, self.embed_time(timesteps), conditions)
        velocity = self.out_layer(layer_norm(h.float(), LAST_NORM_EPS))
        return velocity.float().transpose(1, 2).unflatten(2, noised.shape[2:])

    def forward(self, noised: Tensor, timesteps: Tensor, image: ImageCondition) -> Tensor:
        """Return the velocity of one training step; arguments as in `denoise` and `prepare_conditions`."""
        return self.denoise(noised, timesteps, self.prepare_conditions(image))
