"""Parameter groups and learning rates, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gvf.training.optimizer import (
    ParameterGroup,
    configured_optimizer,
    learning_rate,
    parameter_group,
    set_learning_rate,
)
from tests.training.toy_training import CONFIG


def test_warm_up_then_constant() -> None:
    config = replace(CONFIG, schedule="constant", warmup_steps=4, learning_rate=0.1)
    assert [learning_rate(step, config) for step in range(1, 7)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_cosine_falls_to_zero_after_the_last_step() -> None:
    config = replace(CONFIG, warmup_steps=2, steps=9, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(1, 11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[5] == pytest.approx(0.5)  # half way between step 2 and step 10
    assert rates[8] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert rates[9] == pytest.approx(0.0, abs=1e-12)


def test_no_warm_up_starts_at_the_full_rate() -> None:
    assert learning_rate(1, replace(CONFIG, warmup_steps=0, schedule="constant")) == CONFIG.learning_rate


def test_groups_keep_their_ratio() -> None:
    slow, fast = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    config = replace(CONFIG, warmup_steps=4, learning_rate=0.1)
    optimizer = configured_optimizer([ParameterGroup([fast], 1.0), ParameterGroup([slow], 0.1)], config)
    for step in (1, 4):
        rate = set_learning_rate(optimizer, step, config)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, 0.1 * rate])


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert parameter_group([module], 0.5).parameters == [module.weight]


def test_one_step_is_adamw() -> None:
    """Loshchilov and Hutter, algorithm 2: at step 1 the bias-corrected moments are g and g^2."""
    weight, gradient = torch.tensor([1.0, -2.0]), torch.tensor([0.3, -0.004])
    parameter = nn.Parameter(weight.clone())
    config = replace(CONFIG, warmup_steps=0, schedule="constant", learning_rate=0.1, weight_decay=0.2)
    optimizer = configured_optimizer([ParameterGroup([parameter], 1.0)], config)
    parameter.grad = gradient.clone()
    optimizer.step()
    expected = weight * (1 - 0.1 * 0.2) - 0.1 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(parameter.detach(), expected, atol=1e-6)


def blocks() -> nn.Module:
    """A network with a projection in and out around two blocks."""
    torch.manual_seed(0)
    body = nn.ModuleList(nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 6, bias=False)) for _ in range(2))
    return nn.ModuleDict({"first": nn.Linear(3, 6), "body": body, "last": nn.Linear(6, 2)})


def test_the_matrices_of_a_group_are_the_trained_weights_inside_blocks() -> None:
    network = blocks()
    network["body"][1][0].weight.requires_grad_(False)  # type: ignore[index]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    group = parameter_group([network])
    assert len(group.parameters) == 9
    assert [names[id(matrix)] for matrix in group.matrices] == ["body.0.0.weight", "body.0.1.weight", "body.1.1.weight"]


def test_muon_moves_a_matrix_by_its_orthogonal_factor_and_adamw_the_rest() -> None:
    """At step 1 the momentum is a multiple of the gradient U S V^T; Newton-Schulz leaves singular values near 1."""
    network = blocks()
    config = replace(CONFIG, optimizer="muon", warmup_steps=0, schedule="constant", learning_rate=0.1, weight_decay=0.2)
    optimizer = configured_optimizer([parameter_group([network], 0.5)], config)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    rate, after = 0.05, dict(network.named_parameters())
    for name in ("body.0.0.weight", "body.1.1.weight"):
        gradient = after[name].grad
        assert gradient is not None
        change = (before[name] * (1 - rate * 0.2) - after[name].detach()) / (rate * 0.2 * max(gradient.shape) ** 0.5)
        left, _, right = torch.linalg.svd(gradient, full_matrices=False)
        along = left.T @ change @ right.T  # diagonal, with the new singular values
        singular = along.diagonal()
        assert bool(((singular > 0.5) & (singular < 1.5)).all())
        assert float((along - singular.diag()).abs().max()) < 0.1  # bfloat16
    for name in ("first.weight", "last.bias"):
        expected = before[name] * (1 - rate * 0.2) - rate * after[name].grad.sign()  # type: ignore[union-attr]
        torch.testing.assert_close(after[name].detach(), expected, atol=1e-5, rtol=0)
    assert {len(optimizer.state[parameter]) for parameter in network.parameters()} == {1, 3}


def test_muon_without_matrices_is_adamw() -> None:
    values = []
    for kind in ("adamw", "muon"):
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = configured_optimizer([ParameterGroup([parameter], 1.0)], replace(CONFIG, optimizer=kind))
        parameter.grad = torch.tensor([0.3, -0.004])
        optimizer.step()
        values.append(parameter.detach())
    assert torch.equal(*values)
