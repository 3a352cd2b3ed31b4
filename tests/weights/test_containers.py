"""The file formats of published weights, and the messages about broken files."""

from __future__ import annotations

import argparse
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.weights.containers import read_tensors
from gvf.weights.published import load_published
from tests.weights.small_weights import UNTOLD, small_state

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def assert_read(path: Path, expected: dict[str, Tensor] = TENSORS) -> None:
    found = read_tensors(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert not found[name].requires_grad


def test_plain_files(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    torch.save(TENSORS, tmp_path / "new.pt")
    torch.save(TENSORS, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({name: nn.Parameter(tensor) for name, tensor in TENSORS.items()}, tmp_path / "parameters.pt")
    for path in tmp_path.iterdir():
        assert_read(path)
    assert_read(tmp_path)  # a folder stands for its model.safetensors


def test_the_prefix_of_parallel_wrappers_is_taken_off(tmp_path: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in TENSORS.items()}, tmp_path / "w.pt")
    assert_read(tmp_path / "w.pt")
    save_file({f"module.module.{name}": tensor for name, tensor in TENSORS.items()}, tmp_path / "w.safetensors")
    assert_read(tmp_path / "w.safetensors")
    kind = "static-vae"
    torch.save({f"module.{name}": tensor for name, tensor in small_state(kind).items()}, tmp_path / "static.pt")
    assert load_published(tmp_path / "static.pt", kind, UNTOLD[kind])


@pytest.mark.parametrize(
    "container",
    [
        {"ema": TENSORS, "model": {"a": torch.zeros(1)}, "step": 7},
        {"state_dict": TENSORS, "epoch": 3, "lr": 0.1},
        {"model": {f"module.{name}": tensor for name, tensor in TENSORS.items()}, "optimizer": {"state": {}}},
        {"model": {"state_dict": TENSORS}},
        {"step": 5, "note": "text", **TENSORS},
        {"state_dict": TENSORS, "ema": {"decay": 0.9, "num_updates": 5, "shadow_params": list(TENSORS.values())}},
        {"ema": {}, "model_ema": {"decay": torch.tensor(0.9)}, "model": TENSORS},
        {"ema": {"decay": 0.9, "shadow": TENSORS}, "state_dict": {"a": torch.zeros(1)}},
        {"ema": {"note": "x", "model": {"epoch": 3}}, "module": TENSORS, "lr": 0.1},
        {"ema": [torch.zeros(1)], "params": TENSORS},
        {"ema": {"state_dict": {}}, **TENSORS},
    ],
    ids=["ema", "state_dict", "model", "nested", "flat", "torch_ema", "counters", "shadow", "module", "list", "beside"],
)
def test_training_checkpoints_give_their_averaged_weights_first(container: dict[str, object], tmp_path: Path) -> None:
    torch.save(container, tmp_path / "checkpoint.pt")
    assert_read(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("prefix", "inner"),
    [
        ("_orig_mod.", ""),
        ("module._orig_mod.", ""),
        ("_orig_mod.module.", ""),
        ("module.module.", ""),
        ("", "_orig_mod."),
        ("module.", "_orig_mod."),
        ("_fsdp_wrapped_module._orig_mod.", "_checkpoint_wrapped_module."),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_names_of_wrapped_modules_become_plain(prefix: str, inner: str, suffix: str, tmp_path: Path) -> None:
    named = {f"{prefix}blocks.{inner}0.module.weight": TENSORS["a.weight"], f"{prefix}b": TENSORS["b"]}
    path = tmp_path / f"w{suffix}"
    save_file(named, path) if suffix == ".safetensors" else torch.save(named, path)
    assert_read(path, {"blocks.0.module.weight": TENSORS["a.weight"], "b": TENSORS["b"]})


def test_one_name_under_two_prefixes(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(2), "module.a": torch.ones(2)}, path)
    assert_read(path, {"a": torch.ones(2)})
    torch.save({"a": torch.ones(2), "_orig_mod.a": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"w\.pt: holds a twice"):
        read_tensors(path)


def test_averages_without_names_are_said_only_where_nothing_else_is(tmp_path: Path) -> None:
    average = {"decay": 0.9, "num_updates": 5, "shadow_params": [torch.ones(2)], "collected_params": None}
    for content in ({"ema": average}, average):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(UserError, match="averaged weights as a list without names"):
            read_tensors(tmp_path / "w.pt")


def test_a_checkpoint_that_holds_settings_as_objects_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mp_rank_00_model_states.pt"
    torch.save({"module": TENSORS, "args": argparse.Namespace(lr=0.1)}, path)
    with pytest.raises(
        UserError, match=r"states\.pt: a pickle with code \(argparse\.Namespace\), refused.*torch\.save"
    ):
        read_tensors(path)


def shards(folder: Path) -> Path:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for name, key in zip(names, TENSORS):
        save_file({key: TENSORS[key]}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict(zip(TENSORS, names))}))
    return index


def test_shards(tmp_path: Path) -> None:
    index = shards(tmp_path)
    assert_read(index)
    assert_read(tmp_path)
    assert_read(tmp_path / "model.safetensors")  # the name that the whole would have
    second = tmp_path / "model-00002-of-00002.safetensors"
    save_file({"c": torch.ones(1)}, second)
    with pytest.raises(UserError, match=r"00002\.safetensors: lacks b, which model\.safetensors\.index\.json promises"):
        read_tensors(index)
    second.unlink()
    with pytest.raises(UserError, match=r"00002-of-00002\.safetensors: no such file.*shard 2 of 2"):
        read_tensors(index)
    index.write_text("{}")
    with pytest.raises(UserError, match="no index of shards"):
        read_tensors(index)


def test_shards_of_torch_save(tmp_path: Path) -> None:
    names = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    for name, key in zip(names, TENSORS):
        torch.save({key: TENSORS[key]}, tmp_path / name)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict(zip(TENSORS, names))}))
    for path in (index, tmp_path, tmp_path / "pytorch_model.bin"):
        assert_read(path)
    torch.save({"b": Malicious()}, tmp_path / names[1])
    with pytest.raises(UserError, match=r"00002-of-00002\.bin: a pickle with code .*, refused"):
        read_tensors(index)
    torch.save({"b": TENSORS["b"], "a.weight": torch.zeros(2, 3)}, tmp_path / names[1])
    with pytest.raises(UserError, match=r"00002-of-00002\.bin: holds a\.weight, as pytorch_model-00001.* other values"):
        read_tensors(index)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (["a.safetensors"], "its `weight_map` is a list"),
        ("a.safetensors", "its `weight_map` is a str"),
        ({"a": 3}, "gives a a int, not a file's name"),
        ({"a": ["x.safetensors"]}, "gives a a list"),
        ({"a": None}, "gives a a NoneType"),
        ({"a": "../w.safetensors"}, "leaves its folder; refused"),
        ({"a": "sub/../../w.safetensors"}, "leaves its folder; refused"),
        ({"a": "/etc/passwd"}, "leaves its folder; refused"),
        ({"a": "..\\w.safetensors"}, "leaves its folder; refused"),
        ({"a": "C:\\w.safetensors"}, "leaves its folder; refused"),
        ({"a": ""}, "leaves its folder; refused"),
        ({"a": "w\0.safetensors"}, "leaves its folder; refused"),
        ({"a": "."}, "no such file"),
        ({}, "no `weight_map`"),
    ],
)
def test_indices_that_are_none(weight_map: object, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match=message):
        read_tensors(index)


