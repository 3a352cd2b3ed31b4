"""The tasks alone, without engine or workspace: what they load, which weights they train, and that they learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from gvf.config.train_dit import DitAugmentationConfig
from gvf.data.latents import LatentClip
from gvf.training.batches import Draw
from gvf.training.tasks.joint_vae import choose_gaussians
from tests.training import tiny_clips as tiny
from tests.training import tiny_tasks


def draw(*indices: int, seed: int = 3) -> Draw:
    return Draw(1, indices, seed, torch.Generator().manual_seed(seed))


def losses_on_one_batch(task: Any, steps: int, learning_rate: float) -> list[float]:
    """Train on one batch, with the same random numbers in every step."""
    torch.set_num_threads(1)  # faster for networks this small
    torch.manual_seed(0)
    model = task.build()
    groups = [
        {"params": list(group.parameters), "lr": learning_rate * group.lr_scale}
        for group in task.parameter_groups(model)
    ]
    optimizer = torch.optim.Adam(groups)
    first = draw(0, 1)
    batch = task.load(first)
    state = first.generator.get_state()
    losses = []
    for _ in range(steps):
        first.generator.set_state(state)
        loss, _ = task.loss(model, batch, first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


# The share of its first value that the loss must fall below. Measured shares: 0.16, 0.51, 0.02 and 0.06.
@pytest.mark.parametrize(
    ("make", "steps", "learning_rate", "share"),
    [
        (tiny_tasks.static_vae, 30, 0.03, 0.3),
        (tiny_tasks.joint_vae, 30, 0.01, 0.7),
        (tiny_tasks.motion_first, 30, 0.01, 0.1),
        (tiny_tasks.dit, 50, 0.01, 0.15),
        (partial(tiny_tasks.dit, "pixel_aligned"), 50, 0.01, 0.15),
        (tiny_tasks.slat_flow, 50, 0.01, 0.15),
        (partial(tiny_tasks.slat_flow, "pixel_aligned"), 50, 0.01, 0.15),
        (tiny_tasks.structure_vae, 50, 0.02, 0.3),
        (tiny_tasks.structure_flow, 80, 0.02, 0.3),
    ],
    ids=[
        *(
            "static-vae",
            "joint-vae",
            "motion-first",
            "dit",
            "dit-pixel-aligned",
            "slat-flow",
            "slat-flow-pixel-aligned",
        ),
        *("structure-vae", "structure-flow"),
    ],
)
def test_a_tiny_model_learns_one_batch(make: Callable[[], Any], steps: int, learning_rate: float, share: float) -> None:
    losses = losses_on_one_batch(make(), steps, learning_rate)
    assert losses[-1] < share * losses[0]


@pytest.mark.parametrize(
    "make",
    [
        *(tiny_tasks.static_vae, tiny_tasks.joint_vae, tiny_tasks.motion_first, tiny_tasks.dit, tiny_tasks.slat_flow),
        tiny_tasks.structure_flow,  # both images of a tiny clip show the same shape, all that the structure VAE's batches hold
    ],
)
def test_a_batch_depends_on_the_draw_alone(make: Callable[[], Any]) -> None:
    first, again, other = (make().load(draw(2, 0, seed=seed)) for seed in (3, 3, 8))
    assert equal(first, again)
    assert not equal(first, other)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if hasattr(one, "__dict__"):
        return all(equal(value, vars(other)[name]) for name, value in vars(one).items())
    return one == other


def test_a_joint_batch_holds_different_frames_after_the_canonical_one() -> None:
    batch = tiny_tasks.joint_vae().load(draw(1, 3))
    assert batch.num_frames == tiny.NUM_FRAMES
    assert batch.points.shape == (2, 1 + tiny.TRAIN_JOINT.frames_per_clip, tiny.NUM_POINTS, 3)
    assert batch.target.shape == (2, tiny.TRAIN_JOINT.rendered_frames, 1, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE, 3)
    for clip, points in zip(("clip-1", "clip-3"), batch.points):
        track = tiny.load_points(clip)
        assert torch.equal(points[0], track[0])
        drawn = [next(t for t in range(len(track)) if torch.equal(frame, track[t])) for frame in points[1:]]
        assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_videos_are_dropped_as_a_whole(probability: float) -> None:
    task = tiny_tasks.dit("both")
    task = replace(task, config=replace(task.config, cond_drop_prob=probability))
    video = task.load(draw(0, 1, 2)).video
    assert video.tokens is not None
    assert video.aligned is not None
    assert bool((video.tokens == 0).all()) == bool((video.aligned == 0).all()) == bool(probability)


def test_tokens_and_aligned_features_are_of_the_same_video() -> None:
    task = tiny_tasks.dit("both")
    task = replace(task, config=replace(task.config, cond_drop_prob=0.0))
    chosen = set()
    for seed in range(8):
        video = task.load(draw(2, seed=seed)).video
        assert video.tokens is not None
        assert video.aligned is not None
        tokens = tiny.load_features("clip-2")["video_tokens"]
        aligned = task.statistics.normalize_aligned(tiny.load_latents("clip-2").aligned)
        found = [index for index in range(2) if torch.equal(video.tokens[0], tokens[index].float())]
        assert [index for index in range(2) if torch.equal(video.aligned[0], aligned[index])] == found
        chosen.update(found)
    assert chosen == {0, 1}


def certain_latents(clip: str) -> LatentClip:
    """Return a clip's latents with hardly any variance."""
    record = tiny.load_latents(clip)
    return replace(record, logvar=torch.full_like(record.logvar, -30.0))


