"""Chamfer distance against all pairs and SciPy's trees."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial import cKDTree

from gvf.geometry import knn
from gvf.metrics.chamfer import chamfer_distance, chamfer_over_time


def clouds(frames: int = 3, n: int = 200, m: int = 150) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(frames, n, 3, generator=generator) - 0.5, torch.rand(frames, m, 3, generator=generator) - 0.5


def test_every_frame_is_the_mean_over_all_pairs_and_trees() -> None:
    one, other = clouds()
    found = chamfer_over_time(one, other)
    distances = (one[:, :, None].double() - other[:, None].double()).norm(dim=-1)
    expected = (distances.min(2).values.mean(1) + distances.min(1).values.mean(1)) / 2
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    there = cKDTree(other[1].numpy()).query(one[1].numpy())[0].mean()
    back = cKDTree(one[1].numpy()).query(other[1].numpy())[0].mean()
    assert float(found[1]) == pytest.approx((there + back) / 2, rel=1e-6)


def test_blocks_give_what_the_tree_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search that CUDA uses, in blocks much smaller than the clouds."""
    one, other = clouds()
    monkeypatch.setattr(knn, "CUDA_BLOCK", 1000)
    with_trees = chamfer_over_time(one, other)
    monkeypatch.setattr(knn, "_search_tree", knn._search_blocks)
    torch.testing.assert_close(chamfer_over_time(one, other), with_trees, rtol=1e-6, atol=0)


def test_by_hand() -> None:
    one = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
    other = torch.tensor([[0.0, 0, 0.5]])
    # There: 0.5 and sqrt(1.25); back: 0.5.
    assert float(chamfer_distance(one, other)) == pytest.approx(((0.5 + math.sqrt(1.25)) / 2 + 0.5) / 2)
    assert float(chamfer_distance(one, one)) == 0
    with pytest.raises(ValueError, match="zip"):
        chamfer_over_time(one[None], other.expand(2, 1, 3))
