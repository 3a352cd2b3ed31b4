"""The identity of a measurement: what changes it and what does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gvf.tracking.provenance import UNKNOWN, CodeVersion, code_version, file_digest, flatten, head, run_key


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/model.py").write_text("width = 1\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path, "code")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def test_results_do_not_change_the_code_version_and_code_does(repository: Path) -> None:
    before = code_version(repository)
    assert before.commit == head(repository)
    assert not before.dirty
    (repository / "reports").mkdir()
    (repository / "reports/index.html").write_text("report")
    assert code_version(repository) == before
    commit(repository, "results")
    assert code_version(repository) == before
    assert head(repository) != before.commit
    (repository / "src/model.py").write_text("width = 2\n")
    assert code_version(repository) == CodeVersion(before.commit, dirty=True)
    assert str(code_version(repository)) == before.commit[:10] + "+"


def test_outside_git_the_version_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "src").mkdir()
    assert str(code_version(tmp_path)) == UNKNOWN
    assert head(tmp_path) == UNKNOWN


def test_code_of_every_package_counts(repository: Path) -> None:
    before = code_version(repository)
    (repository / "evaluation/gvf_evaluation").mkdir(parents=True)
    (repository / "evaluation/gvf_evaluation/tables.py").write_text("columns = 1\n")
    commit(repository, "tables")
    assert code_version(repository).commit == head(repository) != before.commit


def test_sections_without_effect_do_not_change_the_run_key() -> None:
    code = CodeVersion("a" * 40, dirty=False)
    params = {"run": {"seed": 0}, "execution": {"workers": 2}}
    assert run_key("encode", params, code, "d") == run_key("encode", {**params, "execution": {"workers": 8}}, code, "d")


def test_run_key_is_stable_and_hears_every_part() -> None:
    code = CodeVersion("a" * 40, dirty=False)
    key = run_key("train-dit", {"train_dit": {"steps": 1, "width": 2}}, code, "digest")
    assert key == run_key("train-dit", {"train_dit": {"width": 2, "steps": 1}}, code, "digest")
    others = [
        run_key("encode", {"train_dit": {"steps": 1, "width": 2}}, code, "digest"),
        run_key("train-dit", {"train_dit": {"steps": 2, "width": 2}}, code, "digest"),
        run_key("train-dit", {"train_dit": {"steps": 1, "width": 2}}, CodeVersion("a" * 40, True), "digest"),
        run_key("train-dit", {"train_dit": {"steps": 1, "width": 2}}, code, "other"),
    ]
    assert len({key, *others}) == 5


def test_flatten_and_file_digest(tmp_path: Path) -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": 1, "a.c.d": [1, 2], "e": None}
    file = tmp_path / "x"
    assert file_digest(file) == "missing"
    file.write_bytes(b"")
    assert file_digest(file) == "e3b0c44298fc1c149afbf4c8996fb924"