def test_an_index_that_is_a_web_page(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("<html>Log in</html>")
    with pytest.raises(UserError, match=r"index\.json: not valid JSON: a web page"):
        read_tensors(tmp_path)


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('ran')",))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"a": torch.ones(1), "b": Malicious()}, path)
    with pytest.raises(UserError, match=r"evil\.pt: a pickle with code \(.*exec\), refused"):
        read_tensors(path)
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(Malicious(), protocol))
        with pytest.raises(UserError, match=r"evil\.pt: a pickle with code.*, refused"):
            load_published(path, "dit")


@pytest.mark.parametrize("kept", [0, 5, 60, -7])
def test_files_that_were_cut_short(kept: int, tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "w.safetensors")
    torch.save(TENSORS, tmp_path / "w.pt")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pt"):
        whole = path.read_bytes()
        path.write_bytes(whole[:kept])
        size = len(whole[:kept])
        with pytest.raises(UserError, match=rf"{re.escape(str(path))}: cut short \({size} bytes; fetch it again\)"):
            load_published(path, "dit")


class Program(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def test_other_contents_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(UserError, match=r"w\.pt: no such file.*gvf weights list"):
        read_tensors(path)
    with pytest.raises(UserError, match=r"holds neither model\.safetensors nor an index"):
        read_tensors(tmp_path)
    with pytest.raises(UserError, match=r"x\.safetensors\.index\.json: no such file"):
        read_tensors(tmp_path / "x.safetensors.index.json")
    torch.save(torch.ones(3), path)
    with pytest.raises(UserError, match="holds a Tensor, not names with tensors"):
        read_tensors(path)
    torch.save({"step": 3, "lr": 0.1}, path)
    with pytest.raises(UserError, match="holds no tensors; its entries are step, lr"):
        read_tensors(path)
    torch.jit.script(Program()).save(str(path))
    with pytest.raises(UserError, match="a TorchScript program"):
        read_tensors(path)
    path.write_text("<html>Not found</html>")
    with pytest.raises(UserError, match=r"w\.pt: a web page"):
        read_tensors(path)
    (tmp_path / "w.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(UserError, match=r"w\.safetensors: a Git LFS pointer of a file of 3 bytes.*git lfs pull"):
        read_tensors(tmp_path / "w.safetensors")
