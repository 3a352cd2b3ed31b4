"""A red Gaussian in front and a blue one behind, once around."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch

from gvf.gaussians.gaussians import GaussianActivation, Gaussians
from gvf.rendering.turntable import turntable
from gvf.video.writing import write_video


def two_balls(num_frames: int) -> Gaussians:
    """Red at y = -0.3, where the camera starts, and blue at y = 0.3; in the last frame both are gone."""
    means = torch.tensor([[0.0, -0.3, 0.0], [0.0, 0.3, 0.0]]).repeat(num_frames, 1, 1)
    colors = torch.tensor([[1.7, -1.7, -1.7], [-1.7, -1.7, 1.7]]).repeat(num_frames, 1, 1)
    opacities = torch.full((num_frames, 2), 12.0)
    opacities[-1] = -20.0
    zeros = torch.zeros(num_frames, 2, 3)
    activation = GaussianActivation(scale_bias=0.1)
    return Gaussians(means, colors, zeros, torch.zeros(num_frames, 2, 4), opacities, activation)


def test_the_camera_goes_round_once_while_the_motion_repeats() -> None:
    images = turntable(two_balls(2), 24, 8)
    assert images.shape == (8, 24, 24, 3)
    assert images.dtype == np.uint8
    red, _, blue = images[0, 12, 12].astype(int)
    assert red > blue + 100  # from the front
    red, _, blue = images[4, 12, 12].astype(int)
    assert blue > red + 100  # from behind
    assert (images[1::2] == 255).all()  # the odd frames are empty


def test_a_video_holds_every_frame_and_odd_sizes_are_cut(tmp_path: Path) -> None:
    frames = np.stack([np.full((33, 35, 3), value, np.uint8) for value in (10, 120, 240)])
    write_video(tmp_path / "loop.mp4", frames, 8)
    with av.open(str(tmp_path / "loop.mp4")) as container:
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in read] == [(32, 34, 3)] * 3
    assert [round(float(frame.mean()), -1) for frame in read] == [10, 120, 240]
