"""Variants of Tables 2, 3, 5 and 6: differences of configuration only, one DVC stage each, made in a workspace of their own."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from gvf.config.ablations import MODELS, load_ablations, merged
from gvf.config.load import parse
from gvf.config.params import Params
from gvf.errors import UserError
from gvf_evaluation.ablations import PUBLISHED_METRICS, TABLES, AblationTable

ROOT = Path(__file__).resolve().parents[2]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())
FILE = ROOT / "ablations/params.yaml"
GRAPH = yaml.safe_load((ROOT / "ablations/dvc.yaml").read_text())["stages"]
ABLATIONS = load_ablations(FILE, VALUES)


def variant(model: str, name: str) -> Params:
    return parse(Params, ABLATIONS.values(VALUES, model, name, 3), "")


@pytest.mark.parametrize("model", MODELS)
def test_every_variant_is_a_stage_and_stands_in_a_table(model: str) -> None:
    names = list(ABLATIONS.variants[model])
    assert GRAPH[model]["matrix"]["variant"] == names
    assert {row for table in TABLES if table.model == model for row in table.variants} == set(names)


def test_table_2_adds_one_thing_a_row() -> None:
    rows = [variant("vae", name) for name in ("A", "B", "C", "ours")]
    told = [
        (row.variation_vae.query, row.train_vae_joint.variation_loss.mesh_guided > 0, row.variation_vae.attributes)
        for row in rows
    ]
    motion, everything = ("means", "scales", "quats"), ("means", "scales", "quats", "colors", "opacities")
    assert told == [
        ("position", False, motion),
        ("position", True, motion),
        ("motion", True, motion),
        ("motion", True, everything),
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table-{table.number}")
def test_a_row_sets_what_the_published_row_says(table: AblationTable) -> None:
    rows = [*table.published.to_dict("records"), *table.beyond.values()]
    for name, row in zip(table.variants, rows, strict=True):
        params = variant(table.model, name)
        found = {
            "config": row.get("config"),
            "query": params.variation_vae.query,
            "mesh_guided": params.train_vae_joint.variation_loss.mesh_guided > 0,
            "attributes": ", ".join(params.variation_vae.attributes),
            "image_condition": params.variation_dit.image_condition,
            "position_embedding": params.variation_dit.position_embedding,
            "finetune_decoder": params.train_vae_joint.finetune_decoder,
            "num_neighbors": params.variation_vae.num_neighbors,
            "beta": params.variation_vae.beta,
        }
        settings = {key: value for key, value in row.items() if key not in PUBLISHED_METRICS}
        assert settings == {key: found[key] for key in settings}


def test_a_variant_differs_in_what_it_names_and_in_the_seed() -> None:
    changed = ABLATIONS.values(VALUES, "dit", "no-positions", 3)
    ours = ABLATIONS.values(VALUES, "dit", "ours", 0)
    assert changed["run"]["seed"] == 3
    assert changed["variation_dit"]["position_embedding"] is False
    expected = copy.deepcopy(ours)
    expected["run"]["seed"] = 3
    expected["variation_dit"]["position_embedding"] = False
    assert changed == expected


def test_null_turns_a_mapping_off_and_a_mapping_takes_the_place_of_null() -> None:
    phase = {"steps": 2, "frames": 4}
    root = {"joint": {"phase": phase, "floor": 0.1}}
    off = merged(root, {"joint": {"phase": None}})
    assert off == {"joint": {"phase": None, "floor": 0.1}}
    assert merged(off, {"joint": {"phase": phase}}) == root
    assert merged(root, {"joint": {"phase": {"steps": 3}}})["joint"]["phase"] == {"steps": 3, "frames": 4}


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: vae has no variant 'E'"):
        ABLATIONS.values(VALUES, "vae", "E", 0)
    path = tmp_path / "params.yaml"
    for text, message in (
        ("seeds: [0]\nvea: {}\n", "vea: no such field. Did you mean 'vae'?"),
        ("seeds: 3\n", "seeds: is 3, but must be a list."),
        ("seeds: []\n", "seeds: has 0 values, but must have at least 1."),
        ("seeds: [true]\n", "seeds[0]: is true, but must be a whole number."),
        ("- 1\n", "must be a mapping of sections, but is a list of 1."),
        (
            "seeds: [0]\nvae: {A: {variation_vae: {betta: 1.0}}}\n",
            "vae.A: variation_vae.betta: no such field. Did you mean 'beta'?",
        ),
        (
            "seeds: [0]\nbase: {variation_vae: 3}\nvae: {A: }\n",
            "base: variation_vae: must be a mapping, as in params.yaml.",
        ),
        (
            "seeds: [0]\nvae: {A: {variation_vae: {beta: {is: 1}}}}\n",
            "vae.A: variation_vae.beta: must be a value, as in params.yaml.",
        ),
        (
            "seeds: [0]\nvae: {A: {variation_vae: {query: sideways}}}\n",
            "vae.A: variation_vae.query: is 'sideways', but must be 'motion' or 'position'.",
        ),
        (
            "seeds: [0]\nvae: {A: {static_vae: {resolution: 8}}}\n",
            "vae.A: static_vae.resolution: is 8, but must equal featurize.voxel_resolution, which is 16.",
        ),
    ):
        path.write_text(text)
        with pytest.raises(UserError) as caught:
            load_ablations(path, VALUES)
        assert str(caught.value) == f"{path}: {message}"
