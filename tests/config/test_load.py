"""Parameters are checked once, at the edge, and every message names the file and the key."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gvf.config.load import as_dict, load_params, parse, read_yaml
from gvf.config.params import Params
from gvf.errors import ConfigError, UserError
from tests.config.values import ROOT, changed


def refused(changes: dict[str, Any]) -> ConfigError:
    """Return the error that these changes of params.yaml raise."""
    with pytest.raises(ConfigError) as caught:
        parse(Params, changed(changes))
    assert caught.value.exit_code == 2
    return caught.value


def test_good_values_become_typed_frozen_and_plain_again() -> None:
    params = parse(Params, changed({"sample.safety": 1}))
    assert params.sample.safety == 1.0
    assert isinstance(params.sample.safety, float)
    assert params.sample.methods == ("vae", "dit", "refined", "video")
    assert params.collect.glb is None
    assert params.train_dit.training.betas == (0.9, 0.99)
    assert parse(Params, as_dict(params)) == params
    assert pickle.loads(pickle.dumps(params)) == params
    assert hash(params) == hash(replace(params)) != hash(replace(params, run=replace(params.run, seed=1)))
    with pytest.raises(AttributeError):
        params.run.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="seed"):
        replace(params.run, seed=-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_dit.num_frame": 3}, "train_dit.num_frame: no such field. The fields here are initial_weights,"),
        (
            {"train_dit.training.batchsize": 3},
            "train_dit.training.batchsize: no such field. Did you mean 'batch_size'?",
        ),
        ({"collect.procedural.family": []}, "collect.procedural.family: no such field. Did you mean 'families'?"),
        ({"evalaute": {}}, "evalaute: no such field. Did you mean 'evaluate'?"),
        ({"run.seed": ...}, "run.seed: is missing."),
        ({"render": 3}, "render: is 3, but must be a mapping."),
        ({"render": None}, "render: is empty, but must be a mapping."),
        ({"sample.safety": "fast"}, "sample.safety: is 'fast', but must be a number."),
        ({"sample.safety": float("nan")}, "sample.safety: is nan, but must be a finite number."),
        ({"sample.safety": True}, "sample.safety: is true, but must be a number."),
        ({"run.seed": 1.0}, "run.seed: is 1.0, but must be a whole number."),
        ({"run.seed": "1"}, "run.seed: is '1', but must be a whole number."),
        ({"run.seed": True}, "run.seed: is true, but must be a whole number."),
        ({"curate.max_clips": True}, "curate.max_clips: is true, but must be a whole number."),
        ({"tracking.enabled": 1}, "tracking.enabled: is 1, but must be true or false."),
        ({"run.preset": 1}, "run.preset: is 1, but must be text."),
        ({"run.preset": "x\x1b[31m" + 99 * "y"}, None),
        ({"sample.methods": "vae"}, "sample.methods: is 'vae', but must be a list."),
        (
            {"sample.methods": ["vae", "dot"]},
            "sample.methods[1]: is 'dot', but must be 'vae', 'dit', 'refined', 'video',",
        ),
        (
            {"sample.methods": ["vae", "video_true_shape"]},
            "sample.methods: has video_true_shape, which are compared with video. Add video.",
        ),
        ({"sample.methods": ["vae", "refined"]}, "sample.methods: has refined, which starts from dit. Add dit."),
        ({"sample.refinement_steps": 0}, "sample.refinement_steps: is 0, but methods has refined,"),
        ({"sample.methods": []}, "sample.methods: has 0 values, but must have at least 1."),
        ({"train_dit.training.betas": [0.9]}, "train_dit.training.betas[1]: is missing."),
        ({"train_dit.training.betas": [0.9, 1]}, "train_dit.training.betas[1]: is 1, but must be less than 1."),
        ({"train_dit.training.betas": 3 * [0.9]}, "train_dit.training.betas: has 3 values, but must have at most 2."),
    ],
)
def test_a_message_names_the_file_and_the_key_and_says_what_is_allowed(
    changes: dict[str, Any], message: str | None
) -> None:
    if message is None:
        assert parse(Params, changed(changes))
    else:
        assert str(refused(changes)).startswith(f"params.yaml: {message}")


def test_a_value_in_a_message_is_clean_and_short() -> None:
    error = refused({"run.device": "\x1b[31m" + 99 * "y"})
    assert "\x1b" not in str(error)
    assert len(str(error)) < 140
    assert str(error).endswith("…, but must be 'auto', 'cpu' or 'cuda'.")


def test_all_problems_are_reported_together_up_to_a_bound() -> None:
    error = refused({"run.seed": -1, "sample.steps": 0, "train_dit.num_frame": 3})
    assert str(error).splitlines() == [
        "params.yaml: run.seed: is -1, but must be at least 0.",
        "params.yaml: train_dit.num_frame: no such field. The fields here are initial_weights, num_diffusion_steps, "
        "timestep_shift, cond_drop_prob, augmentation, training.",
        "params.yaml: sample.steps: is 0, but must be greater than 0.",
    ]
    assert (error.key, error.message) == ("run.seed", "is -1, but must be at least 0.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    lines = str(refused({f"run.x{i}": i for i in range(30)})).splitlines()
    assert len(lines) == ConfigError.MOST_LINES
    assert lines[-1] == "params.yaml: 19 more problems."


BAD = [
    ("run.seed", -1),
    ("run.device", "tpu"),
    ("execution.workers", 0),
    ("execution.executor", "threads"),
    ("execution.checkpoint_seconds", 0.0),
    ("collect.sources", "procedural"),
    ("collect.sources", []),
    ("collect.sources", ["procedural", "procedural"]),
    ("collect.glb", {"directory": "x"}),
    ("collect.procedural", ...),
    ("curate.held_out_fraction", 1.0),
    ("curate.split_by", "family"),
    ("curate.max_clips_per_asset", 0),
    ("curate.held_out_seen_fraction", 0.1),
    ("curate.variants", 2),
    ("train_dit.training.balance", "family"),
    ("featurize.encoder", "dinov3"),
    ("featurize.token_grid", None),
    ("featurize.weights", "somewhere"),
    ("featurize.voxel_weighting", "nearest"),
    ("static_vae.num_heads", 5),
    ("variation_dit.num_heads", 5),
    ("variation_dit.image_condition", "pixels"),
    ("variation_dit.aligned_channels", 0),
    ("variation_dit.aligned_features", ["differences", "values"]),
    ("variation_vae.num_heads", 5),
    ("variation_vae.attributes", ["colors"]),
    ("variation_vae.query", "motions"),
    ("train_vae_static.train_encoder", False),
    ("train_vae_joint.rendered_frames", 7),
    ("train_vae_joint.motion_phase", {"steps": 1500, "frames_per_clip": 4, "points": 256, "guided_gaussians": 256}),
    ("train_dit.training.steps", 0),
    ("train_dit.training.batch_size", 0),
    ("train_dit.training.learning_rate", 0.0),
    ("train_dit.training.warmup_steps", -1),
    ("train_dit.training.max_grad_norm", 0.0),
    ("train_dit.training.ema_decay", 1.0),
    ("train_dit.training.schedule", "linear"),
    ("train_dit.training.precision", "float16"),
    ("train_dit.training.optimizer", "sgd"),
    ("train_dit.training.zero_stage", 4),
    ("evaluate.metrics", ["ssim"]),
    ("report.tile_size", 8),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_value_that_cannot_be_is_refused_under_its_own_name(key: str, value: Any) -> None:
    assert refused({key: value}).key == key


def test_an_encoder_with_tokens_of_its_own_takes_no_grid() -> None:
    assert refused({"featurize.encoder": "dinov2"}).key == "featurize.token_grid"


def test_a_batch_is_divided_into_whole_passes() -> None:
    error = refused({"train_dit.training.batch_size": 16, "train_dit.training.gradient_accumulation_steps": 3})
    assert str(error) == (
        "params.yaml: train_dit.training.batch_size: is 16, but must be a multiple of gradient_accumulation_steps, which is 3."
    )


def test_a_motion_phase_needs_the_loss_of_motion() -> None:
    assert refused({"train_vae_joint.variation_loss.mesh_guided": 0.0}).key == "train_vae_joint.motion_phase"


def test_muon_needs_whole_matrices() -> None:
    error = refused({"train_dit.training.optimizer": "muon", "train_dit.training.zero_stage": 1})
    assert error.key == "train_dit.training.zero_stage"


def test_the_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(changed({"run.seed": -1})))
    with pytest.raises(ConfigError, match=rf"^{path}: run\.seed: is -1"):
        load_params(path)


def test_yaml_is_read_as_dvc_and_hydra_read_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: 1e-4\nb: '1e-4'\nc: 2E+3\nd: 1.5e6\ne: &e {x: 1, y: 2}\nf: {<<: *e, x: 3}\n")
    assert read_yaml(path) == {
        "a": 1e-4, "b": "1e-4", "c": 2e3, "d": 1.5e6, "e": {"x": 1, "y": 2}, "f": {"x": 3, "y": 2},
    }  # fmt: skip
    for text, words in {
        "a: 1\nb: 2\na: 3\n": "'a' is given twice",
        "a: [1": "not valid YAML",
        "- 1\n": "must be a mapping of sections, but is a list of 1",
        "": "must be a mapping of sections, but is empty",
    }.items():
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_yaml(path)
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")


def test_reading_parameters_needs_no_torch() -> None:
    code = "import sys; from gvf.config.load import load_params; load_params(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
