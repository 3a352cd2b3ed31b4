"""Find test data in the training data, by asset id and by mesh, from the curated manifest alone."""

from __future__ import annotations

import pandas as pd

from gvf.data.curation.reserved import find_reserved
from gvf.data.manifest import ACCEPTED, HELD_OUT, TRAIN
from gvf.errors import UserError


def find_leaks(clips: pd.DataFrame) -> list[str]:
    """Return one sentence per fault in the split of a curated manifest; an empty list if there is none.

    Faults are an accepted asset of a public test set, and a held-out clip that is marked as unseen although training
    contains its asset, file or mesh, or as one of an unseen skeleton although training contains its skeleton.
    """
    accepted = clips[clips["decision"] == ACCEPTED]
    leaks = []
    for row in accepted.to_dict("records"):
        stem = row["asset"].rpartition("/")[2].rpartition(".")[0]
        if (reserved := find_reserved({stem, row["family"], row["asset_sha256"]}, row["mesh_sha256"])) is not None:
            leaks.append(f"{row['clip_id']} ({row['split']}) is {reserved}, which is reserved for testing.")
    train = accepted[accepted["split"] == TRAIN]
    unseen = accepted[(accepted["split"] == HELD_OUT) & ~accepted["asset_seen"]]
    apart = accepted[(accepted["split"] == HELD_OUT) & ~accepted["skeleton_seen"]]
    compared = (("asset", "asset"), ("asset_sha256", "file"), ("mesh_sha256", "mesh"), ("skeleton", "skeleton"))
    for column, what in compared:
        held_out = apart if column == "skeleton" else unseen
        owners = train.dropna(subset=column).drop_duplicates(column).set_index(column)["clip_id"]
        for clip_id, value in zip(held_out["clip_id"], held_out[column]):
            if value in owners.index:
                leaks.append(
                    f"{clip_id} is held out as unseen, but the training clip {owners[value]} has the same {what}."
                )
    return leaks


def refuse_leaks(clips: pd.DataFrame) -> None:
    """Raise UserError if a curated manifest has leaks, and list them."""
    if leaks := find_leaks(clips):
        head = f"Training must not contain test data; leaks found: {len(leaks)}. Run `dvc repro curate`:"
        raise UserError("\n  ".join([head, *leaks[:10]]))
