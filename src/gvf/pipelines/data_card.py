"""The data card of a generator: `DATA.md`, what it was trained on and what its metrics were measured on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gvf.data.manifest import ACCEPTED, HELD_OUT, TRAIN
from gvf.pipelines.generator_index import Training
from gvf.pipelines.training_credits import Credit, cell, credits_table

DATA_CARD_NAME = "DATA.md"


def data_card(title: str, training: Training, clips: pd.DataFrame, image: Training | None = None) -> str:
    """Return the text of the data card.

    clips: the curated manifest. image: what the networks from an image to canonical Gaussians were trained on, if there are any.
    """
    accepted = clips[clips["decision"] == ACCEPTED]
    return "\n\n".join(
        [
            f"# Data of {title}",
            _summary(training),
            *([] if image is None else [_image_summary(image)]),
            "## Licences",
            licences_table(training.credits),
            "## Packs and authors",
            credits_table(training.credits),
            "## Clips by kind of object",
            kinds_table(accepted),
            "Held-out clips were not trained on. They show another motion of an asset that training has (seen asset), another "
            "asset with a skeleton that training has, or a skeleton that training does not have (unseen). Variants of "
            "training clips, such as mirrored or slower ones, are not counted.\n",
        ]
    )


def _summary(training: Training) -> str:
    source = training.source or "an unrecorded source"
    variants = f", of which {training.variants} are variants of others" if training.variants else ""
    count = training.clips or "An unrecorded number of"
    return f"Source: {source}. {count} training clips{variants}, {training.frames} frames each."


def _image_summary(training: Training) -> str:
    source, count = training.source or "an unrecorded source", training.clips or "an unrecorded number of"
    return f"Networks from an image to canonical Gaussians (`image_to_3d`): {source}, first frames of {count} training clips."


def licences_table(credits: Sequence[Credit]) -> str:
    """Return how many assets and clips are under which licence, as a Markdown table."""
    totals: dict[str | None, list[int]] = {}
    for credit in credits:
        counts = totals.setdefault(credit.licence, [0, 0])
        counts[0] += credit.assets
        counts[1] += credit.clips
    rows = sorted(totals.items(), key=lambda item: (-item[1][1], str(item[0])))
    lines = [f"| {cell(licence)} | {assets} | {clips} |" for licence, (assets, clips) in rows]
    return "\n".join(["| licence | assets | clips |", "| --- | ---: | ---: |", *lines])


def kinds_table(accepted: pd.DataFrame) -> str:
    """Return the number of clips of each kind in training and held out, by what training has of them, as Markdown."""
    own = accepted[accepted["variant_of"].isna()]
    held_out = own["split"] == HELD_OUT
    columns = {
        "training": own["split"] == TRAIN,
        "held out: seen asset": held_out & own["asset_seen"],
        "held out: seen skeleton, unseen asset": held_out & own["skeleton_seen"] & ~own["asset_seen"],
        "held out: unseen skeleton": held_out & ~own["skeleton_seen"],
    }
    counts = pd.DataFrame({name: chosen.groupby(own["kind"]).sum() for name, chosen in columns.items()})
    counts.loc["all"] = counts.sum()
    lines = [
        f"| {cell(str(kind))} | {' | '.join(str(int(n)) for n in row)} |"
        for kind, row in zip(counts.index, counts.to_numpy())
    ]
    return "\n".join([f"| kind | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns), *lines])
