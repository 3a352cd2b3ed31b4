"""`gvf weights`: what is here, pulling with and without a network, converting."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save, save_file

from gvf.cli.weights import command
from gvf.errors import UserError
from gvf.storage import published_files
from gvf.storage.files import sha256
from gvf.storage.published_files import HubFile, HubModel, WebFile
from gvf.weights.catalog import CATALOG, KINDS
from gvf.weights.published import load_published
from tests.storage.test_recognition import torch_bytes
from tests.weights.file_server import serve
from tests.weights.small_weights import small_state
from tests.weights.test_download import closed_port

PINNED = HubFile("owner/networks", "5" * 40, "ckpts/flow.safetensors")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the test's own where weights are looked for: weights, cache, torch, hub."""
    for name, folder in (
        ("GVF_WEIGHTS", "weights"),
        ("XDG_CACHE_HOME", "cache"),
        ("TORCH_HOME", "torch"),
        ("HF_HOME", "hub"),
    ):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def gvf(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since the hub's client reads its settings when imported."""
    code = "from gvf.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=120
    )


def test_files_are_found_where_people_put_them(places: Path) -> None:
    assert PINNED.find() is None
    snapshots = places / "hub" / "hub" / "models--owner--networks" / "snapshots"
    expected = [
        touch(snapshots / "1234" / "ckpts" / "flow.safetensors"),
        touch(snapshots / PINNED.revision / "ckpts" / "flow.safetensors"),  # before other revisions
        touch(places / "torch" / "hub" / "checkpoints" / "flow.safetensors"),
        touch(places / "cache" / "gvf" / "weights" / "flow.safetensors"),
        touch(places / "weights" / "flow.safetensors"),
        touch(places / "weights" / "ckpts" / "flow.safetensors"),
        touch(places / "weights" / "networks" / "ckpts" / "flow.safetensors"),
    ]
    for path in reversed(expected):
        assert PINNED.find() == path
        path.unlink()


def test_a_model_folder_needs_config_and_weights(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = HubModel("owner/clip", "5" * 40, ("config.json", "model.safetensors"))
    folder = touch(places / "weights" / "clip" / "config.json").parent
    assert model.find() is None
    touch(folder / "pytorch_model.bin")
    assert model.find() == folder
    snapshot = touch(places / "elsewhere" / "models--owner--clip" / "snapshots" / "1" / "config.json").parent
    touch(snapshot / "model.safetensors")
    (folder / "config.json").unlink()
    assert model.find() is None
    monkeypatch.setenv("HF_HUB_CACHE", str(places / "elsewhere"))
    assert model.find() == snapshot


def test_list_shows_all_weights_and_where_to_get_what_is_absent(places: Path) -> None:
    here = touch(places / "weights" / "ema_diffusion_0.9999_500000.pt")
    torch.save({"a": torch.ones(1)}, here)
    text = run("list").output
    lines = text.splitlines()
    assert {line.split()[0] for line in lines if line and not line.startswith((" ", "`"))} == set(CATALOG)
    assert {*KINDS, "lpips", "clip", "fvd", "dinov2", "aesthetic"} <= set(CATALOG)
    states = {line.split()[0]: line.split()[1] for line in lines if line and not line.startswith((" ", "`"))}
    assert {name for name, state in states.items() if state == "here"} == {"dit"}
    assert str(here) in text
    for entry in CATALOG.values():
        for file in entry.files:
            assert file.find() or file.address in text
    assert "vgg16-397923af.pth" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"cut short \(0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1834\n", "a Git LFS pointer.*1,834 bytes"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (torch_bytes({"a": torch.ones(3)})[:-9], "cut short"),
        (b"\0" * 4000, ".*nothing but zeros"),
    ],
)
def test_list_calls_damaged_what_is_no_file_of_weights(places: Path, content: bytes, reason: str) -> None:
    path = touch(places / "weights" / "ema_diffusion_0.9999_500000.pt")
    path.write_bytes(content)
    text = run("list").output
    assert re.search(r"^dit +damaged ", text, re.MULTILINE)
    assert re.search(rf"{re.escape(str(path))}: {reason}", text)
    assert "`gvf weights pull dit` downloads the damaged files again." in text


