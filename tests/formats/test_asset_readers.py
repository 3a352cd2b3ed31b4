"""Frame 0 of the asset file in the hands of others: three.js reads its Gaussians, the Khronos validator its glTF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from gvf.formats.asset_glb import SPLATTING, save_asset_glb
from tests.formats.swinging import swinging_gaussians
from tests.node.readers import run_node, validator_messages


def test_three_reads_the_gaussians_of_frame_0(tmp_path: Path, node_modules: Path) -> None:
    gaussians = swinging_gaussians(4, 200)
    save_asset_glb(tmp_path / "a.glb", gaussians, 24.0)
    (found,) = run_node("splats.mjs", tmp_path / "a.glb")
    assert found["world"] == np.eye(4).ravel().tolist()
    position, covariance, color = (
        np.array(found["attributes"][name]["values"]).reshape(200, width)
        for name, width in (("position", 3), ("covariance", 6), ("color", 4))
    )
    first = gaussians[0]
    y_up = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_allclose(position, first.means.numpy() @ y_up.T, atol=1e-7)
    axes = y_up @ Rotation.from_quat(first.quats.numpy(), scalar_first=True).as_matrix() * first.scales.numpy()[:, None]
    matrices = axes @ axes.transpose(0, 2, 1)
    upper = matrices[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(covariance, upper, atol=1e-6 * upper.max())
    np.testing.assert_allclose(color[:, :3] / 255, first.rgb.clamp(max=1).numpy(), atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(color[:, 3] / 255, first.opacities.numpy(), atol=0.5 / 255 + 1e-6)


def test_the_validator_objects_only_to_attributes_of_an_extension_it_does_not_know(
    tmp_path: Path, node_modules: Path
) -> None:
    paths = tmp_path / "moving.glb", tmp_path / "still.glb"
    save_asset_glb(paths[0], swinging_gaussians(20, 50), 24.0, {"title": "fox"})
    save_asset_glb(paths[1], swinging_gaussians(1, 1), 24.0)
    for messages in validator_messages(*paths).values():
        serious = [message for message in messages if message["severity"] <= 1]
        places = {message["pointer"].rpartition("/")[2] for message in serious}
        assert {message["code"] for message in serious} == {"MESH_PRIMITIVE_INVALID_ATTRIBUTE"}
        assert places == {f"{SPLATTING}:{name}" for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0")}
