"""A held-out clip's generated motion as a page that plays it beside its conditioning video."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gvf.data.clips import load_views, on_white
from gvf.formats.asset_glb import save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines.asset_files import ASSET_NAME, video_bytes
from gvf.storage.files import PathLike, load_npz
from gvf.viewer.page import write_page
from gvf.workspace import Workspace

VIDEO = 0  # the frontal conditioning video, which the motion is generated from


@dataclass(frozen=True)
class ClipPlayer:
    """What a player shows of a clip. asset: content of an asset.glb; video: the conditioning video as MP4."""

    clip_id: str
    asset: bytes
    video: bytes
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, workspace: Workspace, clip_id: str, gaussians: Gaussians, facts: Mapping[str, Any]) -> ClipPlayer:
        """Return the player of moving Gaussians [T, N]. facts: listed beside the clip's name and its camera."""
        times = load_npz(workspace.curated / f"{clip_id}.npz", ["times"])["times"]
        rate = (len(times) - 1) / float(times[-1] - times[0])
        views = load_views(workspace, clip_id, "video")
        fov = 2.0 * math.degrees(math.atan(0.5 / views.Ks[VIDEO, 0, 0].item()))
        camera = OrbitCamera(0.0, 0.0, views.viewmats[VIDEO, 2, 3].item(), fov)
        known = {"clip": clip_id, **facts, "camera": asdict(camera)}
        video = video_bytes((on_white(views.rgba[VIDEO]) * 255.0).round().byte().numpy(), rate)
        with TemporaryDirectory() as folder:
            path = Path(folder) / ASSET_NAME
            save_asset_glb(path, gaussians.to("cpu"), rate, known)
            return cls(clip_id, path.read_bytes(), video, known)

    def write_page(self, path: PathLike) -> None:
        """Write the page, with asset and video inside."""
        write_page(path, self.asset, title=self.clip_id, video=self.video, facts=self.facts)
