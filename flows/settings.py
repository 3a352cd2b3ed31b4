"""Settings of a flow run: a preset, a data source and changed parameters, which Prefect shows as a form and checks.

A flow run with settings composes `params.yaml` from `conf/` first, as `dvc exp run -S` does. One without settings runs
what `params.yaml` says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from flows import processes

SCHEMA: dict[str, Any] = json.loads((processes.ROOT / "conf/changes.schema.json").read_text(encoding="utf-8"))
_COMPOSE = """
import sys
from pathlib import Path
from dvc.utils.hydra import compose_and_dump
compose_and_dump(sys.argv[1], str(Path("conf").resolve()), None, "config", str(Path("src").resolve()), sys.argv[2:])
"""


class SettingsError(RuntimeError):
    """Settings that cannot be used; the message names every parameter that is wrong."""


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes. Raises ValueError that names every one that does not fit the schema."""
    found = jsonschema.Draft202012Validator(SCHEMA).iter_errors(changes)
    problems = [f"{'.'.join(map(str, error.absolute_path)) or 'changes'}: {_plain(error)}" for error in found]
    if problems:
        raise ValueError("\n".join(problems))
    return changes


def _plain(error: jsonschema.ValidationError) -> str:
    """Return what is wrong; of a field that may also refer to others, what is wrong with its value."""
    return (error.context[0] if error.context else error).message


Changes = Annotated[
    dict[str, Any],
    AfterValidator(_checked),
    WithJsonSchema({name: value for name, value in SCHEMA.items() if name != "$schema"}),
]


class Settings(BaseModel):
    """Settings that a flow run uses instead of the values in `params.yaml`."""

    model_config = ConfigDict(extra="forbid")

    preset: Literal["cpu", "h100", "paper", "small"] = Field("cpu", description="Preset of conf/preset.")
    data: Literal["procedural", "glb", "zoo"] = Field("procedural", description="Data source of conf/data.")
    changes: Changes = Field(default_factory=dict, description="Parameters that differ from the preset, by section.")


def apply(settings: Settings | None) -> None:
    """Compose `params.yaml` from settings and check it; None leaves it unchanged. Raises SettingsError."""
    if settings is None:
        return
    overrides = [f"preset={settings.preset}", f"data={settings.data}", *_overrides(settings.changes)]
    with tempfile.TemporaryDirectory(dir=processes.ROOT, prefix=".settings-") as folder:
        composed = Path(folder) / "params.yaml"
        _run([sys.executable, "-c", _COMPOSE, str(composed), *overrides])
        _run([sys.executable, "-m", "gvf.cli", "params", "check", str(composed)])
        os.replace(composed, processes.ROOT / "params.yaml")


def _overrides(changes: Mapping[str, Any], key: str = "") -> Iterator[str]:
    """Yield the changes as Hydra's overrides, such as `train_dit.training.steps=100`."""
    for name, value in changes.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{key}{name}.")
        else:
            yield f"{key}{name}={json.dumps(value, ensure_ascii=False)}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SettingsError(f"The settings cannot be used.\n{(done.stderr or done.stdout).strip()[-2000:]}")
