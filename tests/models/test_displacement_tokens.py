"""The compiled tokens of moving points against their formula in double precision, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.models.variation.displacement_tokens import displacement_tokens, tokens_by_torch

EPS = (1e-5, 1e-6)


def inputs(points: int, width: int) -> tuple[Tensor, Tensor, nn.Linear]:
    torch.manual_seed(0)
    displacements = 0.2 * torch.randn(2, 3, points, 3)
    displacements[:, 0] = 0.0  # of the first frame
    return displacements, F.layer_norm(torch.randn(2, points, width), (width,)), nn.Linear(3, width)


@pytest.mark.parametrize(("points", "width"), [(1, 16), (130, 48), (256, 128)])
def test_values_and_gradients(points: int, width: int) -> None:
    displacements, positions, linear = inputs(points, width)
    exact = nn.Linear(3, width).double()
    exact.load_state_dict(linear.state_dict())
    found = displacement_tokens(displacements, positions, linear, EPS)
    assert found.grad_fn is not None
    assert found.grad_fn.name() == "_TokensBackward"
    inner = F.layer_norm(exact(displacements.double()), (width,), eps=EPS[0])
    expected = F.layer_norm(inner + positions.double().unsqueeze(1), (width,), eps=EPS[1])
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    weight = torch.randn_like(found)
    found.backward(weight)
    expected.backward(weight.double())
    for ours, other in zip(linear.parameters(), exact.parameters()):
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(ours.grad, other.grad.float(), rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("changed", ["width", "gradient"])
def test_other_inputs_go_to_torch(changed: str) -> None:
    displacements, positions, linear = inputs(20, 24 if changed == "width" else 32)
    positions.requires_grad_(changed == "gradient")
    found = displacement_tokens(displacements, positions, linear, EPS)
    assert torch.equal(found, tokens_by_torch(displacements, positions, linear, EPS))
    found.square().sum().backward()
    assert (positions.grad is not None) == (changed == "gradient")
