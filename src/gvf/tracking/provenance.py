"""Where a result comes from: the code's commit, the data's digest, and one short id over both and the config."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gvf.config.params import WITHOUT_EFFECT
from gvf.storage.files import PathLike, sha256
from gvf.workspace import Workspace

# Git's patterns of what decides a result: packages, parameters, graph and libraries. Reports, notes and dvc.lock are
# written after it, so they do not count.
CODE = ("src", ":(glob)*/gvf*/**", "conf", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class CodeVersion:
    """commit: the last one that changed the code, 40 hex digits, or `unknown`. dirty: the code differs from it."""

    commit: str
    dirty: bool

    def __str__(self) -> str:
        """Return the first 10 digits, with `+` when files have been changed since."""
        return (self.commit if self.commit == UNKNOWN else self.commit[:10]) + ("+" if self.dirty else "")


def code_version(root: PathLike) -> CodeVersion:
    """Return the version of the code in the repository of a folder; commits and changes that touch only results do not count."""
    root = git(root, "rev-parse", "--show-toplevel") or root
    commit = git(root, "log", "-1", "--format=%H", "--", *CODE)
    status = git(root, "status", "--porcelain", "--", *CODE) if commit else ""
    return CodeVersion(commit or UNKNOWN, bool(status))


def head(root: PathLike) -> str:
    """Return the commit checked out in `root`, or `unknown` outside Git."""
    return git(root, "rev-parse", "HEAD") or UNKNOWN


def git(root: PathLike, *arguments: str) -> str:
    """Return what a Git command prints, stripped; empty when Git is absent or the command fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def device_name(device: str) -> str:
    """Return a description of `cuda` or `cpu` on this machine: the GPU's name, or the processor's name and its number of cores."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def file_digest(path: PathLike) -> str:
    """Return the first 32 hex digits of a file's SHA-256 (MLflow keeps 36), or `missing` when there is no such file."""
    return sha256(path)[:32] if Path(path).is_file() else "missing"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with keys joined by dots; lists stay values."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            flat.update(flatten(value, key))
        else:
            flat[key] = value
    return flat


@dataclass(frozen=True)
class Identity:
    """Identity of a run: names of preset and data source, the code's version, the data's digest, and a key over all."""

    preset: str
    data: str
    code: str
    data_digest: str
    key: str

    @property
    def name(self) -> str:
        """Return the run's name in MLflow and in reports."""
        return f"{self.preset}-{self.data}-{self.key}"


def identify(workspace: Workspace, stage: str, params: Mapping[str, Any], manifest: PathLike | None) -> Identity:
    """Return the identity of a stage's run. params: by section. manifest: the clips that it reads, if any."""
    code = code_version(workspace.checkout)
    digest = file_digest(manifest) if manifest is not None else UNKNOWN
    preset = str(params.get("run", {}).get("preset", "custom"))
    data = "-".join(params.get("collect", {}).get("sources", ["data"]))
    return Identity(preset, data, str(code), digest, run_key(stage, params, code, digest))


def run_key(stage: str, params: Mapping[str, Any], code: CodeVersion, data_digest: str) -> str:
    """Return 8 hex digits: the same stage, config, code and data give the same key on any machine.

    params: by section; those without effect on results do not count.
    """
    decisive = {name: section for name, section in params.items() if name not in WITHOUT_EFFECT}
    text = json.dumps([stage, flatten(decisive), str(code), data_digest], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
