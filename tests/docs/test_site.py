"""The documentation builds strictly without network access, and its pages say what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gvf.metrics.table import METRICS
from tests.docs.shown import ROOT
from tools import architecture_picture, docs_tables

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:link|script|img|iframe)\b[^>]*?(?:href|src)=\"?([^\"\s>]+)", text)
        assert loaded, page.name
        outside = [address for address in loaded if re.match(r"(?:https?:)?//", address)]
        assert outside == [], page.name
        assert "<!-- fill" not in text, page.name
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert not any(re.search(r"url\([\"']?(?:https?:)?//", style) for style in styles)


def test_the_parameter_tables_list_every_key_of_params_yaml(site: Path) -> None:
    page = (site / "parameters.html").read_text(encoding="utf-8")
    for key, _ in docs_tables.flatten(PARAMS):
        section, _, rest = key.partition(".")
        in_preset = f'id="{section}"' in page and f"<code>{rest}</code>" in page
        assert in_preset or f"<code>{key}</code>" in page, key


def test_the_table_of_parameters_has_value_and_comment() -> None:
    rows = docs_tables.parameters().splitlines()
    (row,) = [row for row in rows if row.startswith("| `clip_memory_gb` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["`8.0`", "`8.0`", "`16.0`", "`32.0`"]  # cpu, small, h100, paper
    assert cells[5].startswith("Private memory that a worker may allocate")


def test_the_table_of_parameters_has_what_a_single_preset_sets() -> None:
    """Sections that are null in `cpu` have keys in `small` alone."""
    (row,) = [row for row in docs_tables.parameters().splitlines() if row.startswith("| `variants.mirror` |")]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:5] == ["", "`0.5`", "", ""]


def test_every_parameter_has_a_meaning() -> None:
    meanings = docs_tables.descriptions()
    keys = [key for key, _ in docs_tables.flatten(PARAMS)]
    assert [key for key in keys if not meanings.get(key)] == []
    assert meanings["train_dit.training.max_grad_norm"]


def test_the_table_of_metrics_lists_every_metric(site: Path) -> None:
    page = (site / "evaluation.html").read_text(encoding="utf-8")
    assert all(f"<code>{name}</code>" in page for name in METRICS)
    (row,) = [row for row in docs_tables.metrics().splitlines() if row.startswith("| `psnr` |")]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:5] == ["PSNR, dB", "higher", "image pairs", "no"]


def test_comments_of_yaml_are_found_by_dotted_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: # first\n  b: 1 # second\n  c: {d: 1} # third\ne: 2 # fourth\n")
    assert docs_tables.comments(path) == {"a": "first", "a.b": "second", "a.c": "third", "e": "fourth"}


def test_every_room_has_a_paragraph_and_a_place_in_the_diagram() -> None:
    source = ROOT / "src" / "gvf"
    rooms = {path.name.removesuffix(".py") for path in source.iterdir() if not path.name.startswith("__")}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\*\*`(\w+)`\*\* ", page, re.MULTILINE)) >= rooms
    picture = architecture_picture.FILE.read_text(encoding="utf-8")
    assert set(re.findall(r'class="name"[^>]*>(\w+)<', picture)) == rooms
