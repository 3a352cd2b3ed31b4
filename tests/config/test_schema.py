"""The JSON schemas: current in the checkout, the same verdicts as the models, and a description of every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from omegaconf import OmegaConf

from gvf.cli.params import command
from gvf.config.schema import SCHEMAS, changes_schema, params_schema, text_of
from tests.config.test_load import BAD
from tests.config.values import ROOT, VALUES, changed

# What only the models know: fields that must fit each other.
BETWEEN_FIELDS = {
    "collect.glb", "collect.procedural", "collect.sources", "curate.held_out_seen_fraction",
    "evaluate.metrics", "featurize.token_grid", "featurize.weights",
    "static_vae.num_heads", "train_vae_joint.motion_phase", "train_vae_joint.rendered_frames", "train_vae_static.train_encoder",
    "variation_dit.aligned_channels", "variation_dit.aligned_features",
    "variation_dit.num_heads", "variation_vae.attributes", "variation_vae.num_heads",
}  # fmt: skip


def fields_of(schema: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of a schema by its dotted name."""
    for option in (schema, *schema.get("anyOf", [])):
        for name, field in option.get("properties", {}).items():
            yield f"{key}{name}", field
            yield from fields_of(field, f"{key}{name}.")


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_of_the_checkout_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text_of(SCHEMAS[name]()), "run `gvf params schema --write`"
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / name).read_text(encoding="utf-8")))


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    fields = dict(fields_of(params_schema()))
    assert "train_dit.training.max_grad_norm" in fields
    assert "collect.procedural.families" in fields
    for key, field in fields.items():
        assert field.get("description", "").endswith((".", "?")), key
        assert "\n" not in field["description"], key


def test_the_schema_accepts_params_yaml_and_refuses_what_the_models_refuse_in_single_fields() -> None:
    validator = jsonschema.Draft202012Validator(params_schema())
    assert not list(validator.iter_errors(VALUES))
    for key, value in BAD:
        if key not in BETWEEN_FIELDS:
            found = list(validator.iter_errors(changed({key: value})))
            assert [".".join(error.absolute_path) for error in found] == [key]
    assert list(validator.iter_errors(changed({"train_dit.num_frame": 3})))
    assert list(validator.iter_errors(changed({"run.seed": ...})))


def test_presets_and_data_sources_name_their_schema_and_fit_it() -> None:
    validator = jsonschema.Draft202012Validator(changes_schema())
    files = sorted((ROOT / "conf").glob("*/*.yaml"))
    assert len(files) >= 5
    for file in files:
        assert file.read_text().splitlines()[1] == "# yaml-language-server: $schema=../changes.schema.json", file.name
        values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        assert not list(validator.iter_errors(values)), file.name
    assert list(validator.iter_errors({"train_dit": {"training": {"steps": 0}}}))
    assert list(validator.iter_errors({"train_dit": {"step": 1}}))


def test_the_command_checks_a_file_and_prints_the_schema() -> None:
    runner = CliRunner()
    done = runner.invoke(command, ["check", str(ROOT / "params.yaml")], catch_exceptions=False)
    assert done.output == f"{ROOT / 'params.yaml'}: all values are valid (preset cpu).\n"
    assert json.loads(runner.invoke(command, ["schema"], catch_exceptions=False).output) == params_schema()
