"""Clips that a stage after curation could not process, listed beside its outputs in `rejected.parquet`.

A stage carries over what the stages before it rejected, so the last folder that a stage reads tells of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from gvf.errors import UserError
from gvf.files import PathLike, atomic_path

NAME = "rejected.parquet"
_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("clip_id", "stage", "reason", "exception", "message")]
)


@dataclass(frozen=True)
class Rejection:
    """One clip left out by a stage. reason: a slug. exception: type of the error. message: one clean line for people."""

    clip_id: str
    stage: str
    reason: str
    exception: str
    message: str


def write_rejections(folder: PathLike, rejections: Iterable[Rejection]) -> None:
    """Write the list of a stage into its output folder, sorted by clip; also when it is empty."""
    rows = [asdict(rejection) for rejection in sorted(rejections, key=lambda rejection: rejection.clip_id)]
    with atomic_path(Path(folder) / NAME) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), partial)


def read_rejections(folder: PathLike) -> list[Rejection]:
    """Read the list in a stage's output folder; empty when there is none. Raises UserError when it is damaged."""
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    try:
        return [Rejection(**row) for row in pq.read_table(path, schema=_SCHEMA).to_pylist()]
    except (pa.ArrowInvalid, OSError, TypeError) as error:
        raise UserError(f"{path}: not a readable list ({error}). Run the stage that writes it again.") from None
