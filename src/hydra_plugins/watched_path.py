"""Resolver `watched_path` for conf/data/glb.yaml. Hydra imports every module of the package `hydra_plugins`."""

import os
import subprocess
from pathlib import Path

from omegaconf import OmegaConf


def watched_path(directory: str) -> str:
    """The path at which DVC finds a source folder, also from the temporary copies of `dvc exp run --temp` and `--queue`.

    A copy holds what Git tracks, so such a folder keeps its relative path; every other one gets its absolute path.
    """
    root = _checkout()
    if Path(directory).is_absolute() or _is_tracked(directory, root):
        return directory
    return os.path.normpath(root / directory)


def _checkout() -> Path:
    """The nearest folder around the current one that DVC has initialised, or the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def _is_tracked(directory: str, root: Path) -> bool:
    """Whether Git has files in that folder of the checkout."""
    command = ["git", "ls-files", "--", f":(literal){directory}"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout)


OmegaConf.register_new_resolver("watched_path", watched_path, replace=True)
