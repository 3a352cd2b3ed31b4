"""Motions fitted to a video: a known motion found again, what the optimisation minimises, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.metrics.displacement import relative_error
from gvf.models.variation.joint_vae import displace
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines import motion_refinement
from gvf.pipelines.candidate_fit import fit_of
from gvf.pipelines.motion_refinement import MotionRefinement
from gvf.rendering.rasterize import RasterizedViews
from gvf.rendering.splats import draw_views
from tests.training.tiny_clips import VARIATION_VAE

SIZE, NUM_FRAMES = 48, 3
CAMERA = OrbitCamera(20.0, 10.0, 2.0, 40.0)
DEVIATIONS = torch.full((5,), 0.8)


def network() -> VariationVAE:
    """Return a decoder with random weights, whose latents move Gaussians by about a tenth of the object."""
    torch.manual_seed(0)
    vae = VariationVAE(replace(VARIATION_VAE, num_layers=1, num_latents=4, latent_channels=5)).eval()
    torch.nn.init.normal_(vae.to_outputs.weight, std=0.03)
    return vae


def blob(count: int = 60) -> Gaussians:
    """Return opaque Gaussians [count] of many colours, which fill a ball of radius 0.3."""
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(count, 3, generator=generator)
    means = 0.3 * means / means.norm(dim=1, keepdim=True) * torch.rand(count, 1, generator=generator) ** (1 / 3)
    colors = 2.0 * torch.rand(count, 3, generator=generator) - 1.0
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(count, -1)
    return Gaussians.from_rendered(means, colors, torch.full((count, 3), 0.05), quats, torch.full((count,), 0.9))


def latents_of(seed: int, scale: float = 1.0) -> Tensor:
    """Return random latents [T, L, C]."""
    generator = torch.Generator().manual_seed(seed)
    return scale * DEVIATIONS * torch.randn(NUM_FRAMES, 4, 5, generator=generator)


def field(vae: VariationVAE, latents: Tensor, gaussians: Gaussians) -> Tensor:
    """Return the displacements [T, N, 3] that latents describe."""
    with torch.no_grad():
        return vae.decode(latents[None], gaussians.to_activated14()[None])[0, ..., :3]


def film(gaussians: Gaussians, displacements: Tensor) -> Tensor:
    """Return the frames [T, S, S, 4] uint8 with straight alpha that the camera sees of moved Gaussians."""
    viewmat, K = (torch.from_numpy(values).float()[None] for values in (CAMERA.viewmat, CAMERA.K))
    views = draw_views(displace(gaussians, displacements), viewmat, K, SIZE, background=0.0)
    alpha = views.alpha[:, 0, ..., None]
    return (255.0 * torch.cat([views.rgb[:, 0] / alpha.clamp(min=1e-6), alpha], -1)).clamp(0, 255).round().byte()


def refinement(vae: VariationVAE, gaussians: Gaussians, frames: Tensor) -> MotionRefinement:
    return MotionRefinement(vae, DEVIATIONS, gaussians, frames, CAMERA.viewmat, CAMERA.K)


def test_a_motion_that_the_video_shows_is_found_again() -> None:
    vae, gaussians = network(), blob()
    true = latents_of(2)
    displacements = field(vae, true, gaussians)
    displacements[0] = 0.0  # the first frame shows the canonical Gaussians
    start = true + latents_of(3, scale=0.5)
    frames = film(gaussians, displacements)
    refined = refinement(vae, gaussians, frames).run(start, 60)
    fields = [field(vae, values, gaussians) for values in (start, refined)]
    before, after = (relative_error(moved[1:], displacements[1:]) for moved in fields)
    assert after < 0.75 * before
    before, after = (fit_of(displace(gaussians, moved), frames, CAMERA).error for moved in fields)
    assert after < 0.5 * before
    assert refined.shape == start.shape
    assert not refined.requires_grad


def test_a_perfect_motion_stays() -> None:
    vae, gaussians = network(), blob()
    still = torch.zeros(NUM_FRAMES, 4, 5)
    torch.nn.init.zeros_(vae.to_outputs.weight)
    torch.nn.init.zeros_(vae.to_outputs.bias)
    refined = refinement(vae, gaussians, film(gaussians, torch.zeros(NUM_FRAMES, 60, 3))).run(still, 5)
    assert torch.equal(refined, still), "no latents move anything, so there is nothing to change"


def test_another_light_is_not_taken_for_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, gaussians, true = network(), blob(), latents_of(2)
    displacements = field(vae, true, gaussians)
    displacements[0] = 0.0  # the first frame shows the canonical Gaussians
    dark = film(gaussians, displacements)
    dark[..., :3] = (dark[..., :3].float() * 0.5).byte()

    def error() -> float:
        moved = field(vae, refinement(vae, gaussians, dark).run(true, 40), gaussians)
        return relative_error(moved[1:], displacements[1:])

    adapted = error()
    monkeypatch.setattr(motion_refinement, "_LOOK_STEPS", 0)
    assert adapted < 0.1
    assert adapted < 0.6 * error()


def test_what_is_reported_and_what_stays_as_it_was() -> None:
    vae, gaussians = network(), blob()
    frames, latents = film(gaussians, torch.zeros(NUM_FRAMES, 60, 3)), latents_of(5)
    kept, values = latents.clone(), gaussians.to_activated14().clone()
    done: list[int] = []
    refined = refinement(vae, gaussians, frames).run(latents, 4, done.append)
    assert done == [1, 2, 3, 4]
    assert torch.equal(latents, kept)
    assert torch.equal(gaussians.to_activated14(), values)
    assert all(parameter.grad is None for parameter in vae.parameters())
    again = refinement(vae, gaussians, frames).run(latents, 4)
    assert torch.equal(again, refined), "the same input gives the same motion"
    with torch.no_grad():  # as in all of inference
        quiet = refinement(vae, gaussians, frames).run(latents, 4)
    assert torch.equal(quiet, refined)


def test_objects_of_very_few_gaussians_and_empty_frames_are_refined_too() -> None:
    vae = network()
    for count in (1, 2, 5):
        gaussians = blob(count)
        empty = torch.zeros(NUM_FRAMES, SIZE, SIZE, 4, dtype=torch.uint8)
        for frames in (film(gaussians, torch.zeros(NUM_FRAMES, count, 3)), empty):
            assert refinement(vae, gaussians, frames).run(latents_of(6), 3).isfinite().all()


def test_large_frames_are_compared_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, gaussians = network(), blob()
    frames = film(gaussians, field(vae, latents_of(2), gaussians))
    large = frames.repeat_interleave(8, 1).repeat_interleave(8, 2)  # 384 pixels
    start, sizes = latents_of(3), []
    original = motion_refinement.draw_views

    def watched(*values: Any, **options: Any) -> RasterizedViews:
        drawn = original(*values, **options)
        sizes.append(drawn.alpha.shape[-1])
        return drawn

    monkeypatch.setattr(motion_refinement, "draw_views", watched)
    one, other = (refinement(vae, gaussians, seen).run(start, 3) - start for seen in (frames, large))
    assert sorted(set(sizes)) == [SIZE, motion_refinement.LARGEST_SIDE]
    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and gsplat's compiled kernels")
def test_a_gpu_refines_alike() -> None:
    vae, gaussians, start = network(), blob(), latents_of(3)
    frames = film(gaussians, field(vae, latents_of(2), gaussians))
    here = refinement(vae, gaussians, frames).run(start, 10)
    there = refinement(vae.cuda(), gaussians.to("cuda"), frames).run(start.cuda(), 10)
    assert there.is_cuda
    assert relative_error(there.cpu() - start, here - start) < 0.2
