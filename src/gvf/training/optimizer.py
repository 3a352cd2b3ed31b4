"""AdamW over parameter groups, and its learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from gvf.config.training import TrainingConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate: `lr_scale` times the configured one (D_GS in the joint phase: 0.1)."""

    parameters: Sequence[nn.Parameter]
    lr_scale: float


def parameter_group(modules: Iterable[nn.Module], lr_scale: float = 1.0) -> ParameterGroup:
    """Return the trainable parameters of some modules as one group."""
    return ParameterGroup([p for module in modules for p in module.parameters() if p.requires_grad], lr_scale)


def adamw(groups: Sequence[ParameterGroup], config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW with one optimiser group per parameter group; its learning rates are those of step 1."""
    options = [{"params": list(group.parameters), "lr_scale": group.lr_scale} for group in groups]
    optimizer = torch.optim.AdamW(
        options, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    set_learning_rate(optimizer, 1, config)
    return optimizer


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of optimiser step `step` (from 1) for groups with `lr_scale` 1.

    Linear warm-up to the full rate at step `warmup_steps`, then constant, or half a cosine down to 0 after `steps`.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup_steps) / (config.steps + 1 - config.warmup_steps)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, config: TrainingConfig) -> float:
    """Set every group's learning rate for a step; return the one for groups with `lr_scale` 1."""
    rate = learning_rate(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
    return rate
