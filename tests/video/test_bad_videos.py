"""Files that are no usable video are refused quickly, with what is wrong and what to do."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gvf.errors import UserError
from gvf.progress import Progress
from gvf.video.options import VideoOptions
from gvf.video.preparation import prepare_video
from gvf.video.reading import read_clip
from gvf.video.writing import write_video
from tests.video.clips import Heard, ball, encode, over, write_folder


def refused(path: Path, **options: object) -> str:
    with pytest.raises(UserError) as error:
        prepare_video(path, VideoOptions(**options), Progress())
    assert str(path) in str(error.value)
    assert str(error.value).rstrip().endswith((".", ".png.")), str(error.value)
    return str(error.value)


def video(path: Path, count: int = 8, **more: object) -> Path:
    return encode(path, over(ball(count), 255), **more)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"Hello, I am no video.\n" * 9, "is a text file"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "is a playlist"),
        (b"ffconcat version 1.0\nfile 'other.mp4'\n", "is a playlist"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "is an AVI file"),
        (b"PK\x03\x04" + bytes(60), "is a ZIP archive"),
        (bytes(64), "has no content that is known"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "cut off or damaged"),
        (b"\x1a\x45\xdf\xa3" + bytes(200), "cut off or damaged"),
        (b"GIF89a" + bytes(50), "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "still image"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, reason):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert reason in refused(path)


def test_a_missing_file_and_a_pipe_are_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "neither a file nor a folder" in refused(tmp_path / "pipe.mp4")


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "no video stream, only audio" in refused(path)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(800))
    assert "sound only" in refused(tmp_path / "sound.wav")


def test_one_frame_is_refused(tmp_path):
    assert "only one frame" in refused(video(tmp_path / "one.mp4", 1))
    Image.fromarray(ball(1)[0]).save(tmp_path / "one.png")
    assert "still image" in refused(tmp_path / "one.png")
    assert "only one image" in refused(write_folder(tmp_path / "one", ball(1)))


def test_cut_off_files_are_refused(tmp_path):
    end = video(tmp_path / "end.mp4", 40)
    end.write_bytes(end.read_bytes()[:-600])  # the index at the end is lost
    assert "cut off or damaged" in refused(end)
    front = video(tmp_path / "front.mp4", 40, container={"movflags": "faststart"})
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 6 // 10])
    assert "cut off or damaged" in refused(front)
    long = video(tmp_path / "long.mkv", 60, form="matroska", options={"g": "10", "crf": "5"})
    long.write_bytes(long.read_bytes()[: long.stat().st_size * 6 // 10])
    message = refused(long)
    assert "of it is missing" in message
    end = float(message.split("--end ")[1].rstrip("."))
    assert len(prepare_video(long, VideoOptions(size=32, end=end), Heard()).frames) == round(10 * end) + 1


def test_a_slightly_cut_off_file_is_used_with_a_warning(tmp_path):
    path = video(tmp_path / "front.mp4", 40, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-40])
    heard = Heard()
    result = prepare_video(path, VideoOptions(size=32), heard)
    assert len(result.frames) >= 36
    assert any("cut off or damaged" in warning for warning in heard.warnings)


def test_too_many_frames_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    path = encode(tmp_path / "long.mp4", np.zeros((1, 16, 16, 3), np.uint8).repeat(3000, 0), rate=30)
    monkeypatch.setattr("gvf.video.containers.VideoFile._decoded", lambda *_: pytest.fail("decoded"))
    message = refused(path)
    assert "3,000 frames (99.97 seconds)" in message
    assert "--frames 240" in message
    assert "--rate 2.4" in message


def test_advice_about_too_many_frames_works(tmp_path):
    path = encode(tmp_path / "long.mp4", np.zeros((1, 16, 16, 3), np.uint8).repeat(300, 0), rate=30)
    assert "--rate 5" in refused(path, max_frames=60)
    assert len(read_clip(path, VideoOptions(rate=5, max_frames=60), Progress()).frames) == 50
    assert len(read_clip(path, VideoOptions(frames=60, max_frames=60), Progress()).frames) == 60


def test_8k_frames_are_reduced(tmp_path):
    frames = np.full((2, 4320, 7680, 3), 255, np.uint8)
    frames[0, 1000:3000, 2000:4000] = (200, 30, 40)
    frames[1, 1000:3000, 2400:4400] = (200, 30, 40)
    result = prepare_video(encode(tmp_path / "8k.mp4", frames), VideoOptions(size=64), Progress())
    assert result.source_size == (7680, 4320)
    left, top, side = result.crops[0].tolist()
    assert side == pytest.approx(1.2 * 2400, rel=0.02)
    assert left + side / 2 == pytest.approx(3200, abs=16)
    assert top + side / 2 == pytest.approx(2000, abs=16)


def test_frames_of_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    path = video(tmp_path / "huge.mp4", 2)
    monkeypatch.setattr("gvf.video.containers.MAX_PIXELS", 96 * 80 - 1)
    assert "has 96 x 80 pixels" in refused(path)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "png"])
def test_damaged_bytes_are_refused_or_read_but_never_crash(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    if suffix in ("gif", "png"):
        images = [Image.fromarray(frame) for frame in ball(5)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=80)
    else:
        write_video(path, ball(5) if suffix == "webm" else over(ball(5), 255), 10)
    content, random = path.read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(40):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = random.integers(0, len(damaged), random.choice([1, 4, 30]))
        damaged[places] = random.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            clip = read_clip(path, VideoOptions(), Progress())
            outcomes.add(clip.frames.shape[3] == 4)
        except UserError as error:
            outcomes.add(str(path) in str(error))
    assert outcomes == {True}


def test_an_animated_image_that_unpacks_to_very_much_is_refused(tmp_path):
    path = tmp_path / "bomb.gif"
    frames = [Image.new("L", (8, 8), index) for index in range(200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content = bytearray(path.read_bytes())
    content[6:10] = (8000).to_bytes(2, "little") * 2  # the size of the canvas
    path.write_bytes(content)
    assert "frames of 8000 x 8000 pixels are too much" in refused(path)


def test_other_codecs_are_refused(tmp_path):
    path = encode(tmp_path / "old.mkv", over(ball(3), 255), form="matroska", codec="ffv1")
    assert "codec ffv1 is not read" in refused(path)


def test_a_part_without_frames_is_refused(tmp_path):
    path = video(tmp_path / "short.mp4")
    assert "ends at 0.7 seconds" in refused(path, start=5)
    assert "--rate 0.5 takes one frame" in refused(path, rate=0.5)


def test_folders_without_frames_are_refused(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "no PNG, JPEG or WebP image" in refused(folder)
    (folder / "walk.mp4").write_bytes(b"x")
    assert "Give the video itself" in refused(folder)


def test_folders_with_broken_or_different_frames_are_refused(tmp_path):
    folder = write_folder(tmp_path / "frames", ball(4))
    Image.new("RGBA", (50, 40)).save(folder / "2.png")
    assert "different sizes: 0.png has 96 x 80 pixels, 2.png 50 x 40" in refused(folder)
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "2.png" in refused(folder)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    folder = write_folder(tmp_path / "frames", ball(3))
    Image.fromarray(ball(1)[0]).save(tmp_path / "secret.png")
    (folder / "3.png").symlink_to(tmp_path / "secret.png")
    assert "3.png: is a link to a file outside of the folder" in refused(folder)
    (folder / "3.png").unlink()
    (folder / "3.png").symlink_to(folder / "2.png")
    assert len(prepare_video(folder, VideoOptions(size=32), Progress()).frames) == 4


def test_a_film_description_must_hold_a_rate(tmp_path):
    folder = write_folder(tmp_path / "frames", ball(3))
    for text in ('{"frames_per_second": "fast"}', "[]", "{", '{"frames_per_second": NaN}', "[" * 100000):
        (folder / "film.json").write_text(text)
        assert "film.json" in refused(folder)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"frames": 1}, "--frames must be between 2"),
        ({"frames": 4, "rate": 2.0}, "cannot be combined"),
        ({"start": 2.0, "end": 1.0}, "--end must be later"),
        ({"rate": float("nan")}, "--rate must be between"),
        ({"crop": "object"}, "--crop must be one of video, frame"),
        ({"matting": "magic"}, "--matting must be one of"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, part):
    with pytest.raises(UserError, match=part):
        VideoOptions(**options)
