"""Whose assets a generator was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from gvf.pipelines import training_credits
from gvf.pipelines.generator_folder import write_description
from gvf.pipelines.generator_index import read_index
from gvf.pipelines.training_credits import Credit, credits_of, credits_table
from tests.pipelines.small_generator import small_generator


def _clip(clip: str, asset: str, **facts: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(("pack", "author", "licence", "origin", "variant_of"))
    return {"clip_id": clip, "asset": asset, **unknown, **facts}


FOXES = {"pack": "foxes", "author": "Ana", "licence": "CC0-1.0", "origin": "ana/foxes"}
CATS = {"pack": "cats", "author": "Bo", "licence": "CC-BY-4.0", "origin": None}
CLIPS = pd.DataFrame(
    [
        _clip("a1", "a", **FOXES),
        _clip("a2", "a", **FOXES),
        _clip("a2--v1", "a", **FOXES, variant_of="a2"),
        _clip("b1", "b", **FOXES),
        _clip("c1", "c", **CATS),
        _clip("d1", "d"),
    ]
)


def test_assets_and_clips_are_counted_by_pack_author_licence_and_origin_without_variants() -> None:
    assert credits_of(CLIPS) == (
        Credit(pack=None, author=None, licence=None, origin=None, assets=1, clips=1),
        Credit(pack="cats", author="Bo", licence="CC-BY-4.0", origin=None, assets=1, clips=1),
        Credit(pack="foxes", author="Ana", licence="CC0-1.0", origin="ana/foxes", assets=2, clips=3),
    )


def test_the_smallest_entries_of_too_many_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_credits, "MAX_CREDITS", 2)
    foxes, others = credits_of(CLIPS)
    assert (foxes.pack, foxes.clips) == ("foxes", 3)
    assert (others.pack, others.assets, others.clips) == ("(others)", 2, 2)


def test_entries_survive_json_and_refuse_what_does_not_belong() -> None:
    for credit in credits_of(CLIPS):
        assert Credit.model_validate_json(json.dumps(credit.model_dump(mode="json"))) == credit
    with pytest.raises(ValidationError):
        Credit(pack="x" * 201, author=None, licence=None, origin=None, assets=1, clips=1)
    with pytest.raises(ValidationError):
        Credit(pack=None, author=None, licence=None, origin=None, assets=0, clips=1)


def test_the_table_has_a_row_per_entry_and_shows_foreign_text_as_text() -> None:
    hostile = Credit(pack="a|b\n# c", author="<img src=x>", licence="[l](u)", origin=None, assets=1, clips=2)
    lines = credits_table([hostile]).splitlines()
    assert len(lines) == 3
    assert lines[2] == r"| a\|b \# c | \<img src=x\> | \[l\](u) | unknown | 1 | 2 |"


def test_a_generator_s_index_and_card_name_them(tmp_path: Path) -> None:
    generator = small_generator()
    generator.save_pretrained(tmp_path)
    index = read_index(tmp_path)
    assert "Licences of the data: Not recorded" in (tmp_path / "README.md").read_text()
    training = index.training.model_copy(update={"credits": credits_of(CLIPS), "variants": 1})
    write_description(tmp_path, index.model_copy(update={"training": training}))
    assert read_index(tmp_path).training == training
    text = (tmp_path / "README.md").read_text()
    assert "| foxes | Ana | CC0-1.0 | ana/foxes | 2 | 3 |" in text
    assert "Licences of the data: Not recorded" not in text
