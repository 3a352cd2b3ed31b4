"""Stage train-vae-static: what it starts from, and which network it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gvf.config.load import load_params
from gvf.config.params import Params
from gvf.config.train_vae_static import InitialWeightsConfig
from gvf.errors import UserError
from gvf.models.canonical.static_vae import ENCODER_FOLDER, StaticVAE
from gvf.models.network_folder import WEIGHTS_NAME
from gvf.stages import train_vae_static
from gvf.training.tasks.static_vae import StaticVaeTask
from gvf.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def with_initial(encoder: str | None, decoder: str | None, train_encoder: bool) -> Params:
    params = load_params(ROOT / "params.yaml")
    initial = InitialWeightsConfig(encoder, decoder)
    section = replace(params.train_vae_static, initial_weights=initial, train_encoder=train_encoder)
    small = replace(params.static_vae, width=12, num_layers=1, num_heads=2)
    return replace(params, train_vae_static=section, static_vae=small)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the stage hands to `fit`, which is not run."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}

    def fit(task: StaticVaeTask, output: Path, *_: Any) -> dict[str, float]:
        model = task.build()
        found.update(model=model, groups=task.parameter_groups(model), inputs=task.inputs)
        return {}

    monkeypatch.setattr(train_vae_static, "fit", fit)
    monkeypatch.setattr(train_vae_static, "clip_ids", lambda workspace, split, after: ["clip"])
    return found


def test_absent_weights_end_the_stage_before_anything_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(
        train_vae_static, "clip_ids", lambda workspace, split, after: pytest.fail("the clips were looked at first")
    )
    with pytest.raises(UserError, match="gvf weights pull static-vae-initial"):
        train_vae_static.run(with_initial("static-vae-initial", "static-vae-initial", False), Workspace())


def test_from_random_weights_both_networks_are_trained(handed: dict[str, Any]) -> None:
    train_vae_static.run(with_initial(None, None, True), Workspace())
    trained = {id(p) for group in handed["groups"] for p in group.parameters}
    assert trained == {id(p) for p in handed["model"].parameters()}
    assert handed["inputs"] == [Workspace().curated_manifest]


def test_a_frozen_encoder_starts_from_its_file_and_is_not_trained(handed: dict[str, Any]) -> None:
    params = with_initial("start", None, False)
    start = StaticVAE(params.static_vae)
    start.save(Path("start"))
    train_vae_static.run(params, Workspace())
    model = handed["model"]
    assert all(
        torch.equal(p, q) and not p.requires_grad
        for p, q in zip(model.encoder.parameters(), start.encoder.parameters())
    )
    trained = {id(p) for group in handed["groups"] for p in group.parameters}
    assert trained == {id(p) for p in model.decoder.parameters()}
    assert handed["inputs"] == [Workspace().curated_manifest, Path("start") / ENCODER_FOLDER / WEIGHTS_NAME], (
        "identity of checkpoints"
    )
