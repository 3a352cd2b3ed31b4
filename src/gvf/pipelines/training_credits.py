"""Whose assets a generator was trained on, and under which licences: part of `generator.json` and of the model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from gvf.text import clean

MAX_CREDITS = 500
"""Largest number of entries in a generator's index; the smallest ones beyond it are counted together."""
OTHERS = "(others)"
_WHO = ("pack", "author", "licence", "origin")
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class Credit(BaseModel):
    """The training data of one pack by one author under one licence; None for what is not known.

    origin: where it comes from. assets, clips: how many of them were trained on, without variants of clips.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pack: _Text | None
    author: _Text | None
    licence: _Text | None
    origin: _Text | None
    assets: Annotated[int, Field(ge=1)]
    clips: Annotated[int, Field(ge=1)]


def credits_of(clips: pd.DataFrame) -> tuple[Credit, ...]:
    """Return the credits of training clips, rows of the curated manifest, in the order of packs."""
    own = clips[clips["variant_of"].isna()].fillna(dict.fromkeys(_WHO, ""))
    counts = own.groupby(list(_WHO)).agg(assets=("asset", "nunique"), clips=("clip_id", "size")).reset_index()
    counts = counts.sort_values(["clips", *_WHO], ascending=[False, True, True, True, True])
    kept, rest = counts[: MAX_CREDITS - 1], counts[MAX_CREDITS - 1 :]
    found = [
        Credit(
            **{name: str(row[name])[:200] or None for name in _WHO}, assets=int(row["assets"]), clips=int(row["clips"])
        )
        for row in kept.sort_values(list(_WHO)).to_dict("records")
    ]
    if len(rest):
        others = int(rest["assets"].sum()), int(rest["clips"].sum())
        found.append(Credit(pack=OTHERS, author=None, licence=None, origin=None, assets=others[0], clips=others[1]))
    return tuple(found)


def credits_table(credits: Sequence[Credit]) -> str:
    """Return the credits as a Markdown table, with what is unknown marked; their text may come from anywhere."""
    lines = ["| pack | author | licence | origin | assets | clips |", "| --- | --- | --- | --- | ---: | ---: |"]
    for credit in credits:
        texts = " | ".join(cell(text) for text in (credit.pack, credit.author, credit.licence, credit.origin))
        lines.append(f"| {texts} | {credit.assets} | {credit.clips} |")
    return "\n".join(lines)


def cell(text: str | None) -> str:
    """Return text for a cell of a Markdown table: one line without Markdown or HTML of its own."""
    if text is None:
        return "unknown"
    return "".join(f"\\{c}" if c in "\\`*_[]|<>#!&" else c for c in clean(text, 200))
