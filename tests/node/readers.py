"""Runs the programs of this folder in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def run_node(program: str, *arguments: str | Path) -> Any:
    """Return what a program of this folder prints as JSON. Raises AssertionError with its messages when it fails."""
    done = subprocess.run(
        ["node", str(FOLDER / program), *map(str, arguments)], capture_output=True, text=True, cwd=FOLDER, timeout=120
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def validator_messages(*paths: Path) -> dict[Path, list[dict[str, Any]]]:
    """Return the messages of the Khronos validator for each GLB file; severity 0 is an error, 1 a warning."""
    found = run_node("validate.mjs", *(path.resolve() for path in paths))
    return {path: found[str(path.resolve())] for path in paths}
