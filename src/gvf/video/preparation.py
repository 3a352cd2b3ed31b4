"""Prepare a video for the networks: read it, cut the object out, crop and check it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gvf.progress import Progress
from gvf.storage.files import PathLike
from gvf.text import MAX_NAME, clean
from gvf.video.checks import check_objects, check_pictures
from gvf.video.cropping import cut, object_boxes, square_crops
from gvf.video.findings import report
from gvf.video.input_video import InputVideo
from gvf.video.matting import matted
from gvf.video.options import VideoOptions
from gvf.video.reading import read_clip


def prepare_video(path: PathLike, options: VideoOptions, progress: Progress) -> InputVideo:
    """Read a video, cut its object out and crop it. Raises UserError with advice when it cannot be used."""
    name = clean(str(path))
    clip = read_clip(path, options, progress)
    found = report([*clip.findings, *check_pictures(clip)], name, progress)  # before a network, which is slow
    clip, matting = matted(clip, options, name, progress)
    known = {finding.code for finding in found}
    later = [one for one in (*clip.findings, *check_objects(clip, matting)) if one.code not in known]
    found += report(later, name, progress)
    crops = square_crops(object_boxes(clip.frames[..., 3]), options.margin, options.crop)
    frames = np.stack([cut(frame, crop, options.size) for frame, crop in zip(clip.frames, crops)])
    return InputVideo(
        frames=frames,
        frames_per_second=clip.rate,
        times=clip.times.astype(np.float32),
        crops=(crops * clip.scale).astype(np.float32),
        source_size=clip.source_size,
        name=clean(Path(path).name, MAX_NAME),
        matting=matting,
        findings=found,
    )
