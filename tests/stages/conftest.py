"""Folders for tests of stages that read a folder of assets."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty source folder beside an empty working folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "source"
