"""From a video to a 4D asset, with a generator from a folder or the model hub (Sec. 3.3)."""

from __future__ import annotations

from gvf.pipelines.motion_generator import MotionGenerator


class VideoTo4D(MotionGenerator):
    """Makes 4D assets from videos of any number of frames; `from_pretrained` loads one."""
