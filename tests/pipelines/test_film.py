"""Filming an animated model: what the camera sees, when, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gvf.errors import UserError
from gvf.pipelines.film import Film, FilmOptions, check_output, film, over_color, parse_color, save_film
from gvf.progress import Progress
from tests.data.gltf.gltf_files import GltfFile, cube_mesh, sliding_triangle

SMALL = FilmOptions(frames=5, size=64, samples=2)


@pytest.fixture(scope="module")
def sliding_cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of side 1 that slides by 1 along x from second 2 to second 4."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file))
    clip = file.animation("slide")
    file.channel(clip, node, "translation", [2.0, 4.0], [[10, 0, 0], [11, 0, 0]])
    return file.glb(tmp_path_factory.mktemp("film") / "cube.glb")


@pytest.fixture(scope="module")
def made(sliding_cube: Path) -> Film:
    return film(sliding_cube, None, SMALL, Progress())


def _span(alpha: np.ndarray) -> tuple[float, float]:
    """Return the first and last column that shows anything, as shares of the width."""
    columns = np.flatnonzero(alpha.any(axis=0))
    return columns[0] / alpha.shape[1], (columns[-1] + 1) / alpha.shape[1]


def test_the_object_is_seen_as_training_videos_show_it(made: Film) -> None:
    """The box over all frames is 2 x 1 x 1, so the cube's side is 0.5 and its front face 1.75 from the camera."""
    focal = 0.5 / np.tan(np.deg2rad(49.1 / 2))
    outer = focal * 0.5 / 1.75
    for frame, expected in ((0, (0.5 - outer, 0.5)), (-1, (0.5, 0.5 + outer)), (2, (0.5 - outer / 2, 0.5 + outer / 2))):
        assert _span(made.frames[frame][..., 3]) == pytest.approx(expected, abs=1.1 / 64)
    assert made.side == pytest.approx(2.0)
    assert made.center == pytest.approx((10.5, 0.0, 0.0))
    assert not made.touches_border


def test_the_camera_goes_around_and_up(sliding_cube: Path) -> None:
    """From +x the cube comes nearer; from above it is seen at the right height; a narrow lens cuts it off."""
    side = film(sliding_cube, None, replace(SMALL, azimuth=90.0), Progress()).frames[..., 3]
    focal = 0.5 / np.tan(np.deg2rad(49.1 / 2))
    for frame, distance in ((0, 2.0), (-1, 1.5)):  # of the near face
        half = focal * 0.25 / distance
        assert _span(side[frame]) == pytest.approx((0.5 - half, 0.5 + half), abs=1.1 / 64)
    above = film(sliding_cube, None, replace(SMALL, elevation=90.0), Progress()).frames[..., 3]
    assert _span(above[0]) == pytest.approx((0.5 - focal * 0.5 / 1.75, 0.5), abs=1.1 / 64)
    assert film(sliding_cube, None, replace(SMALL, fov=20.0), Progress()).touches_border


def test_frames_span_the_clip_or_follow_a_rate(sliding_cube: Path, made: Film) -> None:
    assert made.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert made.frames_per_second == 2.0
    at_rate = film(sliding_cube, None, replace(SMALL, frames=None, frames_per_second=1.0), Progress())
    assert at_rate.times.tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(at_rate.frames, made.frames[::2])
    first = film(sliding_cube, None, replace(SMALL, frames=2, frames_per_second=1.0), Progress())
    assert first.times.tolist() == [0.0, 1.0]
    with pytest.raises(UserError, match=r"lasts 2 s, which at 1 frames per second is 3 of them, not 4"):
        film(sliding_cube, None, replace(SMALL, frames=4, frames_per_second=1.0), Progress())
    with pytest.raises(UserError, match=r"is 1 of them, not 2\. Raise --fps"):
        film(sliding_cube, None, replace(SMALL, frames=None, frames_per_second=0.25), Progress())
    with pytest.raises(UserError, match="10001 frames of 64 x 64 pixels are too many"):
        film(sliding_cube, None, replace(SMALL, frames=None, frames_per_second=1e6), Progress())


def test_a_folder_holds_frames_with_alpha_and_their_facts(made: Film, sliding_cube: Path, tmp_path: Path) -> None:
    save_film(made, tmp_path / "film", None)
    names = sorted(path.name for path in (tmp_path / "film").iterdir())
    assert names == [*(f"{number:04d}.png" for number in range(5)), "film.json"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "film/0003.png")), made.frames[3])
    facts = json.loads((tmp_path / "film/film.json").read_text())
    assert facts["clip"] == "slide"
    assert facts["times"] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert facts["camera"] == {"azimuth": 0.0, "elevation": 0.0, "radius": 2.0, "fov": 49.1, "shift": [0.0, 0.0]}
    save_film(replace(made, frames=made.frames[:2]), tmp_path / "film", (0, 0, 0))  # a film may be replaced
    assert len([*(tmp_path / "film").iterdir()]) == 3
    assert np.asarray(Image.open(tmp_path / "film/0001.png")).shape == (64, 64, 3)


def test_videos_have_the_clip_s_rate_and_the_background(made: Film, tmp_path: Path) -> None:
    uneven = replace(made, frames_per_second=23 / 1.3)
    save_film(uneven, tmp_path / "a.mp4", (0, 0, 255))
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert float(video.streams.video[0].average_rate) == pytest.approx(23 / 1.3, rel=1e-3)
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 5
    expected = over_color(made.frames, (0, 0, 255)).astype(float)
    assert np.abs(np.stack(frames) - expected).mean() < 4.0
    save_film(uneven, tmp_path / "a.gif", None)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 5
        assert gif.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
        durations = []
        for number in range(5):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert sum(durations) == pytest.approx(1000 * 5 * 1.3 / 23, abs=5)


def test_an_output_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    (tmp_path / "file").touch()
    for output, size, words in (
        ("mine", 64, "holds other files"),
        ("file", 64, "is a file"),
        ("film.avi", 64, "must end in .mp4, .webm, .gif, or be a folder"),
        ("film.mp4", 65, "needs an even --size"),
    ):
        with pytest.raises(UserError, match=words):
            check_output(tmp_path / output, size)
    check_output(tmp_path / "film.gif", 65)
    with pytest.raises(UserError, match="'bluish' is not a colour"):
        parse_color("bluish")


def test_a_clip_without_motion_or_of_another_name_is_refused(tmp_path: Path, sliding_cube: Path) -> None:
    still = sliding_triangle("pose", duration=1.0)
    still.json["animations"][0]["channels"] = []
    still.json["animations"][0]["samplers"] = []
    still.channel(0, 0, "translation", [0.0], [[0, 0, 0]])
    with pytest.raises(UserError, match="'pose' has a single keyframe, so nothing moves"):
        film(still.glb(tmp_path / "still.glb"), None, SMALL, Progress())
    with pytest.raises(UserError, match=r"has no animation .walk.\. It has: slide"):
        film(sliding_cube, "walk", SMALL, Progress())
