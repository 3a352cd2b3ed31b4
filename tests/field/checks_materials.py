"""Materials: what surfaces show, and textures that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gvf.data.gltf.baking import bake_clip, load_model
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.geometry.camera import intrinsics, orbit
from gvf.rendering.mesh_views import render_mesh
from gvf.workspace import Workspace
from tests.field.curation import curated
from tests.field.fake_programs import put_on_path


def _refused(clips: pd.DataFrame, name: str) -> str:
    """The message with which this file alone was rejected."""
    (row,) = [row for _, row in clips.iterrows() if row["family"] == Path(name).stem]
    assert (clips["decision"] == "accepted").sum() == len(clips) - 1 == 2
    assert (row["decision"], row["reason"]) == ("rejected", "invalid")
    return str(row["message"])


def check_eps_texture(path, tmp_path, monkeypatch):
    calls = put_on_path("gs", tmp_path, monkeypatch)
    message = _refused(curated(path, tmp_path, monkeypatch), path.name)
    assert message.endswith("is an EPS (PostScript) file, not a PNG, JPEG or WebP image. Save it as PNG.")
    assert not calls.exists()


def check_ktx2_texture(path, tmp_path, monkeypatch):
    tables = []
    for run in ("first", "second"):
        message = _refused(curated(path, tmp_path / run, monkeypatch), path.name)
        assert message.endswith("images[0]: is a KTX2 file, not a PNG, JPEG or WebP image. Save it as PNG.")
        tables.append(Workspace().curated_manifest.read_bytes())
    assert tables[0] == tables[1]


def _seen(path: Path, azimuths: list[float], elevations: list[float], size: int = 64) -> np.ndarray:
    """Views [C, size, size, 4] uint8 of the first frame of a file's clip."""
    model = load_model(read_gltf(path))
    mesh = bake_clip(model, model.animation(0), np.zeros(1)).normalized()
    viewmats, Ks = (
        orbit(np.array(azimuths), np.array(elevations), 2.0),
        np.tile(intrinsics(40.0), (len(azimuths), 1, 1)),
    )
    return render_mesh(mesh.vertices[0], mesh, viewmats, Ks, size, 2)


def check_unlit(path, tmp_path, monkeypatch):
    views = _seen(path, [0.0, 180.0, 40.0, 220.0, 0.0], [0.0, 0.0, 50.0, -50.0, 30.0])
    assert views[:, 32, 32].tolist() == [[188, 137, 255, 255]] * 5
    for view in views:
        assert len(np.unique(view[view[..., 3] == 255], axis=0)) == 1


def check_emissive_texture(path, tmp_path, monkeypatch):
    """A texture of 2 x 2 texels: at the middles of the quarters of the square, whose side is 0.69 of the image."""
    (view,) = _seen(path, [0.0], [0.0], 256)
    rows = np.flatnonzero(view[..., 3].any(axis=1))
    first, last = int(rows[0]), int(rows[-1])
    low, high = first + (last - first) // 4, first + (last - first) * 3 // 4
    found = [(view[y, x, :3] > 200).tolist() for y in (low, high) for x in (low, high)]
    red, green, blue, yellow = [True, False, False], [False, True, False], [False, False, True], [True, True, False]
    assert found == [red, green, blue, yellow]


def check_inverted_hull(path, tmp_path, monkeypatch):
    views = _seen(path, [0.0, 90.0, 180.0, 30.0], [0.0, 0.0, 0.0, 40.0])
    for view in views:
        red, green, blue, alpha = view[32, 32].tolist()
        assert red > 150
        assert (green, blue, alpha) == (0, 0, 255)
    front = views[0]
    assert (front[front[..., 3] == 255][:, 0] == 0).any(), "the outline is gone"


def check_texture_without_source(path, tmp_path, monkeypatch):
    clips = curated(path, tmp_path, monkeypatch)
    frog = clips[clips["family"].str.startswith("frog")]
    assert len(frog)
    assert (frog["reason"] != "invalid").all(), frog["message"].tolist()
    for clip in frog[frog["decision"] == "accepted"]["clip_id"]:
        mesh = AnimatedMesh.load(Workspace().curated / f"{clip}.npz")
        assert mesh.textures == ()
        assert [material.base_color for material in mesh.materials] == [(1.0, 1.0, 1.0, 1.0)]


CHECKS: dict[str, Callable[..., None]] = {
    "eps_texture.glb": check_eps_texture,
    "ktx2_texture.glb": check_ktx2_texture,
    "unlit.glb": check_unlit,
    "emissive_texture.glb": check_emissive_texture,
    "inverted_hull.glb": check_inverted_hull,
    "frog_texture_without_source.gltf": check_texture_without_source,
}
