"""The program that derives the stages' code dependencies, on small source trees and on damaged copies of the graphs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tools.stage_dependencies import GRAPHS, Sources, differences, expected, is_code, is_plumbing, recipes_of, rewritten

ROOT = Path(__file__).resolve().parent.parent


def write(root: Path, files: dict[str, str]) -> Sources:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "evaluation/gvf_evaluation").mkdir(parents=True, exist_ok=True)
    return Sources(root)


def copy_with(root: Path, graph: str, change: dict[str, list[str]]) -> Path:
    """Make a checkout with links to the sources and one graph in which some stages have other dependencies."""
    for folder in ("src", "evaluation"):
        (root / folder).symlink_to(ROOT / folder)
    content = yaml.safe_load((ROOT / graph).read_text())
    for stage, deps in change.items():
        content["stages"][stage]["deps"] = deps
    (root / graph).parent.mkdir(exist_ok=True)
    (root / graph).write_text(yaml.safe_dump(content))
    return root


@pytest.mark.parametrize(("graph", "stage"), [("dvc.yaml", "train-vae-joint"), ("ablations/dvc.yaml", "dit")])
def test_a_removed_dependency_is_found(graph, stage, tmp_path):
    deps = yaml.safe_load((ROOT / graph).read_text())["stages"][stage]["deps"]
    removed = next(dep for dep in deps if dep.startswith("src/gvf/models/"))
    root = copy_with(tmp_path, graph, {stage: [dep for dep in deps if dep != removed]})
    assert differences(root, graph) == [f"{graph}: {stage} reaches {removed}, which is not among its deps"]


@pytest.mark.parametrize(("graph", "stage"), [("dvc.yaml", "train-dit"), ("ablations/dvc.yaml", "report")])
def test_a_needless_dependency_is_found(graph, stage, tmp_path):
    needless = "src/gvf/models/image_to_3d/slat_flow.py"
    deps = yaml.safe_load((ROOT / graph).read_text())["stages"][stage]["deps"]
    root = copy_with(tmp_path, graph, {stage: [*deps, needless]})
    assert differences(root, graph) == [f"{graph}: {stage} does not need its dep {needless}"]


@pytest.mark.parametrize("graph", GRAPHS)
def test_writing_restores_the_file_from_one_without_dependencies_on_code(graph):
    text = (ROOT / graph).read_text()
    bare = "".join(line for line in text.splitlines(True) if not is_code(line.strip().removeprefix("- ")))
    assert len(bare) < len(text)
    assert rewritten(bare, expected(ROOT, graph)) == text


def test_imports_are_followed_through_other_files_into_functions_and_packages(tmp_path):
    sources = write(
        tmp_path,
        {
            "src/gvf/stages/train.py": "import gvf.models.vae\nfrom gvf.losses import kl, image\n",
            "src/gvf/models/__init__.py": "LOADED = True\n",
            "src/gvf/models/vae.py": "def build():\n    from . import attention\n",
            "src/gvf/models/attention.py": "",
            "src/gvf/models/dit.py": "",
            "src/gvf/losses/__init__.py": '"""Nothing runs here."""\n',
            "src/gvf/losses/kl.py": "",
            "src/gvf/losses/image.py": "",
        },
    )
    reached = sources.reached("src/gvf/stages/train.py")
    assert reached == {
        "src/gvf/stages/train.py",
        "src/gvf/models/__init__.py",
        "src/gvf/models/vae.py",
        "src/gvf/models/attention.py",
        "src/gvf/losses/kl.py",
        "src/gvf/losses/image.py",
    }
    assert sources.compact(reached) == [
        "src/gvf/losses",
        "src/gvf/models/__init__.py",
        "src/gvf/models/attention.py",
        "src/gvf/models/vae.py",
        "src/gvf/stages/train.py",
    ]


def test_imports_for_type_checkers_and_what_only_plumbing_reaches_do_not_count(tmp_path):
    sources = write(
        tmp_path,
        {
            "src/gvf/stages/train.py": (
                "from typing import TYPE_CHECKING\nfrom gvf.tracking import client\n"
                "if TYPE_CHECKING:\n    from gvf.models import vae\nelse:\n    from gvf.models import dit\n"
            ),
            "src/gvf/tracking/client.py": "from gvf.storage import images\n",
            "src/gvf/storage/images.py": "",
            "src/gvf/models/vae.py": "",
            "src/gvf/models/dit.py": "",
        },
    )
    assert sources.reached("src/gvf/stages/train.py") == {"src/gvf/stages/train.py", "src/gvf/models/dit.py"}


def test_data_files_count_when_a_module_names_them_or_their_folder(tmp_path):
    sources = write(
        tmp_path,
        {
            "src/gvf/stages/report.py": "PAGE = Path(__file__).with_name('page.csv')\nLISTS = 'lists'\nOTHER = 'models'\n",
            "src/gvf/stages/page.csv": "",
            "src/gvf/stages/unread.csv": "",
            "src/gvf/stages/lists/a.csv": "",
            "src/gvf/stages/lists/b.csv": "",
            "src/gvf/reporting/page.py": "NAME = 'page.html'\n",
            "src/gvf/reporting/templates/page.html": '{% from "table.html" import table %}',
            "src/gvf/reporting/templates/table.html": "",
            "src/gvf/reporting/templates/other.html": "",
        },
    )
    assert sources.compact(sources.reached("src/gvf/reporting/page.py")) == [
        "src/gvf/reporting/page.py",
        "src/gvf/reporting/templates/page.html",
        "src/gvf/reporting/templates/table.html",
    ]
    assert sources.compact(sources.reached("src/gvf/stages/report.py")) == [
        "src/gvf/stages/lists",
        "src/gvf/stages/page.csv",
        "src/gvf/stages/report.py",
    ]


def test_every_data_file_is_seen_to_be_read():
    """The rule for data files is a rule about strings; a file that is read in another way would be missed."""
    sources = Sources(ROOT)
    readers = [path for path in sources.files if path.endswith(".py") or "/templates/" in path]
    read = set().union(*(sources.direct(path) for path in readers))
    documents = {path for path in sources.files if path.endswith(("SHA256SUMS", "py.typed"))}
    assert {path for path in sources.files if not path.endswith(".py")} - documents <= read


def test_plumbing_stands_on_plumbing():
    """What decides no result uses nothing that does, but for images and names: of stages in run records, of metrics, of methods."""
    sources = Sources(ROOT)
    plumbing = [path for path in sources.files if path.endswith(".py") and is_plumbing(path)]
    used = {path for plumber in plumbing for path in sources.direct(plumber) if not is_plumbing(path)}
    assert {path for path in used if not sources.is_empty_package(path)} <= {
        "src/gvf/storage/images.py",
        "src/gvf/methods.py",
        "src/gvf/metrics/table.py",
        "src/gvf/stage_table.py",
    }


def test_the_recipes_of_the_ablations_are_read_from_their_source():
    from gvf_evaluation.commands.ablate import RECIPES

    assert recipes_of(ROOT) == {model: list(recipe.stages) for model, recipe in RECIPES.items()}
