"""Names of clips and files beside an asset: what `collect` and `curate` make of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from gvf.data.mesh import AnimatedMesh
from gvf.workspace import Workspace
from tests.field.curation import curated

CHECKS: dict[str, Callable[..., None]] = {}


# Names and files beside an asset: collect and curate.


def _long_clip_name(path, tmp_path, monkeypatch):
    clips = curated(path, tmp_path, monkeypatch)
    assert clips["decision"].tolist() == ["accepted"] * 3
    assert clips["animation"].str.len().max() == 120
    assert clips["clip_id"].str.len().max() < 140


def _surrogate_clip_name(path, tmp_path, monkeypatch):
    clips = curated(path, tmp_path, monkeypatch)
    assert clips["decision"].tolist() == ["accepted"] * 3
    assert clips["animation"].tolist() == ["clip", "clip", "run \N{REPLACEMENT CHARACTER}"]
    assert clips["clip_id"].iloc[-1] == "surrogate_clip_name--run"


def _side_texture(path, tmp_path, monkeypatch):
    """Its clips are accepted, but for a pose without motion, and show the image that lies beside the file."""
    folder = path if path.name == "external_texture.glb" else path.parent
    clips = curated(folder, tmp_path, monkeypatch)
    clips = clips[clips["family"] == path.stem]
    refused = clips[clips["decision"] == "rejected"]
    assert refused["animation"].tolist() == (["static"] if path.stem == "character" else [])
    assert (refused["reason"] == "motion").all()
    image = next(path.parent.glob("[Tt]extures/colormap.png"))
    for clip_id in clips.loc[clips["decision"] == "accepted", "clip_id"]:
        (texture,) = AnimatedMesh.load(Workspace().curated / f"{clip_id}.npz").textures
        with Image.open(image) as shown:
            np.testing.assert_array_equal(texture, shown.convert("RGBA"))


CHECKS |= {
    "long_clip_name.glb": _long_clip_name,
    "surrogate_clip_name.glb": _surrogate_clip_name,
    "external_texture.glb": _side_texture,
    "kenney_glb_with_side_texture/character.glb": _side_texture,
}
