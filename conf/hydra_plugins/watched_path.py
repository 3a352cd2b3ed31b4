"""Resolver `watched_path` for conf/data/glb.yaml; DVC's Hydra loads it from here (`hydra.plugins_path` in .dvc/config)."""

import os
import subprocess
from pathlib import Path

from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]


def watched_path(directory: str) -> str:
    """The path at which DVC finds a source folder, also from the temporary copies of `dvc exp run --temp` and `--queue`.

    A copy holds what Git tracks, so such a folder keeps its relative path; every other one gets its absolute path.
    """
    if Path(directory).is_absolute() or _is_tracked(directory):
        return directory
    return os.path.normpath(ROOT / directory)


def _is_tracked(directory: str) -> bool:
    """Whether Git has files in that folder of the checkout."""
    command = ["git", "ls-files", "--", f":(literal){directory}"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout)


OmegaConf.register_new_resolver("watched_path", watched_path, replace=True)
