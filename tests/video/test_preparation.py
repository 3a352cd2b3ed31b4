"""A prepared video: masks, one square around the object, findings with advice, and the contact sheet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gvf.errors import UserError
from gvf.video.contact_sheet import contact_sheet
from gvf.video.cropping import cut, object_boxes, square_crops
from gvf.video.findings import named_frames
from gvf.video.input_video import InputVideo
from gvf.video.options import VideoOptions
from gvf.video.preparation import prepare_video
from tests.video.clips import Heard, ball, encode, iou, onnx_network, over, write_folder


def prepared(path, **options):
    heard = Heard()
    video = prepare_video(path, VideoOptions(**{"size": 64, **options}), heard)
    assert heard.warnings == [finding.message for finding in video.findings if finding.severity == "warning"]
    return video


def codes(video):
    """The codes of warnings; `small` is left out, since the tests' objects are small."""
    return [finding.code for finding in video.findings if finding.severity == "warning" and finding.code != "small"]


def finding(video, code):
    return next(one for one in video.findings if one.code == code)


@pytest.fixture
def folder(tmp_path):
    return lambda frames: write_folder(tmp_path / f"frames{len(list(tmp_path.iterdir()))}", frames)


def test_rgba_frames_become_one_square_around_the_whole_motion(folder):
    frames = ball(8)  # discs of radius 14 whose centres go from 24 to 52, at 40
    video = prepared(folder(frames))
    assert video.matting == "alpha"
    assert codes(video) == []
    left, top, side = video.crops[0].tolist()
    assert (video.crops == video.crops[0]).all()
    assert side == pytest.approx(1.2 * (52 - 24 + 28), abs=2)
    assert left + side / 2 == pytest.approx((24 + 52) / 2, abs=1)
    assert top + side / 2 == pytest.approx(40, abs=1)
    assert video.source_size == (96, 80)
    assert video.frames.shape == (8, 64, 64, 4)
    assert video.frames.dtype == np.uint8
    assert video.frames_per_second == pytest.approx(24)
    scale = 64 / side
    for index in (0, 7):  # the disc is where the crop says
        rows, columns = np.nonzero(video.frames[index, ..., 3] > 127)
        assert columns.mean() + 0.5 == pytest.approx((24 + 4 * index - left) * scale, abs=0.5)
        assert rows.mean() + 0.5 == pytest.approx((40 - top) * scale, abs=0.5)
    assert (video.frames[video.frames[..., 3] == 0] == 0).all()


def test_the_alpha_of_round_corners_is_no_mask(folder):
    frames = np.dstack([over(ball(1), 255)[0], np.full((80, 96), 255, np.uint8)])[None].repeat(4, 0)
    frames[:, :2, :2, 3] = 0
    frames[1:, 38:42, 22:26, 2] = 200  # something changes
    path = folder(frames)
    assert prepared(path).matting == "key"
    assert prepared(path, matting="alpha").matting == "alpha"


def test_a_crop_for_each_frame_follows_the_object(folder):
    video = prepared(folder(ball(8)), crop="frame", margin=0.5)
    assert np.abs(video.crops[:, 2] - 56).max() <= 2
    assert np.diff(video.crops[1:, 0]).mean() == pytest.approx(4, abs=0.3)
    centres = [np.nonzero(frame[..., 3] > 127)[1].mean() for frame in video.frames]
    assert np.ptp(centres) < 1.5


def test_outside_the_picture_is_transparent():
    frame = np.full((10, 10, 4), 255, np.uint8)
    image = cut(frame, np.array([-10, -10, 20]), 20)
    assert (image[11:, 11:] == 255).all()
    assert (image[:9] == 0).all()
    assert (image[:, :9] == 0).all()


def test_frames_that_show_nothing_take_the_square_of_the_frame_before():
    alphas = ball(4)[..., 3].copy()
    alphas[2] = 0
    boxes = object_boxes(alphas)
    assert np.isnan(boxes[2]).all()
    crops = square_crops(boxes, 0.1, "frame")
    np.testing.assert_array_equal(crops[2], crops[1])
    assert (crops[3] != crops[2]).any()


@pytest.mark.parametrize("background", [255, 0, (0, 177, 64), "gradient"])
def test_plain_backgrounds_are_keyed(tmp_path, background):
    frames = ball(6, size=(192, 160), radius=32, start=60, step=8)
    if background == "gradient":
        background = np.linspace(200, 245, 192)[None, :, None] - np.linspace(0, 20, 160)[:, None, None]
    path = encode(tmp_path / "video.mp4", over(frames, np.array(background)), options={"crf": "23"})
    video = prepared(path, size=128)
    assert video.matting == "key"
    assert codes(video) == []
    truth = prepared(write_folder(tmp_path / "truth", frames), size=128)
    for ours, theirs in zip(video.frames, truth.frames):
        assert iou(ours[..., 3] > 127, theirs[..., 3] > 127) > 0.95


