"""Parameter groups and learning rates, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gvf.training.optimizer import ParameterGroup, adamw, learning_rate, parameter_group, set_learning_rate
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
    optimizer = adamw([ParameterGroup([fast], 1.0), ParameterGroup([slow], 0.1)], config)
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
    optimizer = adamw([ParameterGroup([parameter], 1.0)], config)
    parameter.grad = gradient.clone()
    optimizer.step()
    expected = weight * (1 - 0.1 * 0.2) - 0.1 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(parameter.detach(), expected, atol=1e-6)
