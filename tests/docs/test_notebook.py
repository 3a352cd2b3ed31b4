"""The example notebook runs from beginning to end with a small generator."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.shown import ROOT
from tests.pipelines.small_generator import STATIC, small_generator

NOTEBOOK = ROOT / "docs/examples/quickstart.ipynb"


def test_the_notebook_makes_and_saves_an_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_generator(replace(STATIC, feature_channels=180)).save_pretrained(tmp_path / "models/generator")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("GVF_GENERATOR", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert "8 frames of" in printed
    names = {path.name for path in (tmp_path / "work/quickstart/asset").iterdir()}
    assert {"asset.glb", "index.html", "mesh.glb", "manifest.json", "preview.mp4", "turntable.mp4"} <= names
    assert names <= set(printed.split())


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)
