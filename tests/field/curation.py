"""An input from the field and two sound files through the real `collect` and `curate`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from gvf.config.load import load_params
from gvf.data.manifest import read_manifest
from gvf.stages import collect, curate
from gvf.workspace import Workspace

_PARAMS = Path(__file__).parents[2] / "params.yaml"


def curated(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The curated manifest of a file, or of all that is in a folder, with good1 and good2, by the cpu preset.

    folder: where it is made, and where the current folder is afterwards.
    """
    source, work = folder / "source", folder / "work"
    field = next(parent for parent in path.parents if (parent / "good1.glb").exists())
    shutil.copytree(path, source) if path.is_dir() else source.mkdir(parents=True)
    for file in [field / "good1.glb", field / "good2.glb", *([] if path.is_dir() else [path])]:
        shutil.copyfile(file, source / file.name)
    if path.name == "external_texture.glb":
        shutil.copytree(field / "textures", source / "textures")
    values = yaml.safe_load(_PARAMS.read_text(encoding="utf-8"))
    values["execution"]["executor"], values["tracking"]["enabled"] = "inline", False
    values["collect"] = {"sources": ["glb"], "watch": str(source), "glb": {"directory": str(source)}}
    work.mkdir()
    (work / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(work)
    params = load_params("params.yaml")
    collect.run(params, Workspace())
    curate.run(params, Workspace())
    return read_manifest(Workspace().curated_manifest)
