"""The data card: licences and kinds counted by hand."""

from __future__ import annotations

import pandas as pd

from gvf.pipelines.data_card import data_card, kinds_table, licences_table
from gvf.pipelines.generator_index import Training
from gvf.pipelines.training_credits import Credit

CREDITS = (
    Credit(pack="Animals", author="Ann", licence="CC0-1.0", origin="somewhere", assets=2, clips=6),
    Credit(pack="Robots", author="Bob | Co", licence="CC-BY-4.0", origin=None, assets=1, clips=9),
    Credit(pack="More animals", author="Ann", licence="CC0-1.0", origin=None, assets=3, clips=5),
)
ROWS = [
    ("fish", "train", False, False, None),
    ("fish", "train", False, False, "fish-0"),  # a variant, which counts nowhere
    ("fish", "held_out", True, True, None),
    ("fish", "held_out", False, True, None),
    ("plant", "held_out", False, False, None),
    ("plant", None, False, False, None),  # rejected
]


def clips() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=["kind", "split", "asset_seen", "skeleton_seen", "variant_of"])
    return table.assign(decision=table["split"].map(lambda split: "accepted" if split else "rejected"))


def test_licences_are_added_up_with_the_largest_first() -> None:
    assert licences_table(CREDITS).splitlines()[2:] == ["| CC0-1.0 | 5 | 11 |", "| CC-BY-4.0 | 1 | 9 |"]


def test_clips_are_counted_by_what_training_has_of_them() -> None:
    accepted = clips()[lambda table: table["decision"] == "accepted"]
    lines = kinds_table(accepted).splitlines()[2:]
    assert lines == ["| fish | 1 | 1 | 1 | 0 |", "| plant | 0 | 0 | 0 | 1 |", "| all | 1 | 1 | 1 | 1 |"]


def test_the_card_names_every_author_in_text_that_stays_in_its_cell() -> None:
    text = data_card("gvf-small", Training(frames=8, clips=2, variants=1, source="glb", credits=CREDITS), clips())
    assert text.startswith("# Data of gvf-small\n")
    assert "Source: glb. 2 training clips, of which 1 are variants of others, 8 frames each." in text
    assert "| Robots | Bob \\| Co | CC-BY-4.0 | unknown | 1 | 9 |" in text
