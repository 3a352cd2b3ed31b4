"""Open untrusted video files: two demuxers, chosen by content, and a short list of decoders.

FFmpeg, left to itself, tries hundreds of demuxers, among them playlists that open other files and addresses. Here it gets
an open file rather than a name, and the demuxer of MP4 and QuickTime or of Matroska and WebM, so it can read nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gvf.errors import UserError, ends_the_run
from gvf.text import clean

DECODERS = {
    "av1": "libdav1d",
    "libdav1d": "libdav1d",
    "dnxhd": "dnxhd",
    "h264": "h264",
    "hevc": "hevc",
    "mjpeg": "mjpeg",
    "mpeg4": "mpeg4",
    "png": "png",
    "prores": "prores",
    "qtrle": "qtrle",
    "vp8": "vp8",
    "vp9": "vp9",
}
"""Decoders that are used, by the name FFmpeg gives the stream's codec."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop the alpha of WebM
_DEMUXERS = ((4, b"ftyp", "mov"), (4, b"moov", "mov"), (4, b"mdat", "mov"), (4, b"wide", "mov"), (4, b"free", "mov"),
             (4, b"skip", "mov"), (0, b"\x1a\x45\xdf\xa3", "matroska"))  # fmt: skip
_OTHERS = (
    (0, b"#EXTM3U", "a playlist"),
    (0, b"ffconcat", "a playlist"),
    (0, b"OggS", "an Ogg file"),
    (0, b"FLV\x01", "a Flash video"),
    (8, b"AVI ", "an AVI file"),
    (8, b"WAVE", "a WAV file, which holds sound only"),
    (0, b"ID3", "an MP3 file, which holds sound only"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
    (0, b"\x00\x00\x01\xb3", "an MPEG video stream"),
    (0, b"glTF", "a GLB file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "a PDF file"),
    (0, b"version https://git-lfs", "a Git LFS pointer"),
)
_READ = "MP4, MOV, WebM, MKV, GIF, WebP, animated PNG, or a folder of frames"
MAX_PIXELS = 8192 * 8192
"""Largest width times height of a frame that is decoded."""
_MAX_PACKETS = 2_000_000
_FEW_THREADS = 2560 * 1440  # above this many pixels, one thread per core would hold a frame each


def demuxer(head: bytes, name: str) -> str:
    """Return the demuxer for a file that begins with `head`. Raises UserError for everything else, naming it if known."""
    if not head:
        raise UserError(f"{name}: the file is empty. Copy or export the video again.")
    for offset, magic, found in _DEMUXERS:
        if head.startswith(magic, offset):
            return found
    known = next((what for offset, magic, what in _OTHERS if head.startswith(magic, offset)), "")
    if not known and b"\x00" not in head:
        known = "a text file"
    what = f"is {known}" if known else "has no content that is known"
    raise UserError(f"{name}: {what}; {_READ} is read. Export the video as MP4.")


class VideoFile:
    """One open video stream.

    times: [N] seconds of its frames in the order they are shown, from 0. pixel_ratio: width of a stored pixel relative to
    its height. complete: whether all of the file could be read so far. missing: share of the video that the header promises
    and the file lacks. ordered: whether the file has a different time for each frame; else they are spaced evenly.
    """

    def __init__(self, container: Any, name: str) -> None:
        self.name, self._container = name, container
        if not container.streams.video:
            kinds = sorted({stream.type for stream in container.streams})
            raise UserError(f"{name}: holds no video stream{_only(kinds)}. Choose a file with a picture in it.")
        self._stream = next((one for one in container.streams.video if not _is_cover(one)), container.streams.video[0])
        context = self._stream.codec_context
        codec = getattr(context, "name", None) or ""
        if not codec or min(context.width, context.height) < 1:
            raise UserError(
                f"{name}: is cut off or damaged: what its video stream holds is not said. Copy or export it again."
            )
        if codec not in DECODERS:
            raise UserError(f"{name}: its codec {clean(codec, 40)} is not read. Export the video as H.264 in MP4.")
        if context.width * context.height > MAX_PIXELS:
            raise UserError(
                f"{name}: has {context.width} x {context.height} pixels, at most {MAX_PIXELS:,} (8192 x 8192) are decoded. "
                "Export the video at a lower resolution."
            )
        context.options = {"max_pixels": str(MAX_PIXELS)}  # the stream itself may claim another size
        context.thread_type = "AUTO"
        context.thread_count = 1 if context.width * context.height > _FEW_THREADS else 4
        self._alpha = _ALPHA_DECODERS.get(codec) if self._stream.metadata.get("alpha_mode") == "1" else None
        ratio = float(self._stream.sample_aspect_ratio or 1)
        self.pixel_ratio = ratio if 0.1 < ratio < 10 else 1.0
        self._pts, self.complete, self.ordered = self._timestamps()
        self.times = (self._pts - self._pts[0]) * float(self._stream.time_base)
        self.missing = self._missing()

    def _timestamps(self) -> tuple[np.ndarray, bool, bool]:
        """Return the ascending timestamps of all frames, whether the file is whole, and whether it had them in order."""
        stamps, complete = [], True
        try:
            for packet in self._container.demux(self._stream):
                if packet.size and not packet.is_discard:
                    stamps.append(packet.pts)
                complete &= not packet.is_corrupt
                if len(stamps) > _MAX_PACKETS:
                    raise UserError(f"{self.name}: has more than {_MAX_PACKETS:,} frames. Cut the video.")
        except UserError:
            raise
        except Exception as error:
            if ends_the_run(error):
                raise
            complete = False
        if not stamps:
            raise UserError(f"{self.name}: its video stream holds no frame; the file is cut off. Copy it again.")
        known = np.array([-1 if stamp is None else stamp for stamp in stamps], dtype=np.int64)
        ordered = all(stamp is not None for stamp in stamps) and len(np.unique(known)) == len(known)
        if not ordered:
            rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
            known = np.round(np.arange(len(stamps)) / (rate * float(self._stream.time_base))).astype(np.int64)
        return np.sort(known), complete, ordered

    def _missing(self) -> float:
        """Return the share of the video that the header promises and the file lacks: by frames in MP4, else by duration."""
        if self._stream.frames:
            return max(0.0, 1 - len(self._pts) / self._stream.frames)
        parts = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        if parts is None or len(self.times) < 2:
            return 0.0
        promised = 3600 * int(parts[1]) + 60 * int(parts[2]) + float(parts[3])
        found = self.times[-1] + float(np.median(np.diff(self.times)))
        return max(0.0, 1 - found / promised) if promised else 0.0

    def frames(self, indices: np.ndarray) -> Iterator[Any]:
        """Yield the frame of each index [T], ascending, as FFmpeg's frame; stops early where the file is damaged."""
        wanted = [int(index) for index in indices]
        position, current = 0, -1
        shown = None
        for frame in self._decoded(wanted[0]):
            current = self._index(frame, current)
            while position < len(wanted) and shown is not None and current > wanted[position]:
                yield shown
                position += 1
            shown = frame
            if position == len(wanted):
                return
            if current >= wanted[-1]:
                break
        while position < len(wanted) and shown is not None and current >= wanted[position]:
            yield shown
            position += 1

    def _index(self, frame: Any, before: int) -> int:
        """Return the index of a decoded frame by its timestamp, or the one after the frame before."""
        if not self.ordered or frame.pts is None:
            return before + 1
        return int(np.searchsorted(self._pts, frame.pts, side="right")) - 1

    def _decoded(self, first: int) -> Iterator[Any]:
        """Decode from the start, or from the key frame before index `first`."""
        import av

        decoder = None
        if self._alpha is not None:
            decoder = av.CodecContext.create(self._alpha, "r")
            decoder.extradata = self._stream.codec_context.extradata
        try:
            self._container.seek(int(self._pts[first if self.ordered else 0]), stream=self._stream, backward=True)
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode() if decoder is None else decoder.decode(packet if packet.size else None)
                except (av.error.InvalidDataError, av.error.EOFError):
                    self.complete = False
        except Exception as error:
            if ends_the_run(error) or isinstance(error, UserError):
                raise
            self.complete = False


@contextmanager
def open_video(path: Path, file: BinaryIO, name: str) -> Iterator[VideoFile]:
    """Yield the video stream of an open file. Raises UserError when there is none that can be read."""
    import av

    form = demuxer(file.read(64), name)
    file.seek(0)
    av.logging.set_level(None)
    options = {"codec_whitelist": ",".join(sorted({*DECODERS, *DECODERS.values()}))}
    try:
        container = av.open(file, format=form, container_options=options, metadata_errors="replace")
    except Exception as error:
        if ends_the_run(error):
            raise
        raise UserError(
            f"{name}: cannot be opened ({clean(str(error), 120)}). It is cut off or damaged: copy or export it again."
        ) from None
    with container:
        yield VideoFile(container, name)


def _is_cover(stream: Any) -> bool:
    """Return whether a stream is the picture on the cover of a file rather than a video."""
    return "attached_pic" in str(stream.disposition).lower()


def _only(kinds: list[str]) -> str:
    return f", only {' and '.join(kinds)}" if kinds else ""
