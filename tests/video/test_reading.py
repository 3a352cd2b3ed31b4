"""Every kind of video gives the frames that it shows: upright, at their times, with their colours and alpha."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gvf.progress import Progress
from gvf.video.clip import Clip
from gvf.video.folders import natural_key
from gvf.video.high_dynamic_range import tone_mapped
from gvf.video.options import VideoOptions
from gvf.video.reading import read_clip
from gvf.video.writing import write_video
from tests.video.clips import ball, encode, iou, over, write_folder


def read(path: Path, **options: object) -> Clip:
    return read_clip(path, VideoOptions(**options), Progress())


def levels(count: int, size: tuple[int, int] = (48, 32)) -> np.ndarray:
    """Grey frames [T, H, W, 3] whose value tells their number: 20, 40, 60, ..."""
    return np.stack([np.full((size[1], size[0], 3), 20 * (index + 1), np.uint8) for index in range(count)])


def numbers(clip: Clip) -> list[int]:
    """The numbers of frames of `levels`."""
    return [round(float(frame[..., :3].mean()) / 20) - 1 for frame in clip.frames]


@pytest.mark.parametrize(
    ("suffix", "form", "codec"),
    [
        ("mp4", "mp4", "libx264"),
        ("mov", "mov", "libx264"),
        ("mkv", "matroska", "libx264"),
        ("webm", "webm", "libvpx-vp9"),
    ],
)
def test_containers_are_known_by_their_content(tmp_path, suffix, form, codec):
    path = encode(tmp_path / f"video.{suffix}", levels(6), form=form, codec=codec)
    wrong_name = path.rename(tmp_path / "video.bin")
    clip = read(wrong_name)
    assert numbers(clip) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(clip.times, np.arange(6) / 10, atol=1e-3)
    assert clip.rate == pytest.approx(10, rel=1e-3)
    assert clip.source_size == (48, 32)
    assert not clip.has_alpha


@pytest.mark.parametrize(("suffix", "options"), [("gif", {"disposal": 2}), ("webp", {"lossless": True}), ("png", {})])
def test_animated_images_keep_their_times_and_transparency(tmp_path, suffix, options):
    frames = ball(5)
    frames[..., 3] = np.where(frames[..., 3] > 127, 255, 0)
    frames[frames[..., 3] == 0] = 0
    images = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / f"ball.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=[80, 80, 80, 80, 80], loop=0, **options)
    clip = read(path)
    np.testing.assert_allclose(clip.times, np.arange(5) * 0.08, atol=1e-6)
    assert iou(clip.frames[..., 3] > 127, frames[..., 3] > 127) > 0.999


def test_alpha_of_vp9_is_read(tmp_path):
    frames = ball(4)
    write_video(tmp_path / "ball.webm", frames, 8)
    clip = read(tmp_path / "ball.webm")
    assert iou(clip.frames[..., 3] > 127, frames[..., 3] > 127) > 0.97
    inside = frames[..., 3] == 255
    assert np.abs(clip.frames[inside].astype(int) - frames[inside])[:, :3].mean() < 6


@pytest.mark.parametrize("form", ["mp4", "matroska"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_of_phones_is_applied(tmp_path, form, degrees):
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :16, :32] = 220  # the upper left quarter
    path = encode(tmp_path / "video", frames, form=form, rotation=degrees)
    clip = read(path)
    expected = np.rot90(frames, degrees // 90, axes=(1, 2))  # FFmpeg's rotation is counterclockwise, as NumPy's
    assert clip.frames.shape[:3] == expected.shape[:3]
    assert clip.source_size == (expected.shape[2], expected.shape[1])
    assert np.abs(clip.frames[..., :3].astype(int) - expected).mean() < 8


def test_frames_of_a_variable_rate_are_taken_by_their_times(tmp_path):
    times = [0.0, 0.1, 0.2, 0.8, 0.9, 1.0]  # frame 2 stands for 0.6 seconds
    path = encode(tmp_path / "video.mkv", levels(6), form="matroska", times=times)
    clip = read(path, rate=10)
    assert numbers(clip) == [0, 1, 2, 2, 2, 2, 2, 2, 3, 4, 5]
    np.testing.assert_allclose(clip.times, np.arange(11) / 10, atol=1e-6)


def test_a_part_is_sampled_by_count_and_by_rate(tmp_path):
    path = encode(tmp_path / "video.mp4", levels(11), rate=10)
    assert numbers(read(path, frames=3)) == [0, 5, 10]
    assert numbers(read(path, frames=3, start=0.2, end=0.6)) == [2, 4, 6]
    assert numbers(read(path, rate=5)) == [0, 2, 4, 6, 8, 10]
    assert numbers(read(path, start=0.7)) == [7, 8, 9, 10]
    assert numbers(read(path, frames=100)) == list(range(11))  # never a frame twice
    assert read(path, frames=3).rate == pytest.approx(2)
    assert read(path, frames=3, start=0.2, end=0.6).times[0] == pytest.approx(0.2)


@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_frames_between_key_frames_are_found(tmp_path, form):
    """With frames that refer to later ones, packets are not in the order in which frames are shown."""
    options = {"preset": "medium", "crf": "1", "bf": "3", "g": "12", "b-adapt": "0"}
    path = encode(tmp_path / "video", levels(12).repeat(3, 0), form=form, rate=30, options=options)
    assert numbers(read(path)) == np.arange(12).repeat(3).tolist()
    assert numbers(read(path, start=0.79, end=1.01, rate=10)) == [8, 9, 10]
    assert numbers(read(path, frames=4)) == [0, 3, 7, 11]


def test_odd_sizes_and_grey_are_read(tmp_path):
    frames = levels(3, size=(33, 35))
    clip = read(encode(tmp_path / "odd.mkv", frames, form="matroska", pixels="yuv444p"))
    assert clip.frames.shape == (3, 35, 33, 4)
    grey = read(encode(tmp_path / "grey.mov", levels(3)[..., 0], form="mov", pixels="gray", layout="gray", codec="png"))
    assert numbers(grey) == [0, 1, 2]


@pytest.mark.parametrize(("ratio", "size"), [(Fraction(2), (96, 32)), (Fraction(1, 2), (48, 64))])
def test_pixels_that_are_not_square_are_stretched(tmp_path, ratio, size):
    clip = read(encode(tmp_path / "anamorphic.mp4", levels(3), pixel_ratio=ratio))
    assert clip.source_size == size
    assert clip.frames.shape[:3] == (3, size[1], size[0])
    turned = read(encode(tmp_path / "turned.mp4", levels(3), pixel_ratio=ratio, rotation=90))
    assert turned.source_size == size[::-1]


def test_frames_are_reduced_while_they_are_read(tmp_path):
    frames = over(ball(3, size=(192, 128)), 255)
    clip = read(encode(tmp_path / "video.mp4", frames), max_size=48)
    assert clip.frames.shape == (3, 32, 48, 4)
    assert clip.source_size == (192, 128)
    assert clip.scale == 4
    means = frames[0].reshape(32, 4, 48, 4, 3).mean((1, 3))
    assert np.abs(clip.frames[0, ..., :3] - means).mean() < 4


def test_transparent_pixels_do_not_darken_edges_when_frames_are_reduced(tmp_path):
    frames = ball(2, size=(192, 160), radius=60, start=96)
    clip = read(write_folder(tmp_path / "frames", frames), max_size=48)
    half = (clip.frames[..., 3] > 60) & (clip.frames[..., 3] < 200)
    assert half.any()
    assert (np.abs(clip.frames[half][:, 0].astype(int) - 200) <= 3).all()


def test_colour_matrices_follow_the_file(tmp_path):
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    frames[:] = (180, 60, 30)
    write_video(tmp_path / "tagged.mp4", frames, 10)  # BT.709, and says so
    assert np.abs(read(tmp_path / "tagged.mp4").frames[..., :3].astype(int) - frames).max() <= 3
    untagged = encode(
        tmp_path / "untagged.mp4", frames
    )  # swscale's default, BT.601, as players assume for small videos
    assert np.abs(read(untagged).frames[..., :3].astype(int) - frames).max() <= 3


def pq_signal(nits: float) -> float:
    """SMPTE ST 2084's transfer function, forwards."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def luma(signal: float) -> int:
    """The 16-bit code of a luma signal in limited range."""
    return round((16 + 219 * signal) * 256)


