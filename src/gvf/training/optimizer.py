"""The optimiser over parameter groups, and its learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gvf.config.training import TrainingConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate: `lr_scale` times the configured one (D_GS in the joint phase: 0.1).

    matrices: those of them that are weights between hidden features, which Muon can train.
    """

    parameters: Sequence[nn.Parameter]
    lr_scale: float
    matrices: Sequence[nn.Parameter] = ()


def parameter_group(modules: Iterable[nn.Module], lr_scale: float = 1.0) -> ParameterGroup:
    """Return the trainable parameters of some modules as one group; its matrices are the weights inside their blocks.

    The blocks of a network are the members of its module lists. What stands before and after them, embeddings, projections
    to and from other spaces and modulation by the timestep, has inputs or outputs of its own kind.
    """
    networks = list(modules)
    lists = [part for module in networks for part in module.modules() if isinstance(part, nn.ModuleList)]
    hidden = {id(part.weight) for blocks in lists for part in blocks.modules() if isinstance(part, nn.Linear)}
    trained = [p for module in networks for p in module.parameters() if p.requires_grad]
    return ParameterGroup(trained, lr_scale, [p for p in trained if id(p) in hidden])


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices of every group and AdamW for its other parameters, as one optimiser.

    Muon applies the momentum of a matrix with all its singular values moved to about 1, so that directions of small
    gradient are learned as fast as those of large ones (K. Jordan et al., 2024). Its updates are scaled to the size of
    AdamW's, and the learning rates are the same.
    """

    def __init__(self, groups: Sequence[ParameterGroup], config: TrainingConfig) -> None:
        matrices = [_options(group.matrices, group) for group in groups if group.matrices]
        others = [_options(rest, group) for group in groups if (rest := _others(group))]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(
                torch.optim.Muon(matrices, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            self._parts.append(_adamw(others, config))
        super().__init__([group for part in self._parts for group in part.param_groups], {})  # the same objects
        for part in self._parts:
            part.state = self.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step with both."""
        for part in self._parts:
            part.step()


def configured_optimizer(groups: Sequence[ParameterGroup], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser, `adamw` or `muon`, over the groups; its learning rates are those of step 1."""
    if config.optimizer == "muon":
        optimizer: torch.optim.Optimizer = MuonAndAdamW(groups, config)
    else:
        optimizer = _adamw([_options(group.parameters, group) for group in groups], config)
    set_learning_rate(optimizer, 1, config)
    return optimizer


def _adamw(options: list[dict[str, Any]], config: TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(options, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def _options(parameters: Sequence[nn.Parameter], group: ParameterGroup) -> dict[str, Any]:
    return {"params": list(parameters), "lr_scale": group.lr_scale}


def _others(group: ParameterGroup) -> list[nn.Parameter]:
    matrices = {id(parameter) for parameter in group.matrices}
    return [parameter for parameter in group.parameters if id(parameter) not in matrices]


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
