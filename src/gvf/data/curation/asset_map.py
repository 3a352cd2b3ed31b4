"""Decide the clips of many assets in parallel, so that a clip that kills its worker is rejected alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gvf.data.curation.asset import AssetClips, curate_asset, try_asset
from gvf.data.curation.decision import Row, refused
from gvf.execution.clip_map import map_clips
from gvf.execution.rejected import CRASHED, MEMORY, TIMEOUT, Rejected

if TYPE_CHECKING:
    from gvf.config.execution import ExecutionConfig


def decide_assets(assets: list[AssetClips], execution: ExecutionConfig, describe: str) -> dict[str, Row]:
    """Return the decision on every clip of the assets, by clip id.

    If a worker fails on an asset (crash, time or memory limit), the asset's clips are retried one by one, so that only
    the clip that causes the failure is rejected, unless the asset itself cannot be loaded.
    """
    decided: dict[str, Row] = {}

    def decide(asset: AssetClips, result: list[Row] | Rejected) -> None:
        rows = [refused(row, result) for row in asset.rows] if isinstance(result, Rejected) else result
        decided.update({row["clip_id"]: row for row in rows})

    lost = []
    for asset, result in zip(
        assets, map_clips(curate_asset, assets, execution, describe, lambda asset: asset.path.name)
    ):
        if isinstance(result, Rejected) and result.reason in (CRASHED, TIMEOUT, MEMORY) and len(asset.readable) > 1:
            lost.append(asset)
        else:
            decide(asset, result)
    single = []
    for asset, found in zip(
        lost, map_clips(try_asset, lost, execution, f"{describe}, load again", lambda a: a.path.name)
    ):
        if isinstance(found, Rejected):
            decide(asset, found)
        else:
            single += [dataclasses.replace(asset, rows=(row,)) for row in asset.rows]
    alone = map_clips(
        curate_asset, single, execution, f"{describe}, one by one", lambda asset: asset.rows[0]["clip_id"]
    )
    for asset, result in zip(single, alone):
        decide(asset, result)
    return decided