def test_tone_mapping_keeps_mid_tones_and_highlights():
    neutral = 128 * 256
    for nits, expected in [(20.3, 89), (0.0, 0), (1000.0, 255)]:  # a tenth of diffuse white is sRGB 89
        planes = np.array([luma(pq_signal(nits)), neutral, neutral], np.uint16).reshape(1, 1, 3)
        assert tone_mapped(planes, 16, full_range=False)[0, 0] == pytest.approx([expected] * 3, abs=1)
    ramp = np.linspace(0, 1, 64)
    planes = np.stack([np.array([luma(one) for one in ramp]), *[np.full(64, neutral)] * 2]).astype(np.uint16)
    for transfer in (16, 18):
        assert (np.diff(tone_mapped(planes.T[None], transfer, False)[0, :, 1].astype(int)) >= 0).all()
    hlg = np.array([luma(0.75), neutral, neutral], np.uint16).reshape(1, 1, 3)  # BT.2408: 0.75 is diffuse white
    white = np.array([luma(pq_signal(203)), neutral, neutral], np.uint16).reshape(1, 1, 3)
    assert tone_mapped(hlg, 18, False)[0, 0] == pytest.approx(tone_mapped(white, 16, False)[0, 0], abs=2)


def test_hdr_video_is_tone_mapped_and_noted(tmp_path):
    codes = np.full((3, 48, 64), round((16 + 219 * pq_signal(20.3)) * 4), np.uint16)
    codes = np.concatenate([codes, np.full((3, 24, 64), 512, np.uint16)], axis=1)  # neutral chroma below
    path = encode(
        tmp_path / "hdr.mp4",
        codes,
        codec="libx265",
        pixels="yuv420p10le",
        layout="yuv420p10le",
        tags=(9, 16, 9),
        options={"x265-params": "log-level=none", "crf": "8"},
        size=(64, 48),
    )
    clip = read(path)
    assert clip.frames.shape == (3, 48, 64, 4)
    assert clip.frames[..., :3].mean() == pytest.approx(89, abs=2)
    assert [finding.code for finding in clip.findings] == ["hdr"]


