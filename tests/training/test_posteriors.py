"""E_GS's posteriors are computed once per clip and do not depend on the batch."""

from __future__ import annotations

import pytest
import torch

from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.training.tasks.posteriors import Posteriors
from tests.training import tiny_tasks


@pytest.fixture
def encoder() -> SlatEncoder:
    torch.manual_seed(0)
    return SlatEncoder(tiny_tasks.joint_vae().static_config).eval()


def clip(count: int, encoder: SlatEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    coords = torch.randperm(encoder.config.resolution**3, generator=generator)[:count]
    size = encoder.config.resolution
    voxels = torch.stack((coords // size**2, coords // size % size, coords % size), 1).int()
    return torch.randn(count, encoder.config.feature_channels, generator=generator), voxels


def read(posteriors: Posteriors, encoder: SlatEncoder, *counts: int) -> list[torch.Tensor]:
    features, voxels = zip(*(clip(count, encoder) for count in counts))
    names = [f"clip {count}" for count in counts]
    found = posteriors(encoder, names, torch.cat(features), VoxelBatch.pack(voxels))
    assert not found.mean.requires_grad
    return list(torch.stack(found).split(counts, dim=1))


def test_a_clip_has_the_same_posterior_in_every_batch_and_close_to_the_batch_s(encoder: SlatEncoder) -> None:
    kept = Posteriors()
    first, second = read(kept, encoder, 20, 31)
    again, third = read(kept, encoder, 31, 7)
    assert torch.equal(again, second)
    assert torch.equal(read(Posteriors(), encoder, 7)[0], third)
    features, voxels = zip(*(clip(count, encoder) for count in (20, 31)))
    together = torch.stack(encoder(torch.cat(features), VoxelBatch.pack(voxels)))
    torch.testing.assert_close(torch.cat((first, second), 1), together.detach(), atol=1e-5, rtol=1e-5)


def test_a_clip_is_encoded_once_while_there_is_room(encoder: SlatEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[int, ...]] = []
    transform = encoder.transform
    monkeypatch.setattr(
        encoder, "transform", lambda features, voxels: encoded.append(voxels.counts) or transform(features, voxels)
    )
    kept = Posteriors()
    for _ in range(3):
        read(kept, encoder, 5, 6)
    assert encoded == [(5,), (6,)]
    without_room = Posteriors(size=1)
    for _ in range(2):
        read(without_room, encoder, 5)
    assert encoded[2:] == [(5,), (5,)]


def test_another_model_has_its_own_posteriors(encoder: SlatEncoder) -> None:
    kept = Posteriors()
    (before,) = read(kept, encoder, 9)
    (after,) = read(kept, SlatEncoder(encoder.config).eval(), 9)
    assert not torch.equal(before, after)
