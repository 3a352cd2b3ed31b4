"""Weight files are recognised by their content, whatever their names."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from gvf.errors import UserError
from gvf.storage.recognition import Container, recognize_file, require_container, wrong_answer
from gvf.storage.tensor_files import read_content, read_state

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:46652\nsize 347521234\n"


def torch_bytes(content: object, legacy: bool = False, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return file.getvalue()


def zip_bytes(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_bytes() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"), io.BytesIO(b""))
    return file.getvalue()


def npz_bytes() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(2))
    return file.getvalue()


SAFE, ZIPPED, LEGACY = safetensors_bytes(TENSORS), torch_bytes(TENSORS), torch_bytes(TENSORS, legacy=True)
HEADER = int.from_bytes(SAFE[:8], "little")

REFUSED = {
    "pointer": (POINTER, "a Git LFS pointer of a file of 347,521,234 bytes, not the weights. .*git lfs pull"),
    "pointer crlf": (POINTER.replace(b"\n", b"\r\n"), "a Git LFS pointer"),
    "old pointer": (b"version https://hawser.github.com/spec/v1\noid sha256:1\nsize 3\n", "a Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s3--abc.pt\n", "a git-annex pointer"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>Log  in</title></head></html>", r'a web page \("Log in"\)'),
    "html comment": (b"\xef\xbb\xbf\n<!-- saved -->\n<HTML><body>no</body></HTML>", "a web page"),
    "utf-16 html": ("<html>Zugriff verweigert</html>".encode("utf-16"), "a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Message>Access Denied</Message></Error>', r'XML text \("Access Denied"\)'),
    "json error": (b'{"error":"Repository not found"}', r'a JSON text \("Repository not found"\)'),
    "json list": (b"[1, 2]", "a JSON text"),
    "index": (json.dumps({"weight_map": {"a": "b"}}).encode(), "the index of shards"),
    "text": (b"Entry not found", r'a text, not the weights \("Entry not found"\)'),
    "empty": (b"", r"cut short \(0 bytes; fetch it again\)"),
    "zeros": (b"\0" * 5000, "nothing but zeros"),
    "noise": (bytes(range(1, 200)), "neither safetensors nor a file of torch.save"),
    "gzip": (gzip.compress(ZIPPED), "a gzip archive. Unpack it"),
    "tar": (tar_bytes(), "a tar archive. Unpack it"),
    "zip": (zip_bytes(**{"model.ckpt": b"1"}), r"a zip archive of other files \(model.ckpt\). Unpack it"),
    "npz": (npz_bytes(), "a NumPy archive"),
    "npy": (b"\x93NUMPY\x01\0" + b"\0" * 90, "a NumPy array"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "an HDF5 file"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 90, "a PNG image"),
    "pickle": (pickle.dumps({"a": np.ones(2)}), r"a pickle with code \(.*numpy.*\), refused"),
    "safetensors: 8 bytes": (SAFE[:8], r"cut short \(8 bytes"),
    "safetensors: in the header": (SAFE[:60], r"cut short \(60 bytes; fetch it again\). Its safetensors header alone"),
    "safetensors: in the data": (SAFE[:-3], rf"header declares {len(SAFE)}"),
    "safetensors: longer": (SAFE + b"more", "damaged"),
    "safetensors: no JSON": (SAFE[:9] + b"\xff" + SAFE[10:], "the header of a safetensors file that cannot be read"),
    "safetensors: a number": (SAFE[:8] + b'{"a": 1}'.ljust(HEADER) + SAFE[8 + HEADER :], "header .* cannot be read"),
    "torch: cut": (ZIPPED[:-40], r"cut short .*without its end"),
    "torch: half": (ZIPPED[: len(ZIPPED) // 2], "cut short"),
    "torch: packed": (zip_bytes(**{"w/data.pkl": b"1"}).replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x08\0"), "damaged"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_not_a_complete_container_is_described(case: str, suffix: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_state(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "weights_only" not in text
    assert recognize_file(path).problem == text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "container"),
    [
        (SAFE, Container.SAFETENSORS),
        (ZIPPED, Container.TORCH),
        (LEGACY, Container.TORCH_LEGACY),
        (torch_bytes(TENSORS, legacy=True, protocol=4), Container.TORCH_LEGACY),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ""])
def test_the_content_decides_not_the_name(content: bytes, container: Container, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert require_container(path) is container
    if b"\x80\x04" not in content[:4]:
        found = read_content(path)
        assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.ones(1), "hyper_parameters": Path("x")},
        {"a": np.float64(3)},
        {"a": torch.nn.Linear(2, 2)},
        torch.nn.Linear(2, 2),
        {"a": range(3)},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_objects_are_refused_without_advice_to_run_them(content: object, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(torch_bytes(content, legacy))
    with pytest.raises(
        UserError, match=r"last\.ckpt: a pickle with code.*, refused.*Ask for a file of tensors"
    ) as caught:
        read_content(path)
    for advice in ("weights_only", "add_safe_globals", "allowlist", "option"):
        assert advice not in str(caught.value)


@pytest.mark.parametrize("kept", [20, 100, 300, -9])
def test_a_truncated_file_in_the_old_format_of_torch_is_refused(kept: int, tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(LEGACY[:kept])
    with pytest.raises(UserError, match=r"old\.pt: cut short"):
        read_content(tmp_path / "old.pt")


def test_damage_inside_a_complete_archive_is_reported(tmp_path: Path) -> None:
    at = ZIPPED.index(b"ctorch._utils")
    (tmp_path / "w.pt").write_bytes(ZIPPED[:at] + b"\xff" * 8 + ZIPPED[at + 8 :])
    with pytest.raises(UserError, match=r"w\.pt: .*(damaged|refused|protocol)") as caught:
        read_content(tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value)


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    for name, tensor in (("meta", torch.ones(2, device="meta")), ("sparse", torch.eye(2).to_sparse())):
        torch.save({name: tensor}, tmp_path / "w.pt")
        with pytest.raises(UserError, match=f"tensor {name} is"):
            read_state(tmp_path / "w.pt")


def test_error_answers_of_servers_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    for content, name, expected in (
        (REFUSED["html"][0], "w.pt", "a web page"),
        (POINTER, "w.pt", "a Git LFS pointer"),
        (b"Not Found", "w.pt", "a text"),
        (b"a text of some length. " * 100, "notes", ""),
        (bytes(range(256)), "w.bin", ""),
        (bytes(range(256)), "w.pt", "not a file of weights"),
        (b"a text of some length. " * 100, "w.pth", "a text"),
        (b"\x1f\x8b" + bytes(100), "w.safetensors", "a gzip archive"),
        (SAFE, "w.pt", ""),
        (SAFE[:-1], "w.pt", "cut short"),
        (b'{"a": 1}', "config.json", ""),
        (b'{"a": 1}', "w.pt", "a JSON text"),
        (REFUSED["html"][0], "config.json", "a web page"),
    ):
        path.write_bytes(content)
        found = wrong_answer(path, name)
        assert found.startswith(expected)
        assert bool(found) == bool(expected)
