"""What the flow `generate` runs and shows; the flow itself runs in test_flows.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows import processes
from flows.generate import Generation, generate, summary
from tests.pipelines.cube_asset import sliding_cube, write_asset


def test_the_command_has_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ROOT", Path("/checkout"))
    chosen = Generation(video="clips/slide (1).mp4", object_file="cube.glb", clip="slide", seed=3, fov=40.0)
    assert chosen.command() == [
        "gvf",
        "animate",
        "--output=/checkout/work/assets/slide-1",
        "--clip=slide",
        "--seed=3",
        "--candidates=1",
        "--fov=40.0",
        "--device=auto",
        "--size=512",
        "--",
        "cube.glb",
        "clips/slide (1).mp4",
    ]
    alone = Generation(video="walk", output="other", generator="someone/generator").command()
    assert alone[1:4] == ["generate", "--output=/checkout/other", "--model=someone/generator"]
    assert alone[-2:] == ["--", "walk"]


def test_an_asset_that_was_not_logged_is_shown_without_run_and_frames(tmp_path: Path) -> None:
    folder = write_asset(tmp_path / "slide", sliding_cube(tmp_path / "cube.glb"))
    text = summary(folder, {})
    assert f"[index.html](file://{folder}/index.html)" in text
    assert "| frames | 3 |" in text
    assert "| seconds, align | 1.5 |" in text
    assert "| camera's confidence | given |" in text
    assert "MLflow" not in text
    assert "![frames]" not in text
    logged = {"run": {"run_name": "none-cube-0a", "url": "http://mlflow/run"}, "strip": "iVBOR"}
    assert "[none-cube-0a](http://mlflow/run)" in summary(folder, logged)


def test_the_form_shows_every_field_and_wrong_values_are_refused() -> None:
    fields = parameter_schema(generate).model_dump_for_openapi()["definitions"]["Generation"]["properties"]
    assert all(field["description"] for field in fields.values())
    for wrong in (
        {"video": ""},
        {"video": "a.mp4", "candidates": 0},
        {"video": "a.mp4", "clip": "walk"},
        {"video": "a", "x": 1},
    ):
        with pytest.raises(ValidationError):
            Generation.model_validate(wrong)
    assert Generation(video="../..").folder == processes.ROOT / "work/assets/asset"
