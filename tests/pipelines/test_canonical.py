"""Canonical objects from files: which pose, where in the file, and what is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.gaussians.axes import Y_DOWN, turn_points
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.geometry.similarity import Similarity
from gvf.geometry.voxels import active_voxels
from gvf.pipelines.canonical import load_canonical, read_object, start_of
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.progress import Progress
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES, GltfFile, cube_mesh
from tests.pipelines.small_generator import STATIC, canonical_gaussians, small_generator


@pytest.fixture(scope="module")
def generator() -> VideoTo4D:
    return small_generator(replace(STATIC, feature_channels=180))  # of EfficientNet-Lite0


def cube_file(tmp_path: Path) -> Path:
    """A cube of side 2 around (1, 2, 3) that first turns by 90 degrees and is twice as tall in the clip `grow`."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file), translation=[1, 2, 3], scale=[2, 2, 2])
    clip = file.animation("grow")
    file.channel(clip, node, "scale", [0.0, 1.0], [[2, 4, 2], [9, 9, 9]])
    return file.glb(tmp_path / "cube.glb")


def test_a_static_pose_in_the_unit_box_and_back(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    found = load_canonical(path, generator)
    assert found.origin == "mesh"
    assert found.mesh is not None
    assert found.mesh.vertices.shape == (1, 8, 3)
    np.testing.assert_allclose(
        found.to_file.apply(found.mesh.vertices[0]), CUBE * 2.0 + (1.0, 2.0, 3.0), atol=1e-6, rtol=0
    )
    voxels = active_voxels(found.mesh.vertices[0], found.mesh.faces, STATIC.resolution)
    assert found.gaussians.num_gaussians == len(voxels) * STATIC.gaussians_per_voxel
    assert found.gaussians.means.abs().max() < 0.75
    assert len(found.sha256) == 64


def test_the_first_frame_of_a_clip(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    found = load_canonical(path, generator, clip="grow")
    assert found.to_file.scale == pytest.approx(4.0)
    assert found.mesh is not None
    np.testing.assert_allclose(np.ptp(found.mesh.vertices[0], axis=0), [0.5, 0.5, 1.0], atol=1e-6)
    with pytest.raises(UserError, match=r"cube.glb: has no animation 'walk'. It has: grow"):
        load_canonical(path, generator, clip="walk")


def test_the_same_file_gives_the_same_gaussians(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    first, second = (load_canonical(path, generator).gaussians for _ in range(2))
    torch.testing.assert_close(first.to_activated14(), second.to_activated14(), rtol=0, atol=0)


def test_a_mesh_is_encoded_in_its_own_axes_unless_it_is_turned(tmp_path: Path, generator: VideoTo4D) -> None:
    found = read_object(cube_file(tmp_path), generator, clip=None, up=None, image=None, progress=Progress())
    front, near, side = (start_of(found, azimuth, generator, Progress()) for azimuth in (0.0, 4.0, 45.0))
    torch.testing.assert_close(near.canonical.gaussians.means, front.canonical.gaussians.means, rtol=0, atol=0)
    assert side.canonical.gaussians.num_gaussians != front.canonical.gaussians.num_gaussians
    for start in (front, near, side):
        back = start.axes.left(start.gaussians)
        torch.testing.assert_close(back.means, start.canonical.gaussians.means, rtol=0, atol=1e-6)


def test_gaussians_that_fill_the_box_stay_as_they_are(tmp_path: Path, generator: VideoTo4D) -> None:
    gaussians = visible(canonical_gaussians(40, 3))
    save_ply(tmp_path / "own.ply", gaussians)
    found = load_canonical(tmp_path / "own.ply", generator)
    assert (found.origin, found.mesh, found.source) == ("gaussians", None, None)
    assert found.to_file == Similarity(1.0, (0.0, 0.0, 0.0), "-y")
    assert found.gaussians.activation == generator.vae.static.decoder.activation
    torch.testing.assert_close(found.gaussians.to_activated14(), gaussians.to_activated14(), atol=2e-5, rtol=1e-4)


def test_other_gaussians_are_moved_into_the_box(tmp_path: Path, generator: VideoTo4D) -> None:
    """Ten times as large and far away, with a transparent one even farther off, which does not count."""
    gaussians = visible(canonical_gaussians(40, 3))
    means = gaussians.means * 10.0 + torch.tensor([100.0, 0.0, 5.0])
    means[0] = 1000.0
    opacities = gaussians.opacities.clone()
    opacities[0] = 0.01
    far = Gaussians.from_rendered(means, gaussians.colors, gaussians.scales * 10.0, gaussians.quats, opacities)
    save_ply(tmp_path / "far.ply", far)
    found = load_canonical(tmp_path / "far.ply", generator)
    inner = found.gaussians.means[1:]
    extents = inner.max(dim=0).values - inner.min(dim=0).values
    assert float(extents.max()) == pytest.approx(1.0, abs=1e-5)
    assert float(inner.abs().max()) == pytest.approx(0.5, abs=1e-5)
    back = found.to_file.apply(found.gaussians.means.numpy())
    np.testing.assert_allclose(back, turn_points(means, Y_DOWN).numpy(), atol=1e-3)
    torch.testing.assert_close(found.gaussians.scales * found.to_file.scale, far.scales, atol=1e-4, rtol=1e-3)


def test_what_is_no_object_is_refused(tmp_path: Path, generator: VideoTo4D) -> None:
    gaussians = visible(canonical_gaussians(5, 3))
    save_ply(tmp_path / "a.ply", replace(gaussians, raw_opacities=gaussians.raw_opacities - 50.0))
    with pytest.raises(UserError, match=r"a\.ply: all its Gaussians are transparent"):
        load_canonical(tmp_path / "a.ply", generator)
    save_ply(tmp_path / "a.ply", gaussians)
    with pytest.raises(UserError, match="Leave --clip out"):
        load_canonical(tmp_path / "a.ply", generator, clip="walk")
    with pytest.raises(UserError, match=r"nowhere\.glb: cannot be read"):
        load_canonical(tmp_path / "nowhere.glb", generator)
    point = GltfFile()
    point.node(mesh=cube_mesh(point), scale=[0, 0, 0])
    with pytest.raises(UserError, match="all vertices are in one place"):
        load_canonical(point.glb(tmp_path / "point.glb"), generator)


def test_a_mesh_in_plain_files_is_the_mesh_in_a_glb(tmp_path: Path, generator: VideoTo4D) -> None:
    """The same cube as glTF and as STL gives Gaussians at the same places; where it lies in the file is known for both."""
    file = GltfFile()
    file.node(mesh=cube_mesh(file), scale=[1, 2, 3])
    first = load_canonical(file.glb(tmp_path / "cube.glb"), generator)
    corners = (CUBE * (1.0, 2.0, 3.0))[CUBE_FACES][:, :, [0, 2, 1]] * (1.0, -1.0, 1.0)  # z up
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *face.ravel(), 0) for face in corners)
    (tmp_path / "cube.stl").write_bytes(bytes(80) + struct.pack("<I", 12) + body)
    told: list[str] = []

    class Listener(Progress):
        def warn(self, message: str) -> None:
            told.append(message)

    second = load_canonical(tmp_path / "cube.stl", generator, progress=Listener())
    assert ["--up y" in message for message in told] == [True]
    assert (first.to_file.up, second.to_file.up) == ("y", "z")
    assert first.gaussians.num_gaussians == second.gaussians.num_gaussians
    assert second.mesh is not None
    placed = second.to_file.apply(second.mesh.vertices[0])
    np.testing.assert_allclose(np.ptp(placed, axis=0), [1, 3, 2], atol=1e-5)


def visible(gaussians: Gaussians) -> Gaussians:
    """The same Gaussians with means that just fit into the box, opaque, and larger than any 3D filter."""
    means = gaussians.means - (gaussians.means.max(dim=0).values + gaussians.means.min(dim=0).values) / 2.0
    means = 0.5 * means / means.abs().max()
    opacities, scales = gaussians.raw_opacities.abs() + 3.0, gaussians.raw_scales.abs()
    return replace(gaussians, means=means, raw_opacities=opacities, raw_scales=scales)
