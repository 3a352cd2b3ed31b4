"""A video that cannot be used is refused by `gvf animate` and `gvf generate` at once: before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.video.clips import ball, encode, over

# Runs the command in a process of its own, and says at its end whether torch was imported.
COMMAND = (
    "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
    "from gvf.cli.main import main; sys.argv[0] = 'gvf'; main()"
)


def bad(folder: Path, kind: str) -> Path:
    """Write a bad video of a kind."""
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("Hello, I am no video.\n")
    elif kind == "short":
        encode(path, over(ball(1), 255))
    else:
        path = folder / kind
        path.mkdir()
        for index in range(3 if kind == "transparent" else 0):
            Image.fromarray(np.zeros((64, 64, 4), np.uint8)).save(path / f"{index}.png")
    return path


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("missing", [], "there is no such file or folder"),
        ("empty", [], "the file is empty"),
        ("text", [], "is a text file"),
        ("short", [], "only one frame"),
        ("nothing", [], "holds no"),
        ("transparent", [], "fully transparent in all frames"),
        ("transparent", ["--start", "9"], "--start"),
    ],
)
def test_a_bad_video_is_refused_before_torch_is_imported(tmp_path: Path, kind: str, options: list[str], message: str):
    video = tmp_path / "missing.mp4" if kind == "missing" else bad(tmp_path, kind)
    words = ["generate", str(video), "-o", str(tmp_path / "asset"), *options]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert str(video) in done.stderr
    assert done.stdout == "False\n"
    assert not (tmp_path / "asset").exists()
