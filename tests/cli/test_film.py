"""Command film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gvf.cli.film import command
from gvf.errors import UserError
from tests.data.gltf.gltf_files import sliding_triangle


def test_the_command_films_and_says_what_it_made(tmp_path: Path) -> None:
    path = sliding_triangle("slide", duration=0.5).glb(tmp_path / "a.glb")
    arguments = [str(path), "-o", str(tmp_path / "film"), "--frames", "3", "--size", "32", "--azimuth", "10"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "3 frames of 'slide' at 4 per second, azimuth 10, elevation 0, field of view 49.1" in done.output
    assert "Warning" not in done.output
    done = CliRunner().invoke(command, [*arguments, "--fov", "20"], catch_exceptions=False)
    assert "'slide' touches the border of the picture. Raise --fov" in done.output
    facts = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert (facts["clip"], facts["num_frames"], facts["times"]) == ("slide", 3, [0.0, 0.25, 0.5])
    assert CliRunner().invoke(command, [*arguments, "--quiet"], catch_exceptions=False).output == ""


def test_a_bad_output_or_colour_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    for more, words in ((["-o", "film.avi"], "must end in"), (["-o", "a.mp4", "--background", "x"], "not a colour")):
        with pytest.raises(UserError, match=words):
            CliRunner().invoke(command, [str(tmp_path / "absent.glb"), *more], catch_exceptions=False)
    assert CliRunner().invoke(command, ["a.glb", "-o", "a.mp4", "--elevation", "91"]).exit_code == 2
