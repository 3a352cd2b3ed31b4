"""Statistics of latents that come clip by clip, the memory of what was read, and the published files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gvf.data.latents import LatentClip, LatentStatistics, RunningMoments, StatisticsOfClips, load_latents, save
from gvf.workspace import Workspace


def clip(seed: int, num_frames: int = 3, offset: float = 0.0) -> LatentClip:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mean, logvar = draw(num_frames, 5, 4) + offset, draw(num_frames, 5, 4) - 3.0
    return LatentClip(mean, logvar, draw(5, 3), draw(7, 14) + offset, draw(2, num_frames, 5, 6).half())


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_running_moments_are_those_of_all_rows(offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(n, 6, generator=generator, dtype=torch.float64) * scale + offset
        for n, scale in ((1, 1.0), (40, 3.0), (7, 1e-3), (1, 0.0), (300, 10.0))
    ]
    moments = RunningMoments()
    for part in parts:
        moments.add(part)
    rows = torch.cat(parts)
    assert moments.count == len(rows)
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.variance, rows.var(0, unbiased=False), rtol=1e-12, atol=0)


def test_statistics_are_those_of_the_clips_at_once() -> None:
    clips = [clip(seed, num_frames=1 + seed % 4, offset=0.3 * seed) for seed in range(9)]
    seen = StatisticsOfClips()
    for one in clips:
        seen.add(one)
    means = torch.cat([one.mean.flatten(0, 1) for one in clips]).double()
    logvars = torch.cat([one.logvar.flatten(0, 1) for one in clips]).double()
    static = torch.cat([one.static for one in clips]).double()
    found = seen.statistics()
    # The total variance of a sample: that of the means and the mean of the variances. Stored in float32.
    expected = (means.var(0, unbiased=False) + logvars.exp().mean(0)).sqrt()
    assert torch.equal(found.latent_mean, means.mean(0).float())
    torch.testing.assert_close(found.latent_std, expected.float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(found.static_mean, static.mean(0).float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(found.static_std, static.std(0, unbiased=False).float(), rtol=1e-7, atol=0)
    aligned = torch.cat([one.aligned.flatten(0, 2) for one in clips]).double()
    torch.testing.assert_close(found.aligned_mean, aligned.mean(0).float(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.aligned_std, aligned.std(0, unbiased=False).float(), rtol=1e-6, atol=0)
    assert seen.posterior_std_mean == pytest.approx((0.5 * logvars).exp().mean().item(), rel=1e-12)


def test_features_at_the_latents_are_scaled_and_bounded() -> None:
    statistics = LatentStatistics(*(torch.ones(1),) * 4, torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.01]))
    aligned = torch.tensor([[3.0, 0.02], [-30.0, 1.0]]).half()
    expected = torch.tensor([[1.0, 2.0], [-5.0, 5.0]])
    torch.testing.assert_close(statistics.normalize_aligned(aligned), expected, atol=1e-2, rtol=0)


def test_a_channel_that_never_varies_is_not_scaled_up() -> None:
    seen = StatisticsOfClips()
    seen.add(replace(clip(0), aligned=torch.full((2, 3, 5, 1), 0.5).half()))
    assert seen.statistics().aligned_std.tolist() == [pytest.approx(0.01)]


def test_clips_whose_videos_are_seen_as_tokens_store_no_features(tmp_path: Path) -> None:
    workspace, seen = Workspace(tmp_path), StatisticsOfClips()
    record = replace(clip(0), aligned=torch.empty(0, 0, 5, 0).half())
    save(workspace.latents / "a.safetensors", record)
    assert load_latents(workspace, "a").aligned.shape == (0, 0, 5, 0)
    seen.add(record)
    assert len(seen.statistics().aligned_mean) == 0


def test_latents_share_the_bounded_memory_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {f"clip{seed}": clip(seed) for seed in range(6)}
    size = sum(tensor.nbytes for tensor in vars(clips["clip0"]).values())
    monkeypatch.setattr("gvf.workspace.CACHE_BYTES", int(2.5 * size))
    workspace = Workspace(tmp_path)
    for name, value in clips.items():
        save(workspace.latents / f"{name}.safetensors", value)
    loaded = {name: load_latents(workspace, name) for name in clips}
    assert torch.equal(loaded["clip3"].mean, clips["clip3"].mean)
    assert load_latents(workspace, "clip5") is loaded["clip5"], "the last one is still there"
    assert load_latents(workspace, "clip4") is loaded["clip4"], "there is room for two"
    assert load_latents(workspace, "clip0") is not loaded["clip0"], "the first one had to leave"
    assert load_latents(Workspace(tmp_path), "clip5") is not loaded["clip5"], "each workspace has its own cache"
