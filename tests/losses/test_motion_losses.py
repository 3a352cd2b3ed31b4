"""KL divergence, mesh-guided, variation and velocity losses against closed forms."""

from itertools import combinations

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from gvf.config.train_vae_joint import VariationLossConfig
from gvf.diffusion.velocity import add_noise
from gvf.losses.kl import kl_divergence
from gvf.losses.mesh_guided import mesh_guided_loss, motion_scale
from gvf.losses.variation import motion_loss
from gvf.losses.velocity import velocity_loss
from gvf.models.layers.posterior import Posterior


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


def test_the_velocity_loss_is_zero_at_the_derivative_and_a_mean_elsewhere() -> None:
    """With alpha = cos(phi) and sigma = sin(phi), the velocity is d z / d phi (Eq. 10)."""
    data, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    phi = torch.tensor([0.3, 1.2]).view(2, 1, 1, 1)
    velocity = (
        add_noise(data, noise, (phi + 1e-3).cos(), (phi + 1e-3).sin())
        - add_noise(data, noise, (phi - 1e-3).cos(), (phi - 1e-3).sin())
    ) / 2e-3
    assert velocity_loss(velocity, data, noise, phi.cos(), phi.sin()) < 1e-6
    loss = velocity_loss(velocity + torch.tensor([3.0, 0, 0, 0, 0]), data, noise, phi.cos(), phi.sin())
    torch.testing.assert_close(loss, torch.tensor(9.0 / 5), atol=1e-3, rtol=0)


def test_relative_displacements_are_measured_in_units_of_their_clip_s_motion() -> None:
    motion = torch.tensor([0.03, 0.4])
    torch.testing.assert_close(motion_scale(motion, 0.04), torch.tensor([0.05, (0.16 + 0.0016) ** 0.5]))
    assert motion_scale(motion, None).tolist() == [1.0, 1.0]
    predicted, target = torch.randn(2, 2, 3, 5, 3)
    for norm in ("l2", "l1"):
        scale = torch.tensor([0.5, 2.0])
        clips = [mesh_guided_loss(p, t, num_frames=3, norm=norm) for p, t in zip(predicted, target)]
        power = 2 if norm == "l2" else 1
        expected = (clips[0] / 0.5**power + clips[1] / 2.0**power) / 2
        torch.testing.assert_close(mesh_guided_loss(predicted, target, num_frames=3, norm=norm, scale=scale), expected)


@pytest.mark.parametrize(("floor", "mesh_guided"), [(None, 0.3), (0.04, 0.3 / 0.0025)])
def test_the_motion_loss_weighs_its_terms(floor: float | None, mesh_guided: float) -> None:
    weights = VariationLossConfig(
        ssim=0.2, lpips=0.0, mesh_guided=7.5, mesh_guided_norm="l2", kl=0.5, motion_floor=floor
    )
    moved = torch.zeros(1, 2, 4, 3)
    posterior = Posterior(torch.full((1, 2, 3, 4), 2.0), torch.zeros(1, 2, 3, 4))
    shift = torch.tensor([0.0, 0.1, 0.2])
    loss, terms = motion_loss(moved + shift, moved, posterior, 6, torch.tensor([0.03]), weights)
    # Six frames of squared length 0.05, or that over 0.03^2 + 0.04^2. KL (4 + 1 - 1 - 0) / 2.
    expected = {"mesh_guided": mesh_guided, "kl": 2.0}
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert float(loss) == pytest.approx(7.5 * mesh_guided + 0.5 * 2.0, rel=1e-5)
