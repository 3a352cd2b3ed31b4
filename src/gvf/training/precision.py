"""The number format in which a pass through a model is computed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products run in bfloat16, or one that changes nothing.

    precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the device multiplies it natively, and so faster.
    """
    if precision == "bfloat16" or (precision == "auto" and multiplies_bfloat16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has bfloat16 matrix instructions (CUDA: Ampere and later; x86: AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