def test_frames_played_otherwise_keep_their_latents_and_their_features() -> None:
    task = tiny_tasks.dit("both")
    augmentation = DitAugmentationConfig(playback=1.0, feature_noise=0.0)
    config = replace(task.config, cond_drop_prob=0.0, augmentation=augmentation)
    task = replace(task, config=config, read_latents=certain_latents)
    record, features = tiny.load_latents("clip-2"), tiny.load_features("clip-2")["video_tokens"].float()
    means, aligned = task.statistics.normalize(record.mean), task.statistics.normalize_aligned(record.aligned)
    orders = set()
    for seed in range(30):
        batch = task.load(draw(2, seed=seed))
        assert batch.video.tokens is not None
        assert batch.video.aligned is not None
        shown = [
            next((a, t) for a in range(2) for t in range(tiny.NUM_FRAMES) if torch.equal(frame, features[a, t]))
            for frame in batch.video.tokens[0]
        ]
        assert len({video for video, _ in shown}) == 1
        order = [frame for _, frame in shown]
        assert torch.equal(batch.video.aligned[0], aligned[shown[0][0], order])
        torch.testing.assert_close(batch.latents[0], means[order], rtol=1e-4, atol=1e-5)
        orders.add(tuple(order))
    assert len(orders) >= 3
    assert {order[0] for order in orders} == {0}


def test_noise_on_features_is_as_large_as_its_deviation_at_most() -> None:
    task = tiny_tasks.dit("pixel_aligned")
    plain = replace(task, config=replace(task.config, cond_drop_prob=0.0))
    augmentation = DitAugmentationConfig(playback=0.0, feature_noise=0.5)
    noisy = replace(plain, config=replace(plain.config, augmentation=augmentation))
    aligned = plain.statistics.normalize_aligned(tiny.load_latents("clip-2").aligned)
    deviations = []
    for seed in range(20):
        video = noisy.load(draw(2, seed=seed)).video.aligned
        assert video is not None
        deviations.append(min(float((video[0] - one).std()) for one in aligned))
    assert 0.0 < min(deviations) < 0.2
    assert 0.35 < max(deviations) < 0.6


def test_a_network_is_given_only_what_it_sees() -> None:
    assert tiny_tasks.dit("tokens").load(draw(0)).video.aligned is None
    assert tiny_tasks.dit("pixel_aligned").load(draw(0)).video.tokens is None


def test_the_encoder_is_trained_only_where_asked_and_never_in_stage_2() -> None:
    task = tiny_tasks.static_vae()
    for train_encoder in (True, False):
        initial = replace(task.config.initial_weights, encoder=None if train_encoder else "a-file")
        config = replace(task.config, train_encoder=train_encoder, initial_weights=initial)
        one = replace(task, config=config)
        model = one.build()
        trained = {id(p) for group in one.parameter_groups(model) for p in group.parameters}
        networks = [model.encoder, model.decoder] if train_encoder else [model.decoder]
        assert trained == {id(p) for network in networks for p in network.parameters()}
    joint = tiny_tasks.joint_vae()
    for finetune, scales in ((True, [1.0, 0.1]), (False, [1.0])):
        one = replace(joint, config=replace(joint.config, finetune_decoder=finetune))
        model = one.build()
        groups = one.parameter_groups(model)
        assert [group.lr_scale for group in groups] == scales
        trained = {id(p) for group in groups for p in group.parameters}
        assert trained == {id(p) for p in model.parameters() if p.requires_grad}
        assert not trained & {id(p) for p in model.static.encoder.parameters()}


def test_padding_is_never_chosen() -> None:
    valid = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    chosen = choose_gaussians(valid, 200, torch.Generator().manual_seed(0))
    assert [sorted(set(row.tolist())) for row in chosen] == [list(range(7)), [0, 1, 2]]
