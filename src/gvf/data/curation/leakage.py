"""Whether what a method is tested on was trained on: by asset id and by mesh, from the curated manifest alone."""

from __future__ import annotations

import pandas as pd

from gvf.data.curation.reserved import find_reserved
from gvf.data.manifest import ACCEPTED, HELD_OUT, TRAIN
from gvf.errors import UserError


def find_leaks(clips: pd.DataFrame) -> list[str]:
    """What is wrong with the split of a curated manifest, a sentence each; empty where all is well.

    A public test set's asset that was accepted; a held-out clip said to be of an unseen asset whose file, mesh or asset
    is in training too.
    """
    accepted = clips[clips["decision"] == ACCEPTED]
    leaks = []
    for row in accepted.to_dict("records"):
        stem = row["asset"].rpartition("/")[2].rpartition(".")[0]
        if (reserved := find_reserved({stem, row["family"], row["asset_sha256"]}, row["mesh_sha256"])) is not None:
            leaks.append(f"{row['clip_id']} ({row['split']}) is {reserved}, which is kept for testing.")
    train = accepted[accepted["split"] == TRAIN]
    unseen = accepted[(accepted["split"] == HELD_OUT) & ~accepted["asset_seen"]]
    for column, what in (("asset", "asset"), ("asset_sha256", "file"), ("mesh_sha256", "mesh")):
        owners = train.dropna(subset=column).drop_duplicates(column).set_index(column)["clip_id"]
        for clip_id, value in zip(unseen["clip_id"], unseen[column]):
            if value in owners.index:
                leaks.append(f"{clip_id} is held out as unseen, but {owners[value]} trains on its {what}.")
    return leaks


def refuse_leaks(clips: pd.DataFrame) -> None:
    """Raise UserError that lists the leaks of a curated manifest, if there are any."""
    if leaks := find_leaks(clips):
        head = f"Testing leaks into training, {len(leaks)} times. Run `dvc repro curate`:"
        raise UserError("\n  ".join([head, *leaks[:10]]))