def test_list_compares_digests_once_for_each_file(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gvf.weights import verification

    path = touch(places / "weights" / "vgg16-397923af.pth")
    torch.save({"features.0.weight": torch.ones(1)}, path)
    hashed = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr(verification, "sha256", counted)
    for _ in range(2):
        text = run("list").output
        assert re.search(r"^lpips +damaged ", text, re.MULTILINE)
        assert f"{path}: SHA-256 is {sha256(path)[:16]}..., where 397923af was published" in text
    assert hashed == [path]
    path.write_bytes(path.read_bytes() + b"x")
    run("list")
    assert len(hashed) == 2


def test_the_name_in_the_cache_of_the_hub_is_its_digest(places: Path) -> None:
    content = torch_bytes({"a": torch.ones(1)})
    repository = places / "hub" / "hub" / "models--BwZhang--GaussianVariationFieldDiffusion"
    blob = touch(repository / "blobs" / hashlib.sha256(content).hexdigest())
    link = repository / "snapshots" / "1234" / "ema_diffusion_0.9999_500000.pt"
    link.parent.mkdir(parents=True)
    link.symlink_to(Path("../../blobs") / blob.name)
    blob.write_bytes(content)
    assert f"{link} (SHA-256 as published)" in run("list").output
    blob.write_bytes(content[:-1] + b"x")
    assert re.search(r"^dit +damaged ", run("list").output, re.MULTILINE)


def test_a_model_folder_is_verified_file_by_file(places: Path) -> None:
    folder = places / "weights" / "clip-vit-base-patch32"
    save_file({"a": torch.ones(1)}, touch(folder / "model.safetensors"))
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text("{}")
    assert re.search(r"^clip +here ", run("list").output, re.MULTILINE)
    (folder / "config.json").write_text("<html></html>")
    text = run("list").output
    assert re.search(r"^clip +damaged ", text, re.MULTILINE)
    assert f"{folder / 'config.json'}: a web page, not JSON." in text
    (folder / "config.json").write_text("{}")
    (folder / "preprocessor_config.json").unlink()
    assert f"{folder / 'preprocessor_config.json'}: missing" in run("list").output


def test_list_and_help_need_no_torch(places: Path) -> None:
    for arguments in (["weights", "list"], ["weights", "--help"], ["weights", "pull", "--help"], ["--help"]):
        code = (
            "import sys\nfrom gvf.cli.main import _gvf\n"
            f"try:\n    _gvf.main({arguments!r}, standalone_mode=False)\nexcept SystemExit:\n    pass\n"
            "print('torch' in sys.modules)"
        )
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
        assert time.monotonic() - start < 5  # a bound for a loaded machine; 0.3 s on an idle one


def test_every_file_is_pinned() -> None:
    """To a commit, except where the authors' own code names none; files of the web by digest or by a commit in the URL."""
    for entry in CATALOG.values():
        for file in entry.files:
            if isinstance(file, WebFile):
                assert len(file.digest) >= 8 or re.search("/[0-9a-f]{40}/", file.url)
            elif not file.repository.startswith("BwZhang/"):
                assert len(file.revision) == 40
                assert set(file.revision) <= set("0123456789abcdef")


def test_pull_fetches_what_is_missing(places: Path) -> None:
    file = published_files.SLAT_GS_DECODER
    content = b"weights" * 1000
    with serve({f"/{file.repository}/resolve/{file.revision}/{file.path}": content}) as server:
        done = gvf("weights", "pull", "slat-gs-decoder", env={"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"})
        assert done.returncode == 0, done.stderr
        target = places / "weights" / "TRELLIS-image-large" / file.path
        assert target.read_bytes() == content
        assert str(target) in done.stdout
        assert [method for method, path, _ in server.asked if path.endswith(file.path)] == ["HEAD", "GET"]
    assert file.find() == target
    again = gvf("weights", "pull", "slat-gs-decoder", env={"HF_ENDPOINT": closed_port()})
    assert again.returncode == 0
    assert str(target) in again.stdout


@pytest.mark.parametrize("place", ["TRELLIS-image-large/ckpts", "."])
def test_pull_fetches_a_damaged_file_again_and_keeps_it_aside(places: Path, place: str) -> None:
    file = published_files.SLAT_GS_DECODER
    damaged = touch(places / "weights" / place / file.name)
    damaged.write_bytes(b"<html>Sign in</html>")
    target = places / "weights" / "TRELLIS-image-large" / file.path
    refused = gvf("weights", "pull", "slat-gs-decoder", env={"HF_ENDPOINT": closed_port(), "HF_HUB_OFFLINE": "0"})
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert damaged.read_bytes() == b"<html>Sign in</html>"  # as long as there is no better one
    content = b"weights" * 1000
    with serve({f"/{file.repository}/resolve/{file.revision}/{file.path}": content}) as server:
        done = gvf("weights", "pull", "slat-gs-decoder", env={"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"})
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == content
    assert damaged.with_name(f"{file.name}.damaged").read_bytes() == b"<html>Sign in</html>"
    assert file.find() == target
    assert re.search(r"^slat-gs-decoder +here ", run("list").output, re.MULTILINE)


def test_pull_asks_the_hub_what_a_copied_file_should_be(places: Path) -> None:
    file = published_files.SLAT_GS_DECODER
    target = touch(places / "weights" / "TRELLIS-image-large" / file.path)
    save_file({"a": torch.zeros(3)}, target)  # whole, and another file than the published one
    content = save({"a": torch.ones(3)})
    with serve({f"/{file.repository}/resolve/{file.revision}/{file.path}": content}) as server:
        done = gvf("weights", "pull", "slat-gs-decoder", env={"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"})
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == content
    assert target.with_name(f"{file.name}.damaged").is_file()


def test_pull_keeps_a_whole_file_where_nobody_can_be_asked(places: Path) -> None:
    target = touch(places / "weights" / "TRELLIS-image-large" / published_files.SLAT_GS_DECODER.path)
    save_file({"a": torch.zeros(3)}, target)
    done = gvf("weights", "pull", "slat-gs-decoder", env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0
    assert str(target) in done.stdout
    assert "the hub cannot be queried for it now" in done.stderr


@pytest.mark.parametrize("offline", [True, False], ids=["offline", "refused"])
def test_without_a_network_pull_says_what_to_do(places: Path, offline: bool) -> None:
    env = {"HF_HUB_OFFLINE": "1"} if offline else {"HF_ENDPOINT": closed_port(), "HF_HUB_OFFLINE": "0"}
    done = gvf("weights", "pull", "dit", env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ema_diffusion_0.9999_500000.pt, revision main): cannot be fetched (" in done.stderr
    assert str(places / "weights" / "GaussianVariationFieldDiffusion" / "ema_diffusion_0.9999_500000.pt") in done.stderr
    assert ("HF_HUB_OFFLINE is set" in done.stderr) == offline
    assert not list(places.rglob("*.pt*"))


def test_pull_of_an_unknown_name(places: Path) -> None:
    result = run("pull", "ditt")
    assert isinstance(result.exception, UserError)
    assert "Names: variation-vae, dit" in str(result.exception)


def test_convert_writes_safetensors_beside_a_config(tmp_path: Path) -> None:
    source, folder = tmp_path / "ema.pt", tmp_path / "converted"
    state = small_state("variation-vae")
    torch.save({"ema": {f"module.{name}": tensor for name, tensor in state.items()}, "step": 3}, source)
    touch(folder / "kept.txt")
    result = run("convert", str(source), "-o", str(folder), "--set", "num_heads=2", "--set", "interpolation=paper")
    assert result.exception is None, result.output
    assert "kind variation-vae" in result.output
    written = load_file(folder / "model.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in state.items())
    assert (folder / "kept.txt").exists()
    config = json.loads((folder / "config.json").read_text())
    assert config["kind"] == "variation-vae"
    assert (config["sizes"]["width"], config["sizes"]["num_heads"], config["sizes"]["interpolation"]) == (
        24,
        2,
        "paper",
    )
    assert (config["source"]["file"], len(config["source"]["sha256"])) == ("ema.pt", 64)
    module = load_published(folder, "variation-vae")
    assert (module.config.num_heads, module.config.interpolation) == (2, "paper")


def test_convert_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    result = run("convert", str(tmp_path / "a.pt"), "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, UserError)
    assert "match no known kind" in str(result.exception)
    result = run("convert", str(tmp_path / "a.pt"), "-o", str(tmp_path / "out"), "--kind", "dit", "--set", "width")
    assert "must be SIZE=VALUE" in str(result.exception)
    assert not (tmp_path / "out").exists()
