"""The row of the curated manifest that says what was decided about a clip."""

from __future__ import annotations

from typing import Any

from gvf.data.manifest import ACCEPTED, REJECTED
from gvf.execution.rejected import Rejected

Row = dict[str, Any]

DESCRIPTOR = "descriptor"
"""Key of a clip's motion descriptor (`gvf.data.curation.variety`), which the manifest leaves out."""


def decision(
    row: Row, reason: str | None = None, message: str | None = None, exception: str | None = None, **facts: Any
) -> Row:
    """Return a row of the curated manifest, still without a split. facts: what was measured before the decision."""
    return {
        **row,
        "decision": ACCEPTED if reason is None else REJECTED,
        "reason": reason,
        "message": message,
        "exception": exception,
        "motion": None,
        "num_vertices": 0,
        "num_triangles": 0,
        "mesh_sha256": None,
        "aesthetic_score": None,
        "aesthetic_note": None,
        "split": None,
        "asset_seen": False,
        "skeleton_seen": False,
        "variant_of": row.get("variant_of"),
        "variant": None,
        DESCRIPTOR: None,
        **facts,
    }


def refused(row: Row, rejected: Rejected) -> Row:
    """Return the rejection of a clip whose asset failed; a clip that `collect` could not read keeps its own reason."""
    if row["error"]:
        return decision(row, row["error"], row["message"], row["exception"])
    return decision(row, rejected.reason, rejected.message, rejected.exception)
