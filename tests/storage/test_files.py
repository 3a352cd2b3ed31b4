"""Atomic writes: a reader sees the old file or the new one, never a part of one."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from gvf.errors import UserError, ends_the_run
from gvf.storage.files import (
    atomic_path,
    fresh_directory,
    load_npz,
    load_tensors,
    read_json,
    save_npz,
    save_tensors,
    sha256,
    write_json,
)


def test_atomic_path_keeps_the_old_file_when_the_writer_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_fresh_directory_replaces_and_survives_failure(tmp_path):
    out = tmp_path / "out"
    with fresh_directory(out) as partial:
        (partial / "first").write_text("1")
    with pytest.raises(RuntimeError), fresh_directory(out) as partial:
        (partial / "second").write_text("2")
        raise RuntimeError
    assert [p.name for p in out.iterdir()] == ["first"]
    with fresh_directory(out) as partial:
        (partial / "third").write_text("3")
    assert [p.name for p in out.iterdir()] == ["third"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_fresh_directory_replaces_what_a_link_leads_to(tmp_path):
    out, disk = tmp_path / "out", tmp_path / "disk/out"
    out.symlink_to("disk/out")
    for text in ("first", "second"):  # nothing is there at first
        with fresh_directory(out) as partial:
            (partial / text).write_text(text)
        assert out.is_symlink()
        assert [path.name for path in disk.iterdir()] == [text]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out"]


def test_npz_round_trip_and_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "c": np.zeros((0, 3), np.float32)}
    save_npz(tmp_path / "one.npz", **arrays)
    save_npz(tmp_path / "two.npz", **arrays)
    loaded = load_npz(tmp_path / "one.npz")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert sha256(tmp_path / "one.npz") == sha256(tmp_path / "two.npz")


def test_npz_reads_the_arrays_it_is_asked_for(tmp_path):
    save_npz(tmp_path / "two.npz", a=np.arange(3), b=np.ones(2))
    assert list(load_npz(tmp_path / "two.npz", ["b"])) == ["b"]
    with pytest.raises(UserError, match=r"two\.npz: has no array 'c'"):
        load_npz(tmp_path / "two.npz", ["a", "c"])


def test_npz_refuses_pickles_truncation_and_absence(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        save_npz(tmp_path / "object.npz", a=np.array([{}], dtype=object))
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"pickled\.npz"):
        load_npz(tmp_path / "pickled.npz")
    save_npz(tmp_path / "whole.npz", a=np.arange(1000))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.npz"):
        load_npz(tmp_path / "cut.npz")
    with pytest.raises(UserError, match="no such file"):
        load_npz(tmp_path / "absent.npz")


def test_tensors_round_trip_and_broken_file(tmp_path):
    tensors = {"x": torch.arange(6).view(2, 3).t(), "h": torch.ones(3, dtype=torch.bfloat16)}
    save_tensors(tmp_path / "t.safetensors", tensors, {"note": "a"})
    loaded = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "broken.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(UserError, match=r"broken\.safetensors: a text, not the weights.*run its stage again"):
        load_tensors(tmp_path / "broken.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match=r"cut\.safetensors: cut short .*run its stage again"):
        load_tensors(tmp_path / "cut.safetensors")


def test_json_round_trip_and_messages(tmp_path):
    write_json(tmp_path / "a.json", {"psnr": 1.5})
    assert read_json(tmp_path / "a.json") == {"psnr": 1.5}
    for bad in (b"{", b"\xff\xfe{", b"[" * 100_000):
        (tmp_path / "bad.json").write_bytes(bad)
        with pytest.raises(UserError, match="not valid JSON"):
            read_json(tmp_path / "bad.json")


class FullDisk(OSError):
    """What numpy raises when a file takes less than was to be written: no number, no name."""


@pytest.mark.parametrize("free", [0, 10**9])
def test_a_full_disk_is_named_whatever_the_library_says(free, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.npy"):
        raise FullDisk("4096 requested and 512 written")
    assert (caught.value.errno, caught.value.filename) == (
        (None, None) if free else (errno.ENOSPC, str(tmp_path / "a.npy"))
    )


def test_a_failure_of_the_machine_names_the_file_and_other_errors_pass(tmp_path):
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ):
        with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.safetensors"):
            raise error
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a.safetensors"))
    with pytest.raises(OSError) as caught, fresh_directory(tmp_path / "data"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert caught.value.filename == str(tmp_path / "data")
    for error in (UserError("full (os error 28)"), PermissionError(errno.EACCES, "denied", "input.png"), KeyError("a")):
        with pytest.raises(type(error)) as passed, atomic_path(tmp_path / "a.png"):
            raise error
        assert str(passed.value).lower().endswith(str(error).lower()[-12:])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_systems_error_for_tensors_too(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
    assert (caught.value.errno, ends_the_run(caught.value)) == (errno.ENOSPC, True)
    assert not list(tmp_path.iterdir())
