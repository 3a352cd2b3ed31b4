"""dvc.yaml, params.yaml, conf/ and the config models agree with each other."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

import pytest
import yaml

from gvf.cli.table import STAGES, VAE_PHASES
from gvf.config.load import load_params
from gvf.config.params import Params
from gvf.stage_table import STAGES as TABLE
from gvf.workspace import Workspace
from tools.stage_dependencies import GRAPHS, differences

ROOT = Path(__file__).resolve().parent.parent
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())


def compose(overrides: list[str]) -> dict:
    """What DVC's Hydra integration composes from conf/."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)


def test_params_yaml_is_the_composed_default():
    assert compose([]) == VALUES


@pytest.mark.parametrize("data", ["procedural", "glb", "zoo"])
@pytest.mark.parametrize("preset", ["cpu", "small", "h100", "paper"])
def test_every_composition_is_valid(preset, data, tmp_path):
    overrides = [f"preset={preset}", f"data={data}"]
    if data != "procedural":
        overrides.append("collect.glb.directory=somewhere")
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(compose(overrides)))
    assert load_params(path).run.preset == preset


def test_every_stage_is_a_command_and_the_other_way_round():
    commands = {f"gvf {name}" for name in STAGES if name != "train-vae"} | {
        f"gvf train-vae --phase {phase}" for phase in VAE_PHASES
    }
    assert {stage["cmd"] for stage in GRAPH.values()} == commands


def test_every_stage_lists_its_own_section_and_only_existing_ones():
    sections = {field.name for field in dataclasses.fields(Params)}
    for name, stage in GRAPH.items():
        listed = stage["params"]
        for key in listed:
            value = VALUES
            for part in key.split("."):
                value = value[part]
        assert {key.split(".")[0] for key in listed} <= sections
        if name.replace("-", "_") in sections:
            assert name.replace("-", "_") in listed


def test_a_stage_checks_before_it_starts_that_everything_it_writes_can_be_written():
    assert list(TABLE) == list(GRAPH)
    for name, stage in GRAPH.items():
        entries = [*stage["outs"], *stage["metrics"], *stage.get("plots", [])]
        paths = {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}
        assert paths == {str(path) for path in (*TABLE[name].outputs(Workspace()), Workspace().metrics(name))}


def test_every_dependency_in_the_repository_exists():
    for name, stage in GRAPH.items():
        for path in stage["deps"]:
            if path.startswith(("src/", "evaluation")):
                assert (ROOT / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_stage_depends_on_the_code_that_it_reaches_and_on_no_other(graph):
    assert differences(ROOT, graph) == []


def test_every_field_is_read_somewhere_outside_its_own_file():
    """No dead settings: a field's name appears as an attribute in code that is not its dataclass's file."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "evaluation").rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}

    def check(config: type) -> None:
        home = config.__module__.replace(".", "/") + ".py"
        for field, hint in typing.get_type_hints(config).items():
            inner = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
            for kind in inner:
                check(kind)
            read = any(re.search(rf"\.{field}\b", text) for path, text in texts.items() if not str(path).endswith(home))
            # A dependency of the stage collect in dvc.yaml; and what the scheduler in flows/ reads, which imports no config.
            read_elsewhere = field in ("watch", "stages_at_once")
            assert read or read_elsewhere, f"{config.__name__}.{field} is never read"

    check(Params)
