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


def run(node: str, *arguments: object) -> Any:
    """What `decode_asset.mjs` prints."""
    command = [node, Path(__file__).with_name("decode_asset.mjs"), MODULE, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_same_values(asset: Path, decoded: Path) -> None:
    """All values of all frames within 1e-6 of those of the decoder in Python."""
    gaussians = load_asset_glb(asset).gaussians
    num_frames, count = gaussians.means.shape[:2]
    values = np.fromfile(decoded, np.float32).reshape(num_frames, 14 * count)
    wanted = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.rgb, gaussians.opacities]
    widths = np.cumsum([3 * count, 4 * count, 3 * count, 3 * count])
    for found, tensor in zip(np.split(values, widths, axis=1), wanted):
        np.testing.assert_allclose(found, tensor.numpy().reshape(num_frames, -1), atol=1e-6)


@pytest.mark.parametrize(("num_frames", "count"), [(24, 3000), (40, 33), (1, 5), (2, 1)])
def test_values_are_those_of_the_python_decoder(tmp_path: Path, node: str, num_frames: int, count: int) -> None:
    asset = tmp_path / "a.glb"
    save_asset_glb(asset, swinging_gaussians(num_frames, count), 12.5, {"title": "füchse"}, compensate=False)
    assert run(node, asset, tmp_path / "values") == {
        "numGaussians": count,
        "numFrames": num_frames,
        "framesPerSecond": 12.5,
        "lowPass": 0.1,
        "compensate": False,
        "facts": {"title": "füchse"},
        "early": False,
        "missing": 0,
        "held": num_frames,
    }
    assert_same_values(asset, tmp_path / "values")


def test_a_small_cache_keeps_what_is_played_and_what_comes_next(tmp_path: Path, node: str) -> None:
    asset = tmp_path / "a.glb"
    save_asset_glb(asset, swinging_gaussians(100, 40), 24.0)  # 7 segments
    header = run(node, asset, tmp_path / "values", 1)
    assert header["missing"] == 0  # the next segment was unpacked while one was played
    assert header["held"] <= 1 + 3 * 16  # two segments, and one that is about to replace another
    assert_same_values(asset, tmp_path / "values")


def test_damaged_files_are_refused_with_a_message(tmp_path: Path, node: str) -> None:
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(20, 30), 24.0)
    document, binary = chunks((tmp_path / "a.glb").read_bytes())
    (folder := tmp_path / "damaged").mkdir()
    for name in DAMAGES.keys() - SEEN_LATER:
        changed = json.loads(json.dumps(document))
        DAMAGES[name][0](changed)
        (folder / name).write_bytes(rebuilt(changed, binary))
    for name, content in (("empty", b""), ("text", b"x" * 100), ("cut", b"glTF\2\0\0\0\xff\xff\0\0" + bytes(20))):
        (folder / name).write_bytes(content)
    messages = run(node, folder)
    assert len(messages) == len(DAMAGES) - len(SEEN_LATER) + 3
    assert {name: message for name, message in messages.items() if not (message or "").startswith("asset.glb: ")} == {}


def test_damaged_bytes_never_end_in_another_error(tmp_path: Path, node: str) -> None:
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(5, 30), 24.0)
    data = (tmp_path / "a.glb").read_bytes()
    (folder := tmp_path / "damaged").mkdir()
    generator = np.random.default_rng(1)
    for index in range(300):
        broken = bytearray(data)
        for position in generator.integers(0, len(data), 3):
            broken[position] = generator.integers(256)
        (folder / str(index)).write_bytes(broken[: generator.integers(len(data) // 2, 2 * len(data))])
    others = {message for message in run(node, folder).values() if message and not message.startswith("asset.glb: ")}
    assert others == set()
