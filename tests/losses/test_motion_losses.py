"""KL divergence and mesh-guided loss against closed forms."""

from itertools import combinations

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from gvf.losses.kl import kl_divergence
from gvf.losses.mesh_guided import mesh_guided_loss


def test_kl_equals_the_closed_form_of_torch() -> None:
    mean, logvar = torch.randn(3, 5, 7), torch.randn(3, 5, 7)
    expected = reference_kl(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)
    assert kl_divergence(torch.zeros(4), torch.zeros(4)) == 0


def test_squared_length_is_summed_over_frames_and_averaged_over_gaussians() -> None:
    target = torch.zeros(2, 3, 5, 3)
    predicted = target.clone()
    predicted[0, 1, 2] = torch.tensor([1.0, 2.0, 2.0])  # squared length 9, one Gaussian of 10, one frame
    torch.testing.assert_close(mesh_guided_loss(predicted, target, num_frames=3), torch.tensor(9.0 / 10))
    # Three frames drawn of twelve stand for four times as many.
    torch.testing.assert_close(mesh_guided_loss(predicted, target, num_frames=12), torch.tensor(4 * 9.0 / 10))
    for num_frames in (3, 12):
        mean = mesh_guided_loss(predicted, target, num_frames=num_frames, norm="l1")
        torch.testing.assert_close(mean, torch.tensor(5.0 / (2 * 3 * 5 * 3)))


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("drawn", [1, 2, 4, 5])
def test_the_expectation_over_draws_is_the_loss_of_all_frames(drawn: int, norm: str) -> None:
    """Every subset of 5 frames, the canonical one among them, is as likely as any other: value and gradient."""
    generator = torch.Generator().manual_seed(drawn)
    target = torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.float64)
    target[:, 0] = 0.0
    predicted = torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    subsets = [list(frames) for frames in combinations(range(5), drawn)]
    losses = [mesh_guided_loss(predicted[:, f], target[:, f], num_frames=5, norm=norm) for f in subsets]
    difference = predicted - target
    everything = (
        difference.square().sum((1, 3)).mean() if norm == "l2" else difference.abs().mean()
    )  # Eq. 9 as it reads, and the release's mean
    estimate = torch.stack(losses).mean()
    torch.testing.assert_close(estimate, everything)
    gradients = [torch.autograd.grad(value, predicted, retain_graph=True)[0] for value in (estimate, everything)]
    torch.testing.assert_close(*gradients)


def test_padding_does_not_count() -> None:
    predicted, target = torch.randn(2, 3, 5, 3), torch.randn(2, 3, 5, 3)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = torch.cat([(predicted[0] - target[0]).mT, (predicted[1, :, :2] - target[1, :, :2]).mT], dim=-1)
    torch.testing.assert_close(
        mesh_guided_loss(predicted, target, num_frames=3, valid=valid), expected.square().sum((0, 1)).mean()
    )
    predicted[1, :, 2:] = 1e6
    torch.testing.assert_close(
        mesh_guided_loss(predicted, target, num_frames=3, valid=valid), expected.square().sum((0, 1)).mean()
    )
