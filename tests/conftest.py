"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real input beside the checkout; skips where it is absent, fails where it is required."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        reason = "../shared (real characters and video frames) is not beside this checkout"
        if os.environ.get("GVF_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
