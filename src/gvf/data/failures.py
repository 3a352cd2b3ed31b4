"""Methods that failed on a held-out clip on which others did not, listed beside the predictions in `failures.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gvf.data.rejections import count_reasons
from gvf.errors import StageError, UserError
from gvf.execution.rejected import Rejected
from gvf.storage.files import PathLike, read_json, write_json

NAME = "failures.json"


@dataclass(frozen=True)
class Failure:
    """One method that has no prediction of one clip. reason: a slug. message: one clean, readable line."""

    clip_id: str
    method: str
    reason: str
    message: str

    @classmethod
    def of(cls, method: str, rejected: Rejected) -> Failure:
        """Return the failure of a method whose attempt at a clip was rejected."""
        return cls(rejected.item_id, method, rejected.reason, rejected.message)


def demand_some(method: str, results: Sequence[object]) -> None:
    """Raise StageError when a method failed on every clip. results: its value or a Rejected for each of them."""
    rejected = [result for result in results if isinstance(result, Rejected)]
    if results and len(rejected) == len(results):
        raise StageError(
            f"method {method}: failed on all {len(results)} clips ({count_reasons(rejected)}; first: {rejected[0].item_id}: "
            f"{rejected[0].message}). Train its networks for longer, or leave it out of sample.methods."
        )


def write_failures(folder: PathLike, failures: Iterable[Failure]) -> None:
    """Write the list into a folder of predictions, sorted by clip, even when it is empty."""
    write_json(Path(folder) / NAME, [asdict(one) for one in sorted(failures, key=lambda one: one.clip_id)])


def read_failures(folder: PathLike) -> list[Failure]:
    """Read the list in a folder of predictions; empty when there is none. Raises UserError when it is damaged."""
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    try:
        return [Failure(**row) for row in read_json(path)]
    except TypeError as error:
        raise UserError(f"{path}: not a readable list ({error}). Run `dvc repro sample` again.") from None
