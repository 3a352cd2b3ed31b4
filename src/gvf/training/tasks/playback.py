"""Other ways to play a clip: backwards, there and back, at half speed, with a pause."""

from __future__ import annotations

import torch
from torch import Tensor


def playback_order(num_frames: int, generator: torch.Generator) -> Tensor:
    """Draw the order in which a clip is played; return the frame that is shown at each time, [T] int64.

    Time 0 always shows frame 0, which has the canonical Gaussians. Played backwards, a clip jumps from there to its end.
    """
    times = torch.arange(num_frames)
    turn, pause = (int(torch.randint(1, max(num_frames - 1, 2), (), generator=generator)) for _ in range(2))
    ways = (
        -times % num_frames,
        torch.minimum(times, 2 * turn - times).abs(),
        times // 2,
        torch.where(times < turn, times, (times - pause).clamp(min=turn)),
    )
    return ways[int(torch.randint(len(ways), (), generator=generator))]
