"""Settings of a flow run: the form that Prefect shows, early refusals, and the params.yaml that is composed."""

from __future__ import annotations

import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows import processes
from flows.curate import curate
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.settings import Settings, SettingsError, apply
from flows.train_dit import train_dit
from flows.train_vae import train_vae

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the real configuration."""
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copytree(ROOT / "src/hydra_plugins", tmp_path / "src/hydra_plugins")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("flow", [curate, train_vae, train_dit, evaluate, pipeline], ids=lambda flow: flow.name)
def test_the_form_shows_presets_and_every_parameter_with_its_limits(flow) -> None:  # type: ignore[no-untyped-def]
    schema = parameter_schema(flow).model_dump_for_openapi()
    settings = schema["definitions"]["Settings"]["properties"]
    assert settings["preset"]["enum"] == sorted(path.stem for path in (ROOT / "conf/preset").glob("*.yaml"))
    assert sorted(settings["data"]["enum"]) == sorted(path.stem for path in (ROOT / "conf/data").glob("*.yaml"))
    steps = settings["changes"]["properties"]["train_dit"]["properties"]["training"]["properties"]["steps"]
    assert steps["description"] == "Optimiser steps."
    assert steps["anyOf"][0] == {"exclusiveMinimum": 0, "type": "integer"}
    jsonschema.Draft202012Validator.check_schema(schema)


def test_wrong_changes_are_refused_when_the_run_is_made() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"changes": {"train_dit": {"training": {"steps": 0}, "num_frame": 3}, "renders": {}}})
    message = str(caught.value)
    assert "train_dit.training.steps: 0 is less than or equal to the minimum of 0" in message
    assert "train_dit: Additional properties are not allowed ('num_frame' was unexpected)" in message
    assert "changes: Additional properties are not allowed ('renders' was unexpected)" in message
    with pytest.raises(ValidationError, match="preset"):
        Settings.model_validate({"preset": "gpu"})


def test_settings_compose_params_yaml_and_none_leaves_it_unchanged(checkout: Path) -> None:
    before = (checkout / "params.yaml").read_text()
    apply(None)
    assert (checkout / "params.yaml").read_text() == before
    changes = {"train_dit": {"training": {"steps": 7, "betas": [0.5, 0.9]}}, "sample": {"methods": ["dit"]}}
    apply(Settings.model_validate({"preset": "h100", "changes": changes | {"curate": {"max_clips": None}}}))
    values = yaml.safe_load((checkout / "params.yaml").read_text())
    assert values["run"]["preset"] == "h100"
    assert values["train_dit"]["training"]["steps"] == 7
    assert values["train_dit"]["training"]["betas"] == [0.5, 0.9]
    assert values["sample"]["methods"] == ["dit"]
    assert values["collect"]["sources"] == ["procedural"]
    apply(Settings.model_validate({"data": "glb", "changes": {"collect": {"glb": {"directory": "données/été"}}}}))
    values = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    assert values["collect"]["glb"]["directory"] == "données/été"


def test_sections_that_do_not_fit_together_are_refused_before_anything_runs(checkout: Path) -> None:
    before = (checkout / "params.yaml").read_text()
    with pytest.raises(SettingsError, match=r"static_vae\.feature_channels: is 7, but must be 180 when"):
        apply(Settings.model_validate({"changes": {"static_vae": {"feature_channels": 7}}}))
    assert (checkout / "params.yaml").read_text() == before
    assert not list(checkout.glob(".settings-*"))
