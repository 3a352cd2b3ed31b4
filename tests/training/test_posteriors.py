"""E_GS's posteriors are computed once per clip and do not depend on the batch."""

from __future__ import annotations

import pytest
import torch

from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.training.tasks.posteriors import Posteriors
from tests.training import tiny_tasks


@pytest.fixture
def model() -> StaticVAE:
    torch.manual_seed(0)
    return StaticVAE(tiny_tasks.joint_vae().static_config).eval()


def clip(count: int, model: StaticVAE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    coords = torch.randperm(model.config.resolution**3, generator=generator)[:count]
    size = model.config.resolution
    voxels = torch.stack((coords // size**2, coords // size % size, coords % size), 1).int()
    return torch.randn(count, model.config.feature_channels, generator=generator), voxels


def read(posteriors: Posteriors, model: StaticVAE, *counts: int) -> list[torch.Tensor]:
    features, voxels = zip(*(clip(count, model) for count in counts))
    names = [f"clip {count}" for count in counts]
    found = posteriors(model, names, torch.cat(features), VoxelBatch.pack(voxels))
    assert not found.mean.requires_grad
    return list(torch.stack(found).split(counts, dim=1))


def test_a_clip_has_the_same_posterior_in_every_batch_and_close_to_the_batch_s(model: StaticVAE) -> None:
    kept = Posteriors()
    first, second = read(kept, model, 20, 31)
    again, third = read(kept, model, 31, 7)
    assert torch.equal(again, second)
    assert torch.equal(read(Posteriors(), model, 7)[0], third)
    features, voxels = zip(*(clip(count, model) for count in (20, 31)))
    together = torch.stack(model.encode(torch.cat(features), VoxelBatch.pack(voxels)))
    torch.testing.assert_close(torch.cat((first, second), 1), together.detach(), atol=1e-5, rtol=1e-5)


def test_a_clip_is_encoded_once_while_there_is_room(model: StaticVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[int, ...]] = []
    encode = model.encode
    monkeypatch.setattr(
        model, "encode", lambda features, voxels: encoded.append(voxels.counts) or encode(features, voxels)
    )
    kept = Posteriors()
    for _ in range(3):
        read(kept, model, 5, 6)
    assert encoded == [(5,), (6,)]
    without_room = Posteriors(size=1)
    for _ in range(2):
        read(without_room, model, 5)
    assert encoded[2:] == [(5,), (5,)]


def test_another_model_has_its_own_posteriors(model: StaticVAE) -> None:
    kept = Posteriors()
    (before,) = read(kept, model, 9)
    (after,) = read(kept, StaticVAE(model.config).eval(), 9)
    assert not torch.equal(before, after)
