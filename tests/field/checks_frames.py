"""Frames to score: read, or refused in words that help."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluation.frame_sets import write_set
from tests.field.fake_programs import put_on_path

CHECKS: dict[str, Callable[..., None]] = {}

# ---- frames to score ----


def _score(frame: Path, folder: Path) -> tuple[int, str, Path]:
    """Exit code, standard error and the place of a frame that `gvf evaluate` meets among a method's predictions."""
    write_set(folder)
    place = folder / "pred/owl/eval_2/9.png"
    shutil.copyfile(frame, place)
    shutil.copyfile(Path(__file__).parents[2] / "params.yaml", folder / "params.yaml")
    arguments = ["evaluate", "--predictions", "pred", "--method", "Peer", "--ground-truth", "gt"]
    done = subprocess.run([sys.executable, "-m", "gvf.cli", *arguments], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stderr, place.relative_to(folder)


def frame_refused_as(words: str) -> Callable[..., None]:
    """A check that the frame is refused by its path in one line."""

    def check(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = put_on_path("gs", tmp_path, monkeypatch)
        code, errors, place = _score(path, tmp_path)
        assert code == 2
        assert f"Error: {place}: {words}" in errors
        assert "Traceback" not in errors
        assert not calls.exists()

    return check


CHECKS |= {
    "frame_eps.png": frame_refused_as("is an EPS (PostScript) file, not a PNG, JPEG or WebP image."),
    "frame_ztxt.png": frame_refused_as("cannot be decoded (a text chunk in it unpacks to more than the 1 MB"),
    "frame_50000.png": frame_refused_as("has too many pixels; at most 67,108,864 (8192 x 8192) are read."),
}
