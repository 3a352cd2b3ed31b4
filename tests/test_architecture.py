"""Imports run downwards only and never in a circle, each outside tool has one home, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tools.levels import LEVELS
from tools.stage_dependencies import Sources, imported_names, module_name

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "gvf"

LEVEL = {name: index for index, names in enumerate(LEVELS) for name in names}

# Packages beside gvf, and what of ours each may import.
BESIDE = {
    "evaluation": {"gvf", "gvf_evaluation"},
    "benchmarks": {"gvf", "gvf_evaluation"},
    "flows": {"flows"},
    "tools": {"gvf", "gvf_evaluation", "tools"},
}

# The modules that import an outside tool; empty where none may.
HOMES = {
    "DracoPy": {"gvf.data.gltf.draco"},
    "av": {"gvf.video.containers", "gvf.video.writing"},
    "deepspeed": {"gvf.training.engine"},
    "dvc": set(),
    "embreex": {"gvf.rendering.visibility"},
    "gsplat": {"gvf.rendering.gsplat_backend"},
    "gsply": {"gvf.formats.spz"},
    "hydra": set(),
    "jinja2": {"gvf_evaluation.reporting.page"},
    "lpips": {"gvf.metrics.lpips_network"},
    "mlflow": {"gvf.tracking.writer"},
    "onnxruntime": {"gvf.video.saliency"},
    "pebble": {"gvf.execution.processes"},
    "plyfile": {"gvf.data.plain.ply_mesh", "gvf.gaussians.ply"},
    "prefect": {"flows"},
    "pxr": {"gvf.formats.usd"},
    "pytorch3d": {"gvf.geometry.pytorch3d_backend"},
    "ray": {"gvf.execution.on_ray"},
    "trimesh": {"gvf.data.plain.trimesh_files"},
}


def python_files(folder: str) -> list[str]:
    """Return the Python files below a folder of the checkout, relative to the checkout."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


@cache
def imports(path: str) -> frozenset[str]:
    """Return the dotted names that a file imports anywhere, for type checkers too; of `from a import b` both a and a.b."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    package = module_name(path).rpartition(".")[0]
    return frozenset(name for node in ast.walk(tree) for name in imported_names(node, package))


def room(path: str) -> str:
    """Return the room of src/gvf that a file is in."""
    return path.split("/")[2].removesuffix(".py")


def test_every_room_has_a_level():
    rooms = {room(path) for path in python_files("src/gvf")} - {"__init__"}
    assert LEVEL.keys() == rooms
    assert sum(map(len, LEVELS)) == len(LEVEL)


def test_imports_run_downwards():
    wrong = [
        f"{path} imports {name}"
        for path in python_files("src/gvf")
        for name in sorted(imports(path))
        if name.startswith("gvf.")
        and (target := name.split(".")[1]) in LEVEL
        and LEVEL[target] > LEVEL.get(room(path), -1)
    ]
    assert wrong == []


def test_nothing_in_gvf_imports_from_beside_it():
    wrong = [
        f"{path} imports {name}"
        for path in python_files("src/gvf")
        for name in sorted(imports(path))
        if name.split(".")[0] in {"gvf_evaluation", *BESIDE}
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", BESIDE)
def test_packages_beside_gvf_import_only_what_they_may(folder):
    ours = {"gvf", "gvf_evaluation", "tests", *BESIDE} - BESIDE[folder]
    wrong = [
        f"{path} imports {name}"
        for path in python_files(folder)
        for name in sorted(imports(path))
        if name.split(".")[0] in ours and not (path == "tools/architecture_picture.py" and name.startswith("tests"))
    ]
    assert wrong == []


def test_no_stage_imports_a_stage():
    stages = [*python_files("src/gvf/stages"), *python_files("evaluation/gvf_evaluation/stages")]
    wrong = [f"{path} imports {name}" for path in stages for name in sorted(imports(path)) if ".stages." in name]
    assert wrong == []


def test_the_library_of_the_top_floor_does_not_know_its_stages_and_commands():
    wrong = [
        f"{path} imports {name}"
        for path in python_files("evaluation")
        if path.split("/")[2] not in ("stages", "commands")
        for name in sorted(imports(path))
        if name.startswith(("gvf_evaluation.stages", "gvf_evaluation.commands"))
    ]
    assert wrong == []


def test_only_the_command_line_names_evaluation():
    named = [
        f"{path}:{number}"
        for path in python_files("src/gvf")
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if "evaluation" in line.lower() and not (path.startswith("src/gvf/cli/") and '"gvf_evaluation.' in line)
    ]
    assert named == []


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of nodes that reach each other, sorted."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            waiting += edges.get(node := waiting.pop(), set()) - found
            found |= edges.get(node, set())
        return found

    everything = {node: reached(node) for node in edges}
    found = {frozenset(other for other in everything[node] if node in everything.get(other, ())) for node in edges}
    return sorted(sorted(nodes) for nodes in found if nodes)


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"], ["d"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


def modules_and_what_they_import() -> dict[str, set[str]]:
    """Return every module of gvf and evaluation with those it imports anywhere; packages count if they contain code."""
    sources = Sources(ROOT)
    edges: dict[str, set[str]] = {}
    for path in sorted(sources.files):
        if path.endswith(".py"):
            found = {file for name in imports(path) for file in sources.module(name)}
            edges[path] = {file for file in found if not sources.is_empty_package(file)}
    return edges


def test_no_module_imports_itself_in_a_circle():
    assert circles(modules_and_what_they_import()) == []


def test_no_room_imports_itself_in_a_circle():
    rooms: dict[str, set[str]] = {}
    for path, others in modules_and_what_they_import().items():
        if path.startswith("src/gvf/"):
            rooms.setdefault(room(path), set()).update({room(other) for other in others} - {room(path)})
    assert circles(rooms) == []


def test_each_outside_tool_has_one_home():
    wrong = [
        f"{path} imports {name}"
        for folder in ("src/gvf", "evaluation", "flows", "tools")
        for path in python_files(folder)
        for name in sorted(imports(path))
        if (tool := name.split(".")[0]) in HOMES
        and not {".".join(path.removesuffix(".py").split("/")[1:]), path.split("/")[0]} & HOMES[tool]
    ]
    assert wrong == []


def test_images_are_opened_in_one_place():
    """Pillow's own `open` tries every decoder it has, one of which starts a program; `gvf.storage.images` allows three."""
    for path in [*python_files("src/gvf"), *python_files("evaluation")]:
        if path != "src/gvf/storage/images.py":
            assert "Image.open" not in (ROOT / path).read_text(encoding="utf-8"), path


def test_help_needs_neither_torch_nor_pandas():
    code = (
        "import sys, gvf.cli.main\n"
        "try:\n    gvf.cli.main._gvf.main(['--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'mlflow', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
