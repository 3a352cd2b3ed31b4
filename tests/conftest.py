"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real input beside the checkout; skips where it is absent, fails where it is required."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        _absent("../shared (real characters and video frames) is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the independent readers that run in node; skips where they are not installed, fails where required."""
    folder = ROOT / "tests" / "node" / "node_modules"
    if shutil.which("node") is None:
        _absent("node is not installed; it runs the validator of glTF files and three.js")
    if not folder.is_dir():
        _absent("tests/node/node_modules is missing; `npm ci --prefix tests/node` installs what it holds")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium of this machine, which playwright drives; skips where it is absent, fails where it is required."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        _absent("Chromium is not installed (on Debian: apt-get install chromium)")
    return program


@pytest.fixture(scope="session")
def node() -> str:
    """The path of node, 20 or later, which runs the viewer's modules; skips where it is absent, fails where required."""
    path = shutil.which("node")
    if path is None:
        _absent("node is not installed; it runs the viewer's modules outside a browser")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        _absent(f"node is {version}, but the viewer's modules need 20 or later")
    return path


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three threads of torch, which neither the environment nor the section `execution` of a test asks for."""
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _absent(reason: str) -> NoReturn:
    """Skip a test for what this machine lacks, or fail it where everything is required, as in .ci/run."""
    if os.environ.get("GVF_REQUIRE_SHARED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
