"""Other ways to play a clip: backwards, there and back, at half speed, with a pause."""

from __future__ import annotations

import torch
from torch import Tensor


def playback_order(num_frames: int, generator: torch.Generator) -> Tensor:
    """Draw one of these ways; return which frame is shown at each time, [T] int64.

    The first one stays frame 0, which shows the canonical Gaussians. Played backwards, a clip jumps from there to its end.
    """
    times = torch.arange(num_frames)
    turn, pause = torch.randint(num_frames, (2,), generator=generator).tolist()
    ways = (
        -times % num_frames,
        torch.minimum(times, 2 * turn - times).abs(),
        times // 2,
        torch.where(times < turn, times, (times - pause).clamp(min=turn)),
    )
    return ways[int(torch.randint(len(ways), (), generator=generator))]
