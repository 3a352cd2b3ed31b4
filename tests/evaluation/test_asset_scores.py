"""Command compare: an asset's folder against the animation that it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gvf.errors import UserError
from gvf.gaussians.ply import save_ply
from gvf.storage.files import sha256
from gvf_evaluation.commands.compare import command
from tests.pipelines.cube_asset import sliding_cube, surface, write_asset


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sliding_cube(tmp_path_factory.mktemp("truth") / "cube.glb")


def compare(folder: Path, truth: Path, *more: str) -> dict:
    """Run the command and return its scores."""
    arguments = [
        str(folder),
        "--truth",
        str(truth),
        "--size",
        "48",
        "--samples",
        "2",
        "--device",
        "cpu",
        "--json",
        *more,
    ]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_perfect_asset_closes_the_gap_in_its_own_unit(cube: Path, tmp_path: Path) -> None:
    scores = compare(write_asset(tmp_path / "perfect", cube), cube, "-o", str(tmp_path / "scores.json"))
    assert scores["gap_closed"] == pytest.approx(1.0, abs=0.01)
    means = {method: scores["methods"][method]["mean"] for method in ("static", "asset", "interpolated")}
    assert means["asset"]["displacement_error"] < 0.01
    assert means["static"]["displacement_error"] == pytest.approx(1.0)
    assert means["asset"]["chamfer"] < 0.3 * means["static"]["chamfer"]
    assert scores["truth"] == {"file": "cube.glb", "sha256": sha256(cube), "clip": "slide"}
    assert scores["times"] == [0.0, 1.0, 2.0]
    assert scores["remarks"] == []
    assert len(scores["methods"]["asset"]["frames"]["psnr"]) == 3
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert {"lpips", "clip"} <= set(scores["absent"]) | set(means["asset"])


def test_an_asset_that_stands_still_closes_nothing(cube: Path, tmp_path: Path) -> None:
    scores = compare(write_asset(tmp_path / "still", cube, share=0.0), cube)
    assert scores["gap_closed"] == pytest.approx(0.0, abs=1e-3)
    assert scores["methods"]["asset"]["mean"]["displacement_error"] == pytest.approx(1.0, abs=1e-3)


def test_the_table_shows_metrics_gap_and_worst_frame(cube: Path, tmp_path: Path) -> None:
    folder = write_asset(tmp_path / "half", cube, share=0.5)
    arguments = [str(folder), "--truth", str(cube), "--size", "48", "--samples", "2", "--quiet"]
    output = CliRunner().invoke(command, arguments, catch_exceptions=False).stdout
    assert output.startswith("half against 'slide' of cube.glb: 3 frames, 4 views of 48 pixels\n")
    lines = {line[:28].strip(): line[28:].split() for line in output.splitlines() if line[28:29] == " "}
    assert lines[""] == ["static", "asset", "interpolated"]
    static, half, interpolated = map(float, lines["PSNR (dB)"])
    assert static < half < interpolated
    assert lines["Displacement error"] == ["1.000", "0.500", "0.000"]
    assert "Worst frame: 2 at 2 s" in output
    assert "Gap closed: " in output


def test_what_makes_scores_hard_to_compare_is_remarked(cube: Path, tmp_path: Path) -> None:
    other = compare(write_asset(tmp_path / "other", cube, sha256="0" * 64), cube)
    assert [remark[:36] for remark in other["remarks"]] == ["The asset was made from another file"]
    assert other["gap_closed"] == pytest.approx(1.0, abs=0.01)
    unknown = compare(write_asset(tmp_path / "unknown", cube, origin="gaussians"), cube)
    assert [remark[:36] for remark in unknown["remarks"]] == ["The asset was not made from a mesh: "]
    short = compare(write_asset(tmp_path / "short", cube, times=(0.0, 1.0)), cube)
    assert short["remarks"] == [
        "The asset ends at 1 s, the clip at 2 s. If its frames are spread over the whole clip, give --times even."
    ]
    even = compare(tmp_path / "short", cube, "--times", "even")
    assert (even["times"], even["remarks"]) == ([0.0, 2.0], [])
    assert np.isclose(even["methods"]["asset"]["mean"]["displacement_error"], 0.5, atol=0.01)


def test_folders_and_clips_that_cannot_be_compared_are_refused(cube: Path, tmp_path: Path) -> None:
    folder = write_asset(tmp_path / "asset", cube)
    for wrong, more, words in (
        (tmp_path, ("--truth", str(cube)), r"manifest.json: there is no such file"),
        (folder, ("--truth", str(tmp_path / "none.glb")), r"none.glb: cannot be read"),
        (folder, ("--truth", str(cube), "--clip", "jump"), r"has no animation 'jump'. It has: slide"),
    ):
        with pytest.raises(UserError, match=words):
            CliRunner().invoke(command, [str(wrong), *more, "--quiet"], catch_exceptions=False)
    save_ply(folder / "canonical.ply", surface()[torch.arange(5)])
    with pytest.raises(UserError, match=r"canonical.ply: has 5 Gaussians"):
        compare(folder, cube)
