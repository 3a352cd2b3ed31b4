"""Programs that must not be started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def put_on_path(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program of that name first on the path. Returns the file that exists once it has been started."""
    program, calls = folder / "bin" / name, folder / f"{name}.calls"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho called >> '{calls}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return calls
