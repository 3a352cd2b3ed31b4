"""Write videos as H.264 in MP4, which browsers and MLflow play."""

from __future__ import annotations

import numpy as np

from gvf.storage.files import PathLike, atomic_path

_QUALITY = "18"  # constant rate factor of x264: visually lossless


def write_video(path: PathLike, frames: np.ndarray, frames_per_second: int) -> None:
    """Write frames uint8 [T, H, W, 3] as a video.

    An odd height or width loses a row or column, since H.264 stores colours at half the resolution.
    """
    import av

    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": _QUALITY}
        for frame in frames[:, :height, :width]:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