def test_two_pieces_a_cut_and_a_standing_picture_are_noticed(folder):
    two = np.maximum(ball(6), ball(6)[:, :, ::-1])
    two[:, :, 40:56] = 0
    video = prepared(folder(two))
    assert codes(video) == ["pieces"]
    assert "several pieces" in finding(video, "pieces").message
    other = ball(6, radius=30, start=48, step=1)
    other[..., :3] = np.where(other[..., 3:] > 0, (20, 200, 90), 0)
    video = prepared(folder(np.concatenate([ball(6), other])))
    assert codes(video) == ["cut"]
    assert finding(video, "cut").frames == (6,)
    assert "--end 0.208" in finding(video, "cut").message
    video = prepared(folder(ball(1).repeat(4, 0)))
    assert codes(video) == ["still"]


def test_an_object_at_the_border_is_noticed(folder):
    video = prepared(folder(ball(8, start=50, step=6)))
    assert codes(video) == ["border"]
    assert "right border" in finding(video, "border").message
    assert finding(video, "border").frames == (6, 7)
    full = np.full((3, 40, 40, 3), 90, np.uint8)
    full[1:, :20] = 120
    assert prepared(folder(full), matting="none").matting == "none"


def test_transparent_frames_are_refused_or_noticed(folder):
    frames = ball(6)
    with pytest.raises(UserError, match="fully transparent in all frames"):
        prepared(folder(frames * 0))
    late = frames.copy()
    late[:2] = 0
    with pytest.raises(UserError, match=r"at its beginning. Start when the object is there: --start 0\.0833"):
        prepared(folder(late))
    gap = frames.copy()
    gap[4] = 0
    video = prepared(folder(gap))
    assert codes(video) == ["empty"]
    assert finding(video, "empty").frames == (4,)


def test_small_objects_are_noticed_and_tiny_ones_refused(folder):
    assert "small" in [one.code for one in prepared(folder(ball(4))).findings]
    with pytest.raises(UserError, match="only 6 pixels large"):
        prepared(folder(ball(4, radius=3)))
    large = prepared(folder(ball(3, size=(320, 300), radius=100, start=140)))
    assert [one.code for one in large.findings] == []


def test_a_background_that_is_not_plain_needs_a_network(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (80, 96, 3))
    path = encode(tmp_path / "video.mp4", over(ball(4), noise))
    with pytest.raises(UserError, match="background is not plain"):
        prepared(path, matting="key")
    with pytest.raises(UserError, match="no transparency"):
        prepared(path, matting="alpha")
    monkeypatch.setattr("gvf.video.saliency.DISTRIBUTION", "no-such-distribution")
    with pytest.raises(UserError, match=r"video.mp4: The background is not plain.*--matting-model"):
        prepared(path)


def test_a_network_cuts_the_object_out_and_keeps_to_it(tmp_path):
    """The network finds what is bright: the disc, and from frame 2 on a second, larger bright square elsewhere."""
    model = onnx_network(tmp_path / "bright.onnx", side=64)
    dark = np.random.default_rng(0).integers(0, 60, (80, 96, 3))
    frames = ball(6)
    frames[..., :3] = np.where(frames[..., 3:] > 0, 250, 0)
    pictures = over(frames, dark)
    pictures[2:, 50:78, 66:94] = 250
    video = prepared(encode(tmp_path / "video.mp4", pictures), matting_model=model, crop="frame")
    assert video.matting == "network"
    assert video.crops[:, 0].max() < 50 - 14
    assert video.crops[:, 2].max() < 45
    assert finding(video, "network").severity == "note"


def test_frames_are_wrapped_unchanged():
    frames = torch.randint(0, 255, (3, 16, 16, 4), dtype=torch.uint8)
    video = InputVideo.from_frames(frames, 8)
    np.testing.assert_array_equal(video.frames, frames.numpy())
    assert InputVideo.from_frames(video.frames, 8).frames is video.frames
    assert video.times.tolist() == [0, 0.125, 0.25]
    assert video.crops.tolist() == [[0, 0, 16]] * 3
    for wrong in (frames.float(), frames[..., :3], frames[:, :8], frames[:1]):
        with pytest.raises(UserError):
            InputVideo.from_frames(wrong, 8)
    with pytest.raises(UserError, match="must be positive"):
        InputVideo.from_frames(frames, 0)


def test_the_contact_sheet_shows_every_frame_on_a_checkerboard(folder):
    video = prepared(folder(ball(10)))
    sheet = contact_sheet(video)
    assert sheet.shape == (2 * 182 + 4, 8 * 164 + 4, 3)
    for index in (0, 9):
        left, top = 4 + index % 8 * 164, 4 + index // 8 * 182
        tile = sheet[top : top + 160, left : left + 160].astype(int)
        red = (tile[..., 0] > 150) & (tile[..., 1] < 110)
        seen = Image.fromarray(video.frames[index, ..., 3]).resize((160, 160), Image.Resampling.BOX)
        assert iou(red, np.asarray(seen) > 127) > 0.9
        assert {214, 255} <= set(tile[..., 2].ravel().tolist())
        caption = sheet[top + 160 : top + 178, left : left + 160]
        assert (caption < 128).any()


def test_frames_are_named_in_spans():
    assert named_frames([3], 9) == "in frame 3"
    assert named_frames([0, 1, 2, 5], 9) == "in frames 0-2, 5"
    assert named_frames([0, 1], 2) == "in all frames"
    assert named_frames(range(0, 40, 2), 40).endswith("8, 10, ...")
