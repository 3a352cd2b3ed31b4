"""A decoder of raw float32 frames in the place of the player's own, so that its tests need no file format."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from gvf.gaussians.gaussians import Gaussians
from gvf.viewer import page

DECODER = """
export async function decodeAsset(buffer) {
  if (buffer.byteLength < 16) throw new Error("asset.glb: ends too early.");
  const header = new DataView(buffer);
  const [numFrames, numGaussians] = [header.getUint32(0, true), header.getUint32(4, true)];
  const values = new Float32Array(buffer, 16);
  const facts = {};
  return {
    numFrames, numGaussians, framesPerSecond: header.getFloat32(8, true), lowPass: 0.1, compensate: true, facts,
    frame(t) {
      let at = t * numGaussians * 14;
      const take = (count) => values.slice(at, (at += count * numGaussians));
      return { means: take(3), quats: take(4), scales: take(3), colors: take(3), opacities: take(1) };
    },
  };
}
"""


def raw_asset(gaussians: Gaussians, frames_per_second: float) -> bytes:
    """Return Gaussians [T, N, ...] as the decoder reads them."""
    frames, count = gaussians.means.shape[:2]
    parts = [struct.pack("<IIfI", frames, count, frames_per_second, 0)]
    for frame in (gaussians[index] for index in range(frames)):
        for values in (frame.means, frame.quats, frame.scales, frame.rgb.clamp(max=1), frame.opacities):
            parts.append(values.float().contiguous().numpy().tobytes())
    return b"".join(parts)


def with_decoder(folder: Path) -> Path:
    """Copy the player's files to a folder, with this decoder."""
    shutil.copytree(page.STATIC, folder)
    (folder / "asset.js").write_text(DECODER, encoding="utf-8")
    return folder
