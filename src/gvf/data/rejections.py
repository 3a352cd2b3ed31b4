"""Clips that a stage after curation could not process, listed beside its outputs in `rejected.parquet`.

A stage carries over the rejections of earlier stages, so the folder of the latest stage lists all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from gvf.errors import StageError, UserError
from gvf.execution.clip_map import Rejected
from gvf.storage.files import PathLike, atomic_path

NAME = "rejected.parquet"
_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("clip_id", "stage", "reason", "exception", "message")]
)


@dataclass(frozen=True)
class Rejection:
    """One clip rejected by a stage. reason: a slug. exception: type of the error. message: one clean, readable line."""

    clip_id: str
    stage: str
    reason: str
    exception: str
    message: str


def write_rejections(folder: PathLike, rejections: Iterable[Rejection]) -> None:
    """Write a stage's list into its output folder, sorted by clip, even when it is empty."""
    rows = [asdict(rejection) for rejection in sorted(rejections, key=lambda rejection: rejection.clip_id)]
    with atomic_path(Path(folder) / NAME) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), partial)


def merge_rejections(stage: str, results: Sequence[object], after: PathLike | None) -> list[Rejection]:
    """Return the rejections of a stage together with those of earlier stages.

    results: a value or a Rejected for every clip that the stage processed. after: output folder of the preceding stage.
    Raises StageError when the stage rejected every clip.
    """
    rejected = [result for result in results if isinstance(result, Rejected)]
    if results and len(rejected) == len(results):
        raise StageError(
            f"{stage}: none of {len(results)} clips could be processed ({count_reasons(rejected)}; first: "
            f"{rejected[0].item_id}: {rejected[0].message})."
        )
    before = [] if after is None else read_rejections(after)
    return [*before, *(Rejection(one.item_id, stage, one.reason, one.exception, one.message) for one in rejected)]


def record_rejections(folder: PathLike, stage: str, results: Sequence[object], after: PathLike | None = None) -> int:
    """Write the result of `merge_rejections` to a stage's output folder, and delete files that rejected clips left there.

    Returns how many clips this stage rejected.
    """
    rows = merge_rejections(stage, results, after)
    write_rejections(folder, rows)
    mine = [row.clip_id for row in rows if row.stage == stage]
    for pattern in (".*.partial*", *(f"{clip_id}.*" for clip_id in mine)):
        for path in Path(folder).glob(pattern):
            path.unlink()
    return len(mine)


def count_reasons(rejected: Iterable[Rejected]) -> str:
    """Count rejections by reason, as text: `3 for timeout, 1 for failed`."""
    counts = Counter(one.reason for one in rejected)
    return ", ".join(f"{count} for {reason}" for reason, count in counts.most_common())


def read_rejections(folder: PathLike) -> list[Rejection]:
    """Read the list in a stage's output folder; empty when there is none. Raises UserError when it is damaged."""
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    try:
        return [Rejection(**row) for row in pq.read_table(path, schema=_SCHEMA).to_pylist()]
    except (pa.ArrowInvalid, OSError, TypeError) as error:
        raise UserError(f"{path}: not a readable list ({error}). Run the stage that writes it again.") from None
