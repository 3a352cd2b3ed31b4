"""MotionGenerator for videos of any length, alone and in batches; clips of very few voxels go the whole way."""

from __future__ import annotations

import pytest
import torch

from gvf.config.variation_dit import VariationDitConfig
from gvf.data.latents import LatentStatistics
from gvf.diffusion.schedule import cosine_schedule
from gvf.errors import UserError
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.animate_mesh import canonical_from_features, known_motion, reconstruct
from gvf.pipelines.frames import as_rgba, resized
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.handles import choose_handles
from gvf.pipelines.latent_sampling import sample_latents
from gvf.pipelines.mesh_to_canonical import video_tokens
from tests.pipelines.small_generator import FRAMES, VARIATION, canonical_gaussians, small_generator, video_of
from tests.training.tiny_clips import STATIC_VAE as STATIC

LATENTS, CHANNELS, STATIC_TOKENS = VARIATION.num_latents, VARIATION.latent_channels, 7
DIT = VariationDitConfig(
    width=12,
    num_layers=1,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=6,
    aligned_features=(),
    aligned_channels=0,
    num_static=STATIC_TOKENS,
    position_embedding=True,
    position_scale=8.0,
)
SAMPLING = Sampling(absolute_tolerance=0.1, relative_tolerance=0.1, first_step=0.5)
VOXEL = torch.tensor([[3, 4, 5]], dtype=torch.int32)


@pytest.fixture
def vae() -> JointVAE:
    torch.manual_seed(0)
    model = JointVAE(STATIC, VARIATION)
    torch.nn.init.normal_(model.variation.to_outputs.weight, std=0.5)
    return model.eval()


def test_one_voxel_and_one_surface_point_are_encoded_and_decoded(vae: JointVAE) -> None:
    canonical = canonical_from_features(vae, torch.randn(1, 6), VOXEL)
    assert canonical.clip(0).num_gaussians == STATIC.gaussians_per_voxel == 2
    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.2, 0.1, 0.0]]).unsqueeze(1)  # [T, 1, 3]
    motion = vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
    assert motion.chosen.tolist() == [[0, 1, 0, 1]]
    torch.testing.assert_close(motion.interpolated[0], (points - points[:1]).expand(-1, 2, -1))
    mean = vae.encode(canonical, motion).mean
    assert mean.shape == (1, 3, LATENTS, CHANNELS)
    torch.testing.assert_close(mean[:, :, :2], mean[:, :, 2:])  # equal queries, equal latents
    known = known_motion(vae, canonical, points)
    torch.testing.assert_close(known.interpolated, motion.interpolated)
    field = reconstruct(vae, canonical, known)
    assert field.shape == (3, 2, 14)
    assert field.isfinite().all()
    # Each Gaussian once, as two latents, and every one of them twice are the same set for attention.
    once = vae.variation.decode(mean[:, :, :2], canonical.gaussians.to_activated14())
    torch.testing.assert_close(field, once[0], atol=1e-5, rtol=1e-4)


def test_a_clip_of_one_voxel_trains_beside_a_larger_one(vae: JointVAE) -> None:
    cells = torch.cartesian_prod(*[torch.arange(3, dtype=torch.int32)] * 3)
    voxels, features = VoxelBatch.pack([VOXEL, cells]), torch.randn(28, 6)
    canonical = vae.canonical(features, voxels)
    motion = vae.motion(canonical, torch.rand(2, 3, 40, 3) - 0.5, torch.Generator().manual_seed(0))
    assert all(bool(canonical.valid[clip, motion.chosen[clip]].all()) for clip in range(2))
    field = vae.decode(canonical, vae.encode(canonical, motion).mean)
    field.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in vae.static.decoder.parameters() if p.grad is not None)


