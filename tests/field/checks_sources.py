"""Names of clips and files beside an asset: what `collect` and `curate` make of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from gvf.config.load import load_params
from gvf.data.manifest import CURATED_MANIFEST, read_manifest
from gvf.data.mesh import AnimatedMesh
from gvf.stages import collect, curate

CHECKS: dict[str, Callable[..., None]] = {}


# Names and files beside an asset: collect and curate.


def _curated(path: Path, folder: Path, monkeypatch) -> pd.DataFrame:
    """The curated manifest of a file, or of all that is in a folder, with good1 and good2, by the cpu preset."""
    source, work = folder / "source", folder / "work"
    field = next(parent for parent in path.parents if (parent / "good1.glb").exists())
    shutil.copytree(path, source) if path.is_dir() else source.mkdir()
    for file in [field / "good1.glb", field / "good2.glb", *([] if path.is_dir() else [path])]:
        shutil.copyfile(file, source / file.name)
    if path.name == "external_texture.glb":
        shutil.copytree(field / "textures", source / "textures")
    values = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    values["run"]["executor"], values["tracking"]["enabled"] = "inline", False
    values["collect"] = {"source": "glb", "watch": str(source), "glb": {"directory": str(source)}}
    work.mkdir()
    (work / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(work)
    params = load_params("params.yaml")
    collect.run(params)
    curate.run(params)
    return read_manifest(CURATED_MANIFEST)


def _long_clip_name(path, tmp_path, monkeypatch):
    clips = _curated(path, tmp_path, monkeypatch)
    assert clips["decision"].tolist() == ["accepted"] * 3
    assert clips["animation"].str.len().max() == 120
    assert clips["clip_id"].str.len().max() < 140


def _surrogate_clip_name(path, tmp_path, monkeypatch):
    clips = _curated(path, tmp_path, monkeypatch)
    assert clips["decision"].tolist() == ["accepted"] * 3
    assert clips["animation"].tolist() == ["clip", "clip", "run \N{REPLACEMENT CHARACTER}"]
    assert clips["clip_id"].iloc[-1] == "surrogate_clip_name--run"


def _side_texture(path, tmp_path, monkeypatch):
    """Its clips are accepted, but for a pose without motion, and show the image that lies beside the file."""
    folder = path if path.name == "external_texture.glb" else path.parent
    clips = _curated(folder, tmp_path, monkeypatch)
    clips = clips[clips["family"] == path.stem]
    refused = clips[clips["decision"] == "rejected"]
    assert refused["animation"].tolist() == (["static"] if path.stem == "character" else [])
    assert (refused["reason"] == "motion").all()
    image = next(path.parent.glob("[Tt]extures/colormap.png"))
    for clip_id in clips.loc[clips["decision"] == "accepted", "clip_id"]:
        (texture,) = AnimatedMesh.load(CURATED_MANIFEST.parent / f"{clip_id}.npz").textures
        with Image.open(image) as shown:
            np.testing.assert_array_equal(texture, shown.convert("RGBA"))


CHECKS |= {
    "long_clip_name.glb": _long_clip_name,
    "surrogate_clip_name.glb": _surrogate_clip_name,
    "external_texture.glb": _side_texture,
    "kenney_glb_with_side_texture/character.glb": _side_texture,
}
