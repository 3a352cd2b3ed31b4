"""The arrows between packages run downwards only, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "gvf"

# Each level may import the ones below it and its own; see "Who may import whom" in the README.
LEVELS = [
    {"config", "files", "errors", "images", "lifetime", "text", "recognition"},
    {
        "gaussians",
        "geometry",
        "diffusion",
        "executors",
        "clip_map",
        "provenance",
        "published_files",
        "run_records",
        "tensor_files",
        "model_folders",
    },
    {"data", "models", "losses", "rendering", "metrics"},
    {"training", "weights"},
    {"pipelines", "tracking", "mlflow_writer", "reporting"},
    {"stages"},
    {"cli"},
]
LEVEL = {name: index for index, names in enumerate(LEVELS) for name in names}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def unit(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Top-level names of packages that a module imports anywhere, and units of gvf as `gvf.<unit>`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"gvf.{alias.name}" for alias in node.names] if node.module == "gvf" else [node.module]
        for name in names:
            parts = name.split(".")
            found.add(".".join(parts[:2]) if parts[0] == "gvf" else parts[0])
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows_run_downwards(path):
    here = LEVEL[unit(path)]
    for name in imports(path):
        if name.startswith("gvf.") and (target := name.removeprefix("gvf.")) in LEVEL:
            assert LEVEL[target] <= here, f"{path.relative_to(SOURCE)} imports {name}, which lies above it"


def test_each_outside_tool_has_one_home():
    homes = {
        "mlflow": {"mlflow_writer"},
        "deepspeed": {"training"},
        "gsplat": {"rendering"},
        "pebble": {"executors"},
        "prefect": set(),
        "ray": {"executors"},
        "hydra": set(),
    }
    for path in modules():
        for tool in imports(path) & homes.keys():
            assert unit(path) in homes[tool], f"{path.relative_to(SOURCE)} imports {tool}"


def test_images_are_opened_in_one_place():
    """Pillow's own `open` tries every decoder it has, one of which starts a program; `gvf.storage.images` allows three."""
    for path in [*SOURCE.rglob("*.py"), *(ROOT / "evaluation").rglob("*.py")]:
        if path != SOURCE / "images.py":
            assert "Image.open" not in path.read_text(encoding="utf-8"), path.name


def test_flows_import_nothing_of_ours():
    for path in (ROOT / "flows").glob("*.py"):
        assert not any(name == "gvf" or name.startswith("gvf.") for name in imports(path)), path.name


def test_help_needs_neither_torch_nor_pandas():
    code = (
        "import sys, gvf.cli.main\n"
        "try:\n    gvf.cli.main._gvf.main(['--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'mlflow', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
