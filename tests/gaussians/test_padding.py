"""Padding makes batches of clips with different numbers of Gaussians and is never visible."""

from __future__ import annotations

import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.padding import pad
from gvf.geometry import camera
from gvf.rendering.splats import draw_gaussians


def random_gaussians(count: int, seed: int) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return Gaussians(0.2 * draw(count, 3), draw(count, 3), draw(count, 3), draw(count, 4), draw(count))


def test_shapes_and_valid_flags():
    batch, valid = pad([random_gaussians(3, 0), random_gaussians(5, 1)])
    assert batch.means.shape == (2, 5, 3)
    assert valid.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch.opacities[0, 3:].max() < 1e-12


def test_padding_has_the_released_canonical_vector():
    batch, _ = pad([random_gaussians(1, 0), random_gaussians(2, 1)])
    padded = batch.to_activated14()[0, 1]
    assert padded[:6].abs().max() == 0
    torch.testing.assert_close(padded[10:], torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_padding_changes_no_image():
    single = random_gaussians(4, 0)
    batch, _ = pad([single, random_gaussians(40, 1)])
    viewmats = torch.from_numpy(camera.orbit(0.0, 0.0, 2.0)).float().view(1, 4, 4)
    Ks = torch.from_numpy(camera.intrinsics(49.1)).float().view(1, 3, 3)
    alone = draw_gaussians(single, viewmats, Ks, 32)
    together = draw_gaussians(batch, viewmats.expand(2, 1, 4, 4), Ks.expand(2, 1, 3, 3), 32)
    assert torch.equal(alone, together[0])