def test_latents_are_generated_for_a_clip_of_one_voxel(vae: JointVAE) -> None:
    canonical = canonical_from_features(vae, torch.randn(1, 6), VOXEL)
    handles = choose_handles(canonical.clip(0).detach(), LATENTS, STATIC_TOKENS)
    values = canonical.clip(0).detach().to_activated14()
    torch.testing.assert_close(handles.positions, values[[0, 1, 0, 1], :3])
    torch.testing.assert_close(handles.static, values[[0, 1, 0, 1, 0, 1, 0]])
    ones, zeros = torch.ones(CHANNELS), torch.zeros(CHANNELS)
    statistics = LatentStatistics(zeros, ones, torch.zeros(14), torch.ones(14))
    noise, tokens = torch.randn(2, 3, LATENTS, CHANNELS), torch.randn(2, 3, 5, 6)
    dit = VariationDiT(DIT, CHANNELS).eval()
    solution = sample_latents(
        dit, cosine_schedule(1000), statistics, [handles] * 2, VideoCondition(tokens), noise, SAMPLING
    )
    assert solution.sample.shape == noise.shape
    assert solution.sample.isfinite().all()


def frames_of(num_frames: int) -> torch.Tensor:
    """Return RGBA frames [T, 64, 64, 4] of a square that moves."""
    frames = torch.zeros(num_frames, 64, 64, 4, dtype=torch.uint8)
    for index in range(num_frames):
        frames[index, 20:40, 8 + 4 * index : 28 + 4 * index] = torch.tensor([200, 120, 40, 255], dtype=torch.uint8)
    return frames


@pytest.mark.parametrize("num_frames", [1, FRAMES, 2 * FRAMES + 1])
def test_a_video_of_any_length_moves_the_gaussians(num_frames: int) -> None:
    pipeline, canonical = small_generator(), canonical_gaussians(9, 0)
    motion = pipeline.motion(frames_of(num_frames), canonical, seed=3)
    assert motion.field.shape == (num_frames, 9, 14)
    assert motion.field.isfinite().all()
    assert motion.nfe == 3
    torch.testing.assert_close(motion.gaussians.means, canonical.means + motion.field[..., :3])
    again = pipeline.motion(frames_of(num_frames), canonical, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again.field, motion.field)
    assert not torch.allclose(pipeline.motion(frames_of(num_frames), canonical, seed=4).field, motion.field)


def test_the_video_and_the_settings_matter() -> None:
    pipeline, canonical = small_generator(), canonical_gaussians(9, 0)
    motion = pipeline.motion(frames_of(2), canonical)
    assert not torch.allclose(pipeline.motion(frames_of(2).flip(2), canonical).field, motion.field)
    assert not torch.allclose(pipeline.motion(frames_of(2), canonical, video_guidance=3.0).field, motion.field)
    assert pipeline.motion(frames_of(2), canonical, steps=5).nfe == 5


def test_a_clip_gets_the_same_motion_alone_and_in_a_batch() -> None:
    pipeline = small_generator()
    canonicals = [canonical_gaussians(count, count) for count in (5, 9, 12)]
    videos = [video_of(FRAMES, seed) for seed in range(3)]
    noise = [pipeline.noise(FRAMES, torch.Generator().manual_seed(seed)) for seed in range(3)]
    together = pipeline.generate(videos, canonicals, noise)
    assert together.num_calls == 3
    for index, field in enumerate(together.fields):
        alone = pipeline.generate(videos[index : index + 1], canonicals[index : index + 1], noise[index : index + 1])
        torch.testing.assert_close(field, alone.fields[0], atol=1e-5, rtol=1e-4)


