"""The tables of clips that the first two stages write: what was found, and what was decided about it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from gvf.errors import UserError
from gvf.storage.files import PathLike, atomic_path

ACCEPTED, REJECTED = "accepted", "rejected"
TRAIN, HELD_OUT = "train", "held_out"

MAX_SLUG = 64
"""Largest length of a slug: a SHA-256 fits. A clip id has two, and its temporary files stay far below 255 bytes."""

_RAW_FIELDS = [
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("asset", pa.string(), nullable=False),  # path relative to the manifest's folder
    pa.field("asset_sha256", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),  # data source that it comes from: procedural or glb
    # procedural family, or the file's path in its folder, without suffix
    pa.field("family", pa.string(), nullable=False),
    pa.field("kind", pa.string(), nullable=False),  # what its source calls it, such as animal, or else the family
    # its source's name for the joints, or else a digest of their names and hierarchy, or else of the asset, which then
    # moves without joints; null when the file could not be read
    pa.field("skeleton", pa.string()),
    pa.field("licence", pa.string()),  # as its source states it, null where unknown; so are the next three
    pa.field("author", pa.string()),
    pa.field("pack", pa.string()),
    pa.field("origin", pa.string()),
    pa.field("animation", pa.string()),  # its name, cleaned (gvf.text); null when the file could not be read
    pa.field("animation_index", pa.int64(), nullable=False),  # -1 when the file could not be read
    pa.field("duration", pa.float64()),  # seconds, null when it could not be read
    pa.field("error", pa.string()),  # slug of why the clip could not be read, else null
    pa.field("message", pa.string()),
    pa.field("exception", pa.string()),  # type of the error, ClipError for a check of our own; null without an error
]
_DECISION_FIELDS = [
    pa.field("decision", pa.string(), nullable=False),  # accepted or rejected
    # slug: invalid, reserved, motion, size, aesthetic, cap; failed, crashed, timeout, memory (gvf.execution.rejected);
    # null when accepted
    pa.field("reason", pa.string()),
    pa.field("message", pa.string()),
    pa.field("exception", pa.string()),  # as in the raw manifest; null when accepted, and for cap
    # distance that at least 1 % of the surface travels (gvf.geometry.sampling.motion_amount), object units
    pa.field("motion", pa.float64()),
    pa.field("num_vertices", pa.int64(), nullable=False),  # 0 when it could not be read
    pa.field("num_triangles", pa.int64(), nullable=False),
    pa.field(
        "mesh_sha256", pa.string()
    ),  # of the rest pose (gvf.data.curation.mesh_hash); null when it could not be read
    pa.field("aesthetic_score", pa.float64()),
    pa.field("aesthetic_note", pa.string()),  # why there is no score
    pa.field("split", pa.string()),  # train or held_out, null when rejected
    pa.field("asset_seen", pa.bool_(), nullable=False),  # held out, and the same asset or mesh is also in train
    pa.field("skeleton_seen", pa.bool_(), nullable=False),  # held out, and the same skeleton, asset or mesh is in train
    pa.field("variant_of", pa.string()),  # clip_id of the clip of which this is a variant, null for clips as collected
    pa.field("variant", pa.string()),  # JSON: what was changed; null for clips as collected
]
RAW_SCHEMA = pa.schema(_RAW_FIELDS)
CURATED_SCHEMA = pa.schema(
    [field for field in _RAW_FIELDS if field.name not in ("message", "exception")] + _DECISION_FIELDS
)

_ALLOWED: dict[str, set[str | None]] = {"decision": {ACCEPTED, REJECTED}, "split": {TRAIN, HELD_OUT, None}}


def write_manifest(path: PathLike, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as parquet. Raises ValueError when they do not fit the schema or a clip_id repeats."""
    try:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        _check(table, schema)
    except pa.ArrowInvalid as error:
        raise ValueError(f"rows do not fit the manifest: {error}") from error
    with atomic_path(path) as partial:
        pq.write_table(table, partial)


def read_manifest(path: PathLike) -> pd.DataFrame:
    """Read a manifest of either stage. Raises UserError when it is missing, broken or of another shape."""
    path = Path(path)
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}). Run the stage that writes it again.") from None
    schema = CURATED_SCHEMA if "decision" in table.column_names else RAW_SCHEMA
    try:
        _check(table, schema)
    except ValueError as error:
        raise UserError(f"{path}: {error}. Run the stage that writes it again.") from None
    return table.to_pandas()


def slug(text: str) -> str:
    """Reduce text to [a-z0-9_-], neither empty nor longer than MAX_SLUG: a name that is safe in paths and ids.

    Accents are dropped. If letters or digits are lost (other scripts, or excess length), the slug ends in a digest of
    the whole text, so that different names stay different and the same name gives the same slug on every machine.
    """
    apart = unicodedata.normalize("NFKD", text.lower()).lower()
    folded = "".join(character for character in apart if not unicodedata.combining(character))
    name = re.sub(r"[^a-z0-9_-]+", "-", folded).strip("-")
    lossy = any(character.isalnum() and not character.isascii() for character in folded)
    if not lossy and len(name) <= MAX_SLUG:
        return name or "unnamed"
    digest = hashlib.sha256(text.lower().encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: MAX_SLUG - 9].rstrip('-') or 'unnamed'}-{digest}"


def unique(name: str, taken: dict[str, int]) -> str:
    """Return `name`, or `name-2`, `name-3`... when it is taken, and add the result to `taken`.

    taken: names in use, each with the last number tried for it, so that many equal names need no search.
    """
    number = taken.get(name, 0) + 1
    candidate = name if number == 1 else f"{name}-{number}"
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken[name] = number
    taken.setdefault(candidate, 1)
    return candidate


def _check(table: pa.Table, schema: pa.Schema) -> None:
    """Raise ValueError unless columns, types and words are the schema's and no id repeats."""
    if table.column_names != schema.names:
        wrong = sorted(set(table.column_names) ^ set(schema.names))
        raise ValueError(f"columns must be {', '.join(schema.names)}; different: {', '.join(wrong) or 'their order'}")
    for field in schema:
        column = table.column(field.name)
        if column.type != field.type:
            raise ValueError(f"column {field.name!r} must be {field.type}, is {column.type}")
        if not field.nullable and column.null_count:
            raise ValueError(f"column {field.name!r} has empty entries")
        strange = set(column.unique().to_pylist()) - _ALLOWED[field.name] if field.name in _ALLOWED else set()
        if strange:
            raise ValueError(f"column {field.name!r} holds {', '.join(map(repr, strange))}")
    ids = table.column("clip_id")
    if len(ids.unique()) != len(ids):
        raise ValueError("column 'clip_id' names a clip twice")
