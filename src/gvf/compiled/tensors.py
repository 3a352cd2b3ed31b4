"""Tensors as the arrays that kernels take."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

COMPILED_DTYPES = (torch.float32, torch.bfloat16)


def flat(tensor: Tensor) -> np.ndarray:
    """Return the memory that a CPU tensor spans, from its first value on, as a flat array; bfloat16 as uint16.

    A kernel finds the values by the tensor's strides, and what it writes is in the tensor.
    """
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else 0
    values = tensor.detach().as_strided((span,), (1,))
    if tensor.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.numpy()
