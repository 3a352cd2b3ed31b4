"""The published layout is read as its script reads it; whatever does not fit is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gvf.errors import UserError
from gvf_evaluation.frame_folders import check_ground_truth, pair_folders
from gvf_evaluation.frames import over_white, read_frame, resized
from gvf_evaluation.protocols import CONSISTENT4D, GVF, find_protocol
from tests.evaluation.frame_sets import FRAMES, SIZE, true_frame, write_set


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(published, tmp_path / "set")
    return tmp_path / "set"


def test_frames_are_sorted_as_numbers_and_paired_by_them(folder: Path) -> None:
    for path in (folder / "pred/owl/eval_3").glob("*.png"):
        path.rename(path.with_name(f"{int(path.stem):05d}.png"))  # leading zeros are the same numbers
    (folder / "gt/fox/.DS_Store").touch()
    (folder / "gt/fox/eval_0/.DS_Store").touch()
    pairs = pair_folders(folder / "pred", folder / "gt", CONSISTENT4D)
    assert [pair.name for pair in pairs] == ["fox", "owl"]
    for pair in pairs:
        assert pair.size == SIZE
        for side in (pair.predictions, pair.ground_truth):
            assert [[int(path.stem) for path in view] for view in side] == [list(range(FRAMES))] * 4
            assert [view[0].parent.name for view in side] == [f"eval_{view}" for view in range(4)]
    names, digest = check_ground_truth(folder / "gt", GVF)
    assert names == ["fox", "owl"]
    assert len(digest) == 64


def _resize(path: Path, size: tuple[int, int]) -> None:
    Image.open(path).resize(size).save(path)


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing frame": (
        lambda s: (s / "pred/fox/eval_1/17.png").unlink(),
        r"pred/fox/eval_1: 31 frames, .* 17\.png missing",
    ),
    "a missing true frame": (
        lambda s: (s / "gt/owl/eval_0/3.png").unlink(),
        r"gt/owl/eval_0: 31 frames.* 3\.png missing",
    ),
    "a frame too many": (
        lambda s: shutil.copy(s / "pred/fox/eval_1/0.png", s / "pred/fox/eval_1/32.png"),
        "eval_1: 33 frames, expected 32",
    ),
    "an empty view": (lambda s: [p.unlink() for p in (s / "pred/fox/eval_2").iterdir()], "eval_2: 0 frames"),
    "a missing view": (lambda s: shutil.rmtree(s / "pred/owl/eval_2"), "pred/owl/eval_2: missing view"),
    "an extra view": (lambda s: shutil.copytree(s / "pred/owl/eval_2", s / "pred/owl/eval_4"), "eval_4: extra view"),
    "an extra object": (lambda s: shutil.copytree(s / "pred/owl", s / "pred/cat"), "pred/cat: extra object"),
    "a missing object": (lambda s: shutil.rmtree(s / "pred/owl"), "pred/owl: missing object"),
    "other numbers": (
        lambda s: [(s / f"pred/fox/eval_{v}/0.png").rename(s / f"pred/fox/eval_{v}/32.png") for v in range(4)],
        r"pred/fox: frames 1\.png to 32\.png, the ground truth has 0\.png to 31\.png",
    ),
    "other numbers in one view": (
        lambda s: (s / "pred/fox/eval_2/0.png").rename(s / "pred/fox/eval_2/32.png"),
        "pred/fox: its views have frames of different numbers",
    ),
    "a number twice": (
        lambda s: shutil.copy(s / "pred/fox/eval_2/1.png", s / "pred/fox/eval_2/01.png"),
        "has the same number as",
    ),
    "a name that is no number": (
        lambda s: (s / "pred/fox/eval_2/1.png").rename(s / "pred/fox/eval_2/frame_1.png"),
        r"frame_1\.png: not named <int>\.png",
    ),
    "one frame of another size": (
        lambda s: _resize(s / "pred/owl/eval_2/9.png", (10, 10)),
        r"pred/owl/eval_2/9\.png: 10 x 10 pixels, most of the object's are 20 x 20",
    ),
    "all frames of another size": (
        lambda s: [_resize(path, (24, 24)) for path in (s / "pred/owl").rglob("*.png")],
        "pred/owl: frames of 24 pixels per side, the ground truth has 20",
    ),
    "frames that are not square": (
        lambda s: [_resize(path, (24, 20)) for path in (s / "pred/owl").rglob("*.png")],
        "24 x 20 pixels, frames must be square",
    ),
    "a file that is not an image": (
        lambda s: (s / "pred/owl/eval_2/9.png").write_text("no"),
        r"9\.png: is not a PNG, JPEG or WebP image",
    ),
    "no folder": (lambda s: shutil.rmtree(s / "gt"), "gt: no such folder.*drive.google.com"),
    "an empty folder": (lambda s: [shutil.rmtree(p) for p in (s / "pred").iterdir()], "contains no object folder"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_whatever_does_not_fit_is_refused_by_name(folder: Path, kind: str) -> None:
    breaking, words = BREAKS[kind]
    breaking(folder)
    with pytest.raises(UserError, match=f"(?s){words}"):
        pair_folders(folder / "pred", folder / "gt", CONSISTENT4D)


def test_many_problems_are_counted_and_the_first_are_told(folder: Path) -> None:
    for view in range(4):
        for name in ("fox", "owl"):
            for frame in (3, 5):
                (folder / f"pred/{name}/eval_{view}/{frame}.png").unlink()
                (folder / f"gt/{name}/eval_{view}/{frame}.png").unlink()
    with pytest.raises(UserError, match="16 problems") as caught:
        pair_folders(folder / "pred", folder / "gt", CONSISTENT4D)
    assert len(str(caught.value).splitlines()) == 12
    assert "and 6 more" in str(caught.value)
    with pytest.raises(UserError, match="8 problems"):
        check_ground_truth(folder / "gt", CONSISTENT4D)


def test_frames_are_put_over_white(tmp_path: Path) -> None:
    rgba = true_frame("fox", 0, 3)
    path = tmp_path / "0.png"
    Image.fromarray(rgba).save(path)
    alpha = rgba[..., 3:] / 255
    expected = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha))
    np.testing.assert_array_equal(read_frame(path), expected)
    assert read_frame(path)[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(over_white(rgba), expected)
    for mode in ("RGB", "L", "P"):
        Image.fromarray(rgba[..., :3]).convert(mode).save(path)
        np.testing.assert_array_equal(read_frame(path), np.asarray(Image.open(path).convert("RGB")))
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(UserError, match="8-bit RGB or RGBA"):
        read_frame(path)
    Image.fromarray(rgba).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="cannot be decoded"):
        read_frame(path)


def test_the_default_filter_is_pil_s_bicubic() -> None:
    frame = true_frame("fox", 0, 3)[..., :3]
    for size in (7, SIZE, 48):
        expected = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(resized(frame, size), expected)


def test_protocols_say_what_the_published_code_does() -> None:
    for protocol in (CONSISTENT4D, GVF):
        assert (protocol.num_views, protocol.num_frames, protocol.image_size) == (4, 32, 512)
        assert protocol.cameras.azimuths == (-75.0, 15.0, 105.0, 195.0)
        assert (protocol.cameras.elevation, protocol.cameras.radius, protocol.cameras.fov) == (0.0, 2.0, 49.1)
        assert find_protocol(protocol.name) is protocol
    assert (CONSISTENT4D.white, CONSISTENT4D.data_range) == (255.0, None)
    assert (GVF.white, GVF.data_range) == (1.0, 1.0)
    assert len(CONSISTENT4D.objects) == 7
    with pytest.raises(UserError, match="Choose one of consistent4d, gvf"):
        find_protocol("stag4d")


def test_a_real_video_of_rgba_frames(shared: Path, tmp_path: Path) -> None:
    """Consistent4D's own input frames, 1080 x 1080, the mask as alpha, as all four views of an object."""
    for side in ("gt", "pred"):
        for view in range(4):
            (tmp_path / side / "rose").mkdir(parents=True, exist_ok=True)
            (tmp_path / side / f"rose/eval_{view}").symlink_to(shared / "data/consistent4d_demo/blooming_rose")
    (pair,) = pair_folders(tmp_path / "pred", tmp_path / "gt", CONSISTENT4D)
    assert pair.size == 1080
    assert [path.name for path in pair.ground_truth[0][8:12]] == ["8.png", "9.png", "10.png", "11.png"]
    rgba = np.asarray(Image.open(pair.ground_truth[0][11])).astype(float)
    assert set(np.unique(rgba[..., 3])) == {0, 255}
    expected = rgba[..., :3] * rgba[..., 3:] / 255 + 255 - rgba[..., 3:]
    np.testing.assert_allclose(read_frame(pair.ground_truth[0][11]), expected, rtol=0, atol=0.5 + 1e-3)
