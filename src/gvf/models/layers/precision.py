"""Half-precision blocks inside float32 networks, as the published TRELLIS weights are stored and run.

Inside the blocks the matrices of linear layers and convolutions are float16 (or bfloat16); input, output and timestep
layers are float32, and so are all norms, gains included, wherever they stand.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from gvf.models.layers.sparse_convolution import ConvolutionKernel

_HALF = (torch.float16, torch.bfloat16)


class BlockNetwork(nn.Module):
    """A network whose children named in BLOCKS may be half precision."""

    BLOCKS: ClassVar[tuple[str, ...]] = ("blocks",)

    def block_layers(self) -> list[nn.Module]:
        """Return the linear layers and convolutions of the blocks."""
        parts = [module for name in self.BLOCKS for module in self.get_submodule(name).modules()]
        return [module for module in parts if isinstance(module, (nn.Linear, nn.Conv3d, ConvolutionKernel))]

    def enter_blocks(self, x: Tensor) -> Tensor:
        """Return x in the precision of half-precision blocks; unchanged where they are float32, which autocast may lower."""
        dtype = block_dtype(self)
        return x.to(dtype) if dtype in _HALF else x


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, in which operations keep the precision of their inputs."""
    if not torch.amp.is_autocast_available(device.type):  # the meta device
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


Network = TypeVar("Network", bound=BlockNetwork)


def block_dtype(network: BlockNetwork) -> torch.dtype:
    """Return the precision of the matrices in the blocks."""
    weight = network.block_layers()[0].weight
    assert isinstance(weight, Tensor)
    return weight.dtype


def set_block_dtype(network: Network, dtype: torch.dtype) -> Network:
    """Convert the layers in the blocks: float16 as published, float32 for processors without it.

    The network stays the same object, but its parameters are replaced, so create the optimizer afterwards.
    """
    for layer in network.block_layers():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            converted = nn.Parameter(parameter.detach().to(dtype), requires_grad=parameter.requires_grad)
            layer.register_parameter(name, converted)
    return network
