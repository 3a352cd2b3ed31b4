"""Curation in which some clips kill their worker: what the tests put in the place of `curate_asset`; workers import it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gvf.stages import curate

_curate_clip, _curate_asset = curate._curate_clip, curate.curate_asset


def curate_asset(asset: curate.AssetClips) -> list[curate.Row]:
    """Curate an asset; a clip called `deadly` ends the process, one called `odd` raises what nobody expects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curate, "_curate_clip", _deadly)
        return _curate_asset(asset)


def try_asset(asset: curate.AssetClips) -> None:
    """Load an asset; one that is called `cursed` ends the process."""
    if asset.path.stem == "cursed":
        os._exit(3)


def curate_cursed(asset: curate.AssetClips) -> list[curate.Row]:
    """Curate an asset; every clip of one that is called `cursed` is deadly."""
    try_asset(asset)
    return _curate_asset(asset)


def _deadly(source: Any, row: curate.Row) -> curate.Row:
    if row["animation"] == "deadly":
        os._exit(3)
    if row["animation"] == "odd":
        source.model.no_such_attribute  # noqa: B018
    return _curate_clip(source, row)