def test_frames_of_a_folder_are_in_natural_order(tmp_path):
    folder = write_folder(tmp_path / "frames", levels(12))
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    assert numbers(read(folder)) == list(range(12))
    names = ["b10.png", "b9.png", "a.png", "10.png", "9.png", "b9.5.png"]
    assert sorted(names, key=natural_key) == ["9.png", "10.png", "a.png", "b9.5.png", "b9.png", "b10.png"]


def test_the_rate_of_a_folder_is_given_or_written_or_24(tmp_path):
    folder = write_folder(tmp_path / "frames", levels(5))
    assert read(folder).rate == pytest.approx(24)
    (folder / "film.json").write_text('{"frames_per_second": 12.5}')
    assert read(folder).rate == pytest.approx(12.5)
    assert read(folder, folder_rate=8).rate == pytest.approx(8)


def test_grey_16_bit_and_jpeg_frames_are_read(tmp_path):
    folder = tmp_path / "grey"
    folder.mkdir()
    for index, value in enumerate((0x4000, 0x8000)):
        Image.fromarray(np.full((20, 30), value, np.uint16)).save(folder / f"{index}.png")
    assert read(folder).frames[..., 0].mean(axis=(1, 2)).tolist() == [0x40, 0x80]
    assert numbers(read(write_folder(tmp_path / "jpeg", levels(3), ".jpg"))) == [0, 1, 2]


def test_repeated_timestamps_are_replaced(tmp_path):
    """In an MP4 of two frames in decoding order 0, 1, ..., the table of durations says how far they lie apart."""
    path = encode(tmp_path / "video.mp4", levels(6), options={"bf": "0", "preset": "ultrafast"})
    content = path.read_bytes()
    place = content.index(b"stts") + 12  # one entry: number of samples, duration
    path.write_bytes(content[: place + 4] + bytes(4) + content[place + 8 :])
    clip = read(path)
    assert numbers(clip) == list(range(6))
    assert [finding.code for finding in clip.findings] == ["timestamps"]
    assert clip.rate > 0
