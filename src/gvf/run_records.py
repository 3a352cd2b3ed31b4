"""Which MLflow run made the outputs that are here. `python -m gvf.run_records STAGE` prints it as JSON, for the flows.

Every finished run leaves a record in `work/runs/finished/<stage>/` of the main checkout, under a key of the outputs that it
made. The key of the outputs at hand comes from dvc.lock, so the link goes back and forth with them: after Ctrl-C, a failed run,
`git checkout` with `dvc checkout`, or `dvc exp apply` it still names the run that made them. `work/runs/<stage>.json` is the
record of the newest finished run in this folder, whose pictures are in `work/runs/<stage>/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gvf.files import main_checkout, write_json

RUNS = Path("work/runs")
MOST_KEPT = 100  # records per stage

Record = dict[str, Any]


def newest_path(stage: str) -> Path:
    """The record of the stage's newest finished run in this folder."""
    return RUNS / f"{stage}.json"


def started_path(stage: str) -> Path:
    """The record of a run that is still going, or that was killed or failed."""
    return RUNS / f"{stage}.started.json"


def finish(stage: str) -> None:
    """Take the record of the run that was started over to the outputs it has just made; without one, they have no run."""
    record = _read_json(started_path(stage))
    if record is None:
        newest_path(stage).unlink(missing_ok=True)
        return
    key = _key(_measure(stage))
    if key is not None:
        folder = _kept(stage)
        write_json(folder / f"{key}.json", record)
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    os.replace(started_path(stage), newest_path(stage))


def find(stage: str) -> Record | None:
    """The record of the run that made the outputs that dvc.lock lists; of the newest finished run if it lists none."""
    outputs = _locked(stage)
    if not outputs:
        return _read_json(newest_path(stage))
    return _read_json(_kept(stage) / f"{_key(outputs)}.json")


def find_with_pictures(stage: str) -> tuple[Record | None, list[Path]]:
    """What `find` returns, and the pictures of that run as far as they are still here."""
    record = find(stage)
    return record, sorted((RUNS / stage).glob("*.png")) if record == _read_json(newest_path(stage)) else []


def _kept(stage: str) -> Path:
    return main_checkout() / RUNS / "finished" / stage


def _key(outputs: Mapping[str, str]) -> str | None:
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16] if outputs else None


def _measure(stage: str) -> dict[str, str]:
    """The outputs of a stage of dvc.yaml by path: a file's MD5, a folder's size and number of files. Empty outside DVC.

    DVC notes the same values in dvc.lock when the stage has ended. Hashing large folders twice would take too long.
    """
    found = {}
    for out in _outputs(_stage("dvc.yaml", stage)):
        path = Path(out)
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
            found[out] = f"{sum(sizes)} bytes in {len(sizes)}"
        elif path.is_file():
            found[out] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return found


def _locked(stage: str) -> dict[str, str]:
    """The same of the outputs that are here, as DVC noted them."""
    return {
        out["path"]: f"{out['size']} bytes in {out['nfiles']}" if "nfiles" in out else out["md5"]
        for out in _stage("dvc.lock", stage).get("outs", [])
    }


def _stage(file: str, stage: str) -> dict[str, Any]:
    import yaml

    try:
        return yaml.safe_load(Path(file).read_text(encoding="utf-8"))["stages"][stage]
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
    run, pictures = find_with_pictures(sys.argv[1])
    print(json.dumps({"run": run, "pictures": [str(path) for path in pictures]}))
