"""Records of the MLflow run that made the present outputs; `python -m gvf.tracking.run_records STAGE` prints one as JSON.

Every finished run leaves a record in `work/runs/finished/<stage>/` of the main checkout, under a key computed from its
outputs. The key of the present outputs comes from dvc.lock, so the link follows them: after Ctrl-C, a failed run,
`git checkout` with `dvc checkout`, or `dvc exp apply` it still names the run that made them. `work/runs/<stage>.json` is the
record of the newest finished run in a workspace, whose images are in `work/runs/<stage>/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gvf.storage.files import main_checkout, write_json
from gvf.workspace import Workspace

MOST_KEPT = 100  # records per stage

Record = dict[str, Any]


def newest_path(workspace: Workspace, stage: str) -> Path:
    """Return the path of the record of the stage's newest finished run in this workspace."""
    return workspace.runs / f"{stage}.json"


def started_path(workspace: Workspace, stage: str) -> Path:
    """Return the path of the record of a run in progress, or of one that was killed or failed."""
    return workspace.runs / f"{stage}.started.json"


def finish(workspace: Workspace, stage: str) -> None:
    """Assign the started run's record to the outputs that it has just produced; without a record they have no run."""
    record = _read_json(started_path(workspace, stage))
    if record is None:
        newest_path(workspace, stage).unlink(missing_ok=True)
        return
    key = _key(_measure(workspace, stage))
    if key is not None:
        folder = _kept(workspace, stage)
        write_json(folder / f"{key}.json", record)
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    os.replace(started_path(workspace, stage), newest_path(workspace, stage))


def find(workspace: Workspace, stage: str) -> Record | None:
    """Return the record of the run that made the outputs in dvc.lock, or of the newest finished run if it lists none."""
    outputs = _locked(workspace, stage)
    if not outputs:
        return _read_json(newest_path(workspace, stage))
    return _read_json(_kept(workspace, stage) / f"{_key(outputs)}.json")


def find_with_images(workspace: Workspace, stage: str) -> tuple[Record | None, list[Path]]:
    """Return the result of `find` and those images of that run that still exist."""
    record = find(workspace, stage)
    return record, sorted((workspace.runs / stage).glob("*.png")) if record == _read_json(
        newest_path(workspace, stage)
    ) else []


def _kept(workspace: Workspace, stage: str) -> Path:
    return Workspace(main_checkout(workspace.root)).runs / "finished" / stage


def _key(outputs: Mapping[str, str]) -> str | None:
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16] if outputs else None


def _measure(workspace: Workspace, stage: str) -> dict[str, str]:
    """Return a stage's outputs in dvc.yaml by path: the MD5 of a file, the size and file count of a folder.

    The result is empty outside DVC. DVC records the same values in dvc.lock when the stage has ended. Folders are not
    hashed, since hashing them twice would take too long.
    """
    found = {}
    for out in _outputs(_stage(workspace.root / "dvc.yaml", stage)):
        path = workspace.root / out
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
            found[out] = f"{sum(sizes)} bytes in {len(sizes)}"
        elif path.is_file():
            found[out] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return found


def _locked(workspace: Workspace, stage: str) -> dict[str, str]:
    """Return the same values for the present outputs, as dvc.lock records them."""
    return {
        out["path"]: f"{out['size']} bytes in {out['nfiles']}" if "nfiles" in out else out["md5"]
        for out in _stage(workspace.root / "dvc.lock", stage).get("outs", [])
    }


def _stage(file: Path, stage: str) -> dict[str, Any]:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["stages"][stage]
    except (OSError, yaml.YAMLError, KeyError, TypeError):  # not a DVC project, or not one of its stages
        return {}


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    items = [item for kind in ("outs", "metrics", "plots") for item in stage.get(kind, [])]
    return [item if isinstance(item, str) else next(iter(item)) for item in items]


def _read_json(path: Path) -> Record | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    run, images = find_with_images(Workspace(), sys.argv[1])
    print(json.dumps({"run": run, "images": [str(path) for path in images]}))
