"""Weights, downloads, point clouds and frames: read, or refused in words that help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gvf.cli.weights import command
from gvf.errors import UserError
from gvf.gaussians.ply import load_ply
from gvf.weights.containers import read_tensors

CHECKS: dict[str, Callable[..., None]] = {}


# Weights, downloads and point clouds.


def convert(path: Path, folder: Path) -> Result:
    return CliRunner().invoke(command, ["convert", str(path), "--kind", "dit", "-o", str(folder / "out")])


def refused_as(what: str) -> Callable[..., None]:
    """A check that the file is refused under its own name as `what`, without advice to run what it holds."""

    def check(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        result = convert(path, tmp_path)
        assert isinstance(result.exception, UserError)
        text = str(result.exception)
        assert text.startswith(f"{path}: {what}")
        assert "weights_only" not in text
        assert not (tmp_path / "out").exists()

    return check


def converts(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = convert(path, tmp_path)
    assert result.exception is None, result.exception
    assert "kind dit, 13,328 parameters" in result.output


def takes_the_state_dict(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converts(path, tmp_path, monkeypatch)
    plain = read_tensors(path.with_name("dit_tiny.pt"))
    found = read_tensors(tmp_path / "out")
    assert found.keys() == plain.keys() == read_tensors(path).keys()


def is_read(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_ply(path).num_gaussians == 5


def ply_refused(message: str) -> Callable[..., None]:
    def check(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UserError, match=message):
            load_ply(path)

    return check


def sound_downloads_only(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=True)
    results = {line.split(" -> ")[0]: line.split(" -> ")[1] for line in done.stdout.splitlines() if " -> " in line}
    sound = {name for name, result in results.items() if result.startswith("done")}
    assert sound == {name for name in results if name.split("_")[0] in ("ok", "resume", "whole", "larger")}
    assert all(results[name].endswith("right") for name in sound)
    assert all(result.startswith("refused") for name, result in results.items() if name not in sound)
    assert len(results) == 14
    assert "TRACEBACK" not in done.stdout


CHECKS |= {
    "lfs_pointer.pt": refused_as("a Git LFS pointer"),
    "lfs_pointer.safetensors": refused_as("a Git LFS pointer"),
    "html.pt": refused_as("a web page"),
    "dit_tiny.pt": converts,
    "dit_state_dict_beside_torch_ema.pt": takes_the_state_dict,
    "crlf.ply": is_read,
    "nan.ply": ply_refused("row 0: property x is nan"),
    "duplicate_property.ply": ply_refused("property x of element vertex twice"),
    "bad_downloads.py": sound_downloads_only,
}
