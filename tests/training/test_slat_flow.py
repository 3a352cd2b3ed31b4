"""The structured latent flow's training: moments by hand, dropped images, and one object learned until its renders agree."""

from __future__ import annotations

from dataclasses import replace

import torch

from gvf.diffusion.flow_euler import FlowSettings
from gvf.geometry.camera import intrinsics, orbit
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.pipelines.generator_index import Moments
from gvf.pipelines.image_to_canonical import sample_slat
from gvf.rendering.splats import draw_gaussians
from gvf.training.batches import Draw
from tests.training import tiny_clips as tiny
from tests.training import tiny_tasks


def test_moments_are_those_of_all_training_voxels() -> None:
    task = tiny_tasks.slat_flow()
    latents = []
    for number, clip in enumerate(tiny.CLIPS):
        one = tiny.load_image_examples(clip)
        view = number % tiny.IMAGE_VIEWS
        latents.append(task.encoder(one.features[view].float(), VoxelBatch.pack([one.voxels[view]])).mean)
    together = torch.cat(latents)
    torch.testing.assert_close(task.moments.mean, together.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(task.moments.std, together.std(0, correction=0), atol=1e-5, rtol=1e-4)


def test_dropped_images_are_zeros_and_others_are_whole() -> None:
    task = tiny_tasks.slat_flow("both")
    dropped = kept = 0
    for seed in range(12):
        batch = task.load(Draw(1, (0, 1), seed, torch.Generator().manual_seed(seed)))
        assert batch.image.tokens is not None
        assert batch.image.aligned is not None
        for item in range(2):
            rows = batch.image.aligned[batch.voxels.items == item]
            without = not batch.image.tokens[item].any()
            assert without == (not rows.any())
            dropped, kept = dropped + without, kept + (not without)
    assert dropped > 0 < kept


def test_one_object_is_learned_until_its_images_agree() -> None:
    """Sampled latents of the only object give, through D_GS, images that are above 30 dB of those of E_GS's latents."""
    torch.set_num_threads(1)
    task = replace(tiny_tasks.slat_flow("both"), clips=tiny.CLIPS[:1])
    torch.manual_seed(0)
    model = task.build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(1, 151):
        draw = Draw(step, (0, 0, 0, 0), step, torch.Generator().manual_seed(step))
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1.0, (151 - step) / 75)
        loss, _ = task.loss(model, task.load(draw), draw)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    one = tiny.load_image_examples(tiny.CLIPS[0])
    voxels = VoxelBatch.pack([one.voxels[0]])
    batch = task.load(Draw(1, (0,), 1, torch.Generator().manual_seed(1)))
    image = replace(batch.image)
    moments = Moments(mean=tuple(task.moments.mean.tolist()), std=tuple(task.moments.std.tolist()))
    noise = torch.randn(len(voxels.coords), 3, generator=torch.Generator().manual_seed(5))
    sampled = sample_slat(model.eval(), image, voxels, noise, FlowSettings(num_steps=12, guidance=0.0), moments)
    with torch.no_grad():
        true = task.encoder(one.features[0].float(), voxels).mean
        torch.manual_seed(1)
        decoder = GaussianDecoder(tiny.STATIC_VAE)
        torch.nn.init.normal_(decoder.out_layer.weight, std=0.5)
        images = [render(decoder, latents, voxels) for latents in (true, sampled, task.moments.mean.expand_as(true))]
    assert psnr(images[1], images[0]) > 30.0
    assert psnr(images[2], images[0]) < psnr(images[1], images[0]) - 3.0, "the images show the latents"


def render(decoder: GaussianDecoder, latents: torch.Tensor, voxels: VoxelBatch) -> torch.Tensor:
    (gaussians,) = decoder(latents, voxels)
    viewmats = torch.from_numpy(orbit([0.0, 90.0, 200.0], 20.0, 2.0)).float()
    Ks = torch.from_numpy(intrinsics([40.0] * 3)).float()
    return draw_gaussians(gaussians.map(lambda values: values[None]), viewmats[None], Ks[None], 48).clamp(0, 1)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10.0 * (image - truth).square().mean().log10())
