"""Curation in which some clips kill their worker: what the tests put in the place of `curate_asset`; workers import it."""

from __future__ import annotations

import os

import pytest

from gvf.data.curation import asset as assets
from gvf.data.curation.decision import Row

_curate_asset, _stable = assets.curate_asset, assets._stable


def curate_asset(asset: assets.AssetClips) -> list[Row]:
    """Curate an asset; a clip called `deadly` ends the process, one called `odd` raises what nobody expects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "_stable", _deadly)
        return _curate_asset(asset)


def try_asset(asset: assets.AssetClips) -> None:
    """Load an asset; one that is called `cursed` ends the process."""
    if asset.path.stem == "cursed":
        os._exit(3)


def curate_cursed(asset: assets.AssetClips) -> list[Row]:
    """Curate an asset; every clip of one that is called `cursed` is deadly."""
    try_asset(asset)
    return _curate_asset(asset)


def _deadly(clip_id: str) -> int:
    """In the place of a function that is called in the middle of every clip."""
    if clip_id.endswith("deadly"):
        os._exit(3)
    if clip_id.endswith("odd"):
        raise AttributeError("nobody expects this")
    return _stable(clip_id)