def test_frames_may_be_rgba_or_rgb_on_white_in_bytes_or_floats() -> None:
    rgba = frames_of(2)
    on_white = torch.where(rgba[..., 3:] == 255, rgba[..., :3], 255)
    for frames in (rgba, rgba.float() / 255.0):
        assert torch.equal(as_rgba(frames), rgba)
    for frames in (on_white, on_white.float() / 255.0):
        found = as_rgba(frames)
        assert torch.equal(found[..., 3], rgba[..., 3])
        assert torch.equal(found[..., :3] * (found[..., 3:] == 255), rgba[..., :3])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(64, 64, 4), r"shape \[64, 64, 4\]"),
        (torch.zeros(0, 64, 64, 4), "T at least 1"),
        (torch.zeros(2, 64, 64, 2), r"expected \[T, H, W, 4\]"),
        (torch.full((1, 64, 64, 4), 2.0), r"outside \[0, 1\]"),
        (torch.full((1, 64, 64, 4), torch.nan), r"outside \[0, 1\]"),
        (torch.zeros(1, 64, 64, 4, dtype=torch.int64), "expected uint8"),
    ],
)
def test_frames_that_are_no_video_are_refused(frames: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        small_generator().motion(frames, canonical_gaussians(5, 0))


def test_frames_of_another_size_are_resized_to_that_of_the_training() -> None:
    pipeline = small_generator()
    canonical, frames = canonical_gaussians(9, 0), frames_of(2)
    of_canonical = canonical, pipeline.handles(canonical)
    expected = video_tokens(pipeline.encoder, frames, 16, torch.device("cpu"))
    video = pipeline.video(frames, *of_canonical)
    torch.testing.assert_close(
        video.tokens, expected, atol=0, rtol=0, msg="frames of the training size are not touched"
    )
    large = pipeline.video(frames.repeat_interleave(3, 1).repeat_interleave(3, 2), *of_canonical)
    for found, same in zip(vars(large).values(), vars(video).values()):
        torch.testing.assert_close(found, same, msg="each block of 3 x 3 equal pixels becomes one pixel")
    smaller = pipeline.video(frames[:, :48, :48], *of_canonical)
    assert smaller.tokens is not None
    assert smaller.tokens.shape == expected.shape, "smaller frames are enlarged"
    with pytest.raises(UserError, match=r"frames: are 48 x 64 pixels, but .* square"):
        pipeline.video(frames[:, :, :48], *of_canonical)


@pytest.mark.parametrize("side", [65, 100, 127])
def test_shrinking_averages_over_fractions_of_pixels(side: int) -> None:
    ramp = torch.linspace(40.0, 200.0, side).round()
    frames = torch.full((1, side, side, 4), 255, dtype=torch.uint8)
    frames[..., 0] = ramp.byte()
    fine = ramp.repeat_interleave(64)  # 64 side samples: every output pixel is the mean of `side` of them
    expected = fine.reshape(64, side).mean(1).expand(64, 64)
    assert (resized(frames, 64)[0, ..., 0] - expected).abs().max() <= 0.51


def test_resizing_keeps_colours_and_ignores_those_of_transparent_pixels() -> None:
    frames = torch.zeros(1, 128, 128, 4, dtype=torch.uint8)
    frames[...] = torch.tensor([255, 255, 255, 0], dtype=torch.uint8)
    frames[:, 32:97, 32:97] = torch.tensor([200, 120, 40, 255], dtype=torch.uint8)
    small = resized(frames, 64)
    assert small.shape == (1, 64, 64, 4)
    assert small.dtype == torch.uint8
    seen = small[small[..., 3] > 8]
    assert (seen[:, :3].int() - torch.tensor([200, 120, 40])).abs().max() <= 1, "white does not bleed in"
    assert seen[:, 3].min() < 255, "the edge is soft"
    area = small[..., 3].float().mean() / frames[..., 3].float().mean()
    assert area.item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "sampling settings: steps: is 0, but must be at least 1"),
        ({"step": 5}, "sampling settings: step: no such field. Did you mean 'steps'?"),
        ({"solver": "euler"}, "sampling settings: solver: is 'euler', but must be 'adaptive' or 'multistep'"),
        ({"video_guidance": "high"}, "sampling settings: video_guidance: is 'high', but must be a number"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        small_generator().motion(frames_of(1), canonical_gaussians(5, 0), **settings)
    assert message in str(raised.value)
