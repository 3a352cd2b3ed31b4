"""The page of ablations: Tables 2, 3, 5 and 6 with a strip of every variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gvf_evaluation.reporting.page import Table, render_template


@dataclass(frozen=True)
class Strip:
    """Frames of a clip side by side, as a data URI. name: of the variant that made them."""

    name: str
    clip: str
    picture: str


@dataclass(frozen=True)
class Section:
    """One table. order: how the order of its variants compares with the published one.

    compare: address of MLflow's page that compares its runs; None where they were not tracked.
    """

    title: str
    table: Table
    order: str
    strips: Sequence[Strip]
    compare: str | None


@dataclass(frozen=True)
class AblationsPage:
    """Everything the template shows, in its order."""

    caption: str
    sections: Sequence[Section]


def render(page: AblationsPage) -> str:
    """The page as HTML."""
    return render_template("ablations.html", page)
