"""KL divergence and mesh-guided loss against closed forms."""

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
    torch.testing.assert_close(mesh_guided_loss(predicted, target), torch.tensor(9.0 / 10))
    torch.testing.assert_close(mesh_guided_loss(predicted, target, norm="l1"), torch.tensor(5.0 / (2 * 3 * 5 * 3)))


def test_padding_does_not_count() -> None:
    predicted, target = torch.randn(2, 3, 5, 3), torch.randn(2, 3, 5, 3)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = torch.cat([(predicted[0] - target[0]).mT, (predicted[1, :, :2] - target[1, :, :2]).mT], dim=-1)
    torch.testing.assert_close(mesh_guided_loss(predicted, target, valid=valid), expected.square().sum((0, 1)).mean())
    predicted[1, :, 2:] = 1e6
    torch.testing.assert_close(mesh_guided_loss(predicted, target, valid=valid), expected.square().sum((0, 1)).mean())
