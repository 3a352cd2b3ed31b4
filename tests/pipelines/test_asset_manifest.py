"""The manifest of an asset keeps every value, and says what is wrong with a file from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gvf.errors import UserError
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines import asset_manifest as facts
from gvf.pipelines.asset_files import MANIFEST_NAME
from gvf.pipelines.asset_manifest import Manifest, read_manifest

CAMERA = OrbitCamera(31.5, -4.0, 2.25, 40.0, (0.01, -0.02))


def some_manifest(**changes: Any) -> Manifest:
    """Return a manifest of three frames of two Gaussians."""
    values: dict[str, Any] = {
        "created": facts.now(),
        "num_frames": 3,
        "num_gaussians": 2,
        "frames_per_second": 12.0,
        "times": (0.0, 1 / 12, 2 / 12),
        "camera": facts.CameraFacts.of(CAMERA),
        "video": facts.VideoFacts(
            name="cat",
            size=(640, 480),
            matting="alpha",
            crops=((1.0, 2.0, 300.0),),
            findings=(facts.FindingFacts(code="border", message="The object touches the border.", frames=(0, 2)),),
        ),
        "canonical": facts.CanonicalFacts(
            origin="mesh",
            file="cat.glb",
            sha256="0" * 64,
            to_file=facts.SimilarityFacts(scale=2.0, center=(0.0, 1.0, 0.0), up="y"),
        ),
        "motion": facts.MotionFacts(seed=1, sampling={"steps": 5}, segments=((0, 2),), network_calls=5),
        "generator": facts.GeneratorFacts(name="small", sha256=None, licence="unstated"),
        "device": "cpu",
        "versions": facts.versions(),
        "seconds": {"align": 1.5},
    }
    return Manifest(**{**values, **changes})


def test_a_manifest_comes_back_unchanged(tmp_path: Path):
    manifest = some_manifest()
    manifest.save(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert manifest.camera.camera() == CAMERA


def test_a_folder_without_manifest_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"manifest\.json: there is no such file. Name a folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_frames", 0, "num_frames: is 0, but must be at least 1"),
        ("colour", 1, "colour"),
        ("camera", {"azimuth": 0, "elevation": 0, "radius": 2, "fov": 180}, r"camera\.fov: is 180.*less than 180"),
        ("frames_per_second", 1e400, "finite|not valid JSON"),
        ("format", 2, "format"),
    ],
)
def test_wrong_fields_are_named(tmp_path: Path, key: str, value: Any, message: str):
    path = tmp_path / MANIFEST_NAME
    content = json.loads(some_manifest().model_dump_json())
    path.write_text(json.dumps({**content, key: value}))
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)
