"""Changes of conditioning images: noise whose deviation is drawn for each image."""

from __future__ import annotations

import torch

from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.training.tasks.image_batch import with_noise

IMAGES, ROWS, CHANNELS = 3, 400, 50


def test_noise_has_the_deviation_drawn_for_its_image() -> None:
    signs = torch.where(torch.arange(CHANNELS) % 2 == 0, 4.0, -4.0)  # deviation 4
    items = torch.arange(IMAGES).repeat_interleave(ROWS)
    image = ImageCondition(signs.expand(IMAGES, ROWS, -1), signs.expand(IMAGES * ROWS, -1) / 2)
    noisy = with_noise(image, 0.5, items, torch.Generator().manual_seed(3))
    drawn = torch.Generator().manual_seed(3)
    for before, after in ((image.tokens, noisy.tokens), (image.aligned, noisy.aligned)):
        assert before is not None
        assert after is not None
        shares = 0.5 * torch.rand(IMAGES, generator=drawn)
        torch.randn(before.shape, generator=drawn)
        deviations = (after - before).reshape(IMAGES, -1).std(dim=1)
        torch.testing.assert_close(deviations, shares * before.abs().mean(), rtol=0.02, atol=0.0)
        assert deviations.max() / deviations.min() > 1.5, "each image has its own"


def test_no_noise_changes_nothing_and_absent_features_stay_absent() -> None:
    image = ImageCondition(aligned=torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    noisy = with_noise(image, 0.0, torch.tensor([0, 0, 0, 1, 1, 1]), torch.Generator())
    assert noisy.tokens is None
    assert noisy.aligned is not None
    assert torch.equal(noisy.aligned, image.aligned)
