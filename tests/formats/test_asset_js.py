"""The decoder for browsers against the one in Python: all values of all frames, and the same refusals."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from tests.formats.swinging import swinging_gaussians
from tests.formats.test_asset_glb import DAMAGES, SEEN_LATER, chunks, rebuilt

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "src" / "gvf" / "viewer" / "static" / "asset.js"


def decoded(node: str, asset: Path) -> dict[str, Any]:
    command = [node, str(Path(__file__).with_name("decode_asset.mjs")), str(MODULE), str(asset), f"{asset}.bin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("num_frames", "count"), [(24, 3000), (40, 33), (1, 5), (2, 1)])
def test_values_are_those_of_the_python_decoder(tmp_path: Path, node: str, num_frames: int, count: int) -> None:
    asset = tmp_path / "a.glb"
    save_asset_glb(asset, swinging_gaussians(num_frames, count), 12.5, {"title": "füchse"}, compensate=False)
    header = decoded(node, asset)
    assert header == {
        "numGaussians": count,
        "numFrames": num_frames,
        "framesPerSecond": 12.5,
        "lowPass": 0.1,
        "compensate": False,
        "facts": {"title": "füchse"},
        "early": False,
        "same": True,
    }
    gaussians = load_asset_glb(asset).gaussians
    values = np.fromfile(f"{asset}.bin", np.float32).reshape(num_frames, 14 * count)
    wanted = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.rgb, gaussians.opacities]
    widths = np.cumsum([3 * count, 4 * count, 3 * count, 3 * count])
    for found, tensor in zip(np.split(values, widths, axis=1), wanted):
        np.testing.assert_allclose(found, tensor.numpy().reshape(num_frames, -1), atol=1e-6)


@pytest.mark.parametrize("name", sorted(DAMAGES.keys() - SEEN_LATER))
def test_damaged_files_are_refused_with_a_message(tmp_path: Path, node: str, name: str) -> None:
    change, _ = DAMAGES[name]
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(20, 30), 24.0)
    document, binary = chunks((tmp_path / "a.glb").read_bytes())
    change(document)
    (tmp_path / "b.glb").write_bytes(rebuilt(document, binary))
    assert decoded(node, tmp_path / "b.glb")["error"].startswith("asset.glb: ")


def test_a_file_that_is_no_glb(tmp_path: Path, node: str) -> None:
    for name, content in (("empty", b""), ("text", b"x" * 100), ("cut", b"glTF\2\0\0\0\xff\xff\0\0" + bytes(20))):
        (tmp_path / name).write_bytes(content)
        assert decoded(node, tmp_path / name)["error"].startswith("asset.glb: ")
