"""Where published weights of metrics are looked for on this machine. Nothing is fetched."""

from __future__ import annotations

import os
from pathlib import Path


def _named_folder() -> list[Path]:
    named = os.environ.get("GVF_WEIGHTS")
    return [Path(named)] if named else []


def find_checkpoint(name: str) -> Path | None:
    """A file of that name in the folder that GVF_WEIGHTS names, or among torch hub's checkpoints."""
    torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    folders = [*_named_folder(), torch_home / "hub" / "checkpoints"]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def find_hub_model(repository: str) -> Path | None:
    """A model folder in the layout of transformers: GVF_WEIGHTS/<name>, or the model hub's cache of `owner/name`."""
    owner, name = repository.split("/")
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    snapshots = sorted((hub / f"models--{owner}--{name}" / "snapshots").glob("*"))
    for folder in [named / name for named in _named_folder()] + snapshots:
        has_weights = any((folder / file).is_file() for file in ("model.safetensors", "pytorch_model.bin"))
        if has_weights and (folder / "config.json").is_file():
            return folder
    return None
