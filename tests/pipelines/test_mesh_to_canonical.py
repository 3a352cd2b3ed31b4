"""Features gathered on voxels from images whose features are their colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gvf.data.clips import Views
from gvf.errors import ClipError
from gvf.geometry.camera import intrinsics, orbit, sphere_hammersley
from gvf.geometry.voxels import voxel_centers
from gvf.pipelines.mesh_to_canonical import video_tokens, view_weights, voxel_features
from gvf.rendering.mesh_views import render_mesh
from tests.stages.curated_clips import box

CPU = torch.device("cpu")


class ColorEncoder:
    """Stands in for a network: the map is the image over black, a frame's token its mean colour."""

    voxel_dim, token_dim, num_tokens = 3, 3, 1

    def voxel_maps(self, images: Tensor) -> Tensor:
        values = images.permute(0, 3, 1, 2) / 255.0
        return values[:, :3] * values[:, 3:]

    def tokens(self, images: Tensor) -> Tensor:
        return self.voxel_maps(images).mean(dim=(2, 3))[:, None]


def views_of(mesh, count: int, size: int) -> Views:  # type: ignore[no-untyped-def]
    azimuths, elevations = sphere_hammersley(count)
    viewmats, Ks = orbit(azimuths, elevations, 2.0), intrinsics(np.full(count, 40.0))
    rgba = render_mesh(mesh.vertices[0], mesh, viewmats, Ks, size, 2)
    return Views(torch.from_numpy(rgba), torch.from_numpy(viewmats), torch.from_numpy(Ks))


def gather(weighting: str, batch_size: int) -> tuple[np.ndarray, Tensor]:
    """Voxel centres and colours of a box that glows red in front (y < 0) and blue behind."""
    mesh = box()
    views = views_of(mesh, 24, 96)
    voxels, features = voxel_features(
        ColorEncoder(), mesh.vertices[0], mesh.faces, mesh.double_sided, views, 16, weighting, batch_size, CPU
    )
    return voxel_centers(voxels.numpy(), 16), features


def test_visible_views_give_a_voxel_its_own_colour() -> None:
    centers, features = gather("visible", 24)
    front, back = centers[:, 1] < -0.1, centers[:, 1] > 0.1
    red, blue = features[:, 0], features[:, 2]
    assert red[front].mean() > 0.9
    assert blue[front].mean() < 0.05
    assert blue[back].mean() > 0.9
    assert red[back].mean() < 0.05


def test_the_releases_mean_mixes_both_sides() -> None:
    centers, features = gather("uniform", 24)
    front = centers[:, 1] < -0.1
    assert 0.2 < features[front, 0].mean() < 0.8
    assert features[front, 2].mean() > 0.1


def test_batches_do_not_matter() -> None:
    for weighting in ("visible", "uniform"):
        torch.testing.assert_close(gather(weighting, 5)[1], gather(weighting, 24)[1], atol=1e-6, rtol=0)


def test_uniform_features_by_hand() -> None:
    """One view of constant colour: voxels that project inside have it."""
    mesh = box()
    rgba = torch.full((2, 8, 8, 4), 255, dtype=torch.uint8)
    rgba[0, ..., :3] = torch.tensor([255, 51, 0])
    rgba[1, ..., 3] = 0
    viewmats, Ks = orbit([0.0, 180.0], 0.0, 2.0), intrinsics(np.full(2, 60.0))
    views = Views(rgba, torch.from_numpy(viewmats), torch.from_numpy(Ks))
    _, features = voxel_features(
        ColorEncoder(), mesh.vertices[0], mesh.faces, mesh.double_sided, views, 8, "uniform", 8, CPU
    )
    torch.testing.assert_close(features, torch.tensor([0.5, 0.1, 0.0]).expand(len(features), 3), atol=1e-6, rtol=0)


def test_view_weights_by_hand() -> None:
    seen = torch.tensor([[True, True, False], [True, False, False], [False, True, False]])
    coverage = torch.tensor([[1.0, 0.0, 1.0], [0.5, 1.0, 1.0], [1.0, 0.5, 1.0]])
    expected = [[2 / 3, 0, 1 / 3], [1 / 3, 0, 1 / 3], [0, 1, 1 / 3]]
    torch.testing.assert_close(view_weights(seen, coverage), torch.tensor(expected))


def test_video_tokens_keep_their_order() -> None:
    frames = torch.zeros(2, 3, 4, 4, 4, dtype=torch.uint8)
    frames[..., 3] = 255
    frames[..., 0] = torch.arange(6).reshape(2, 3, 1, 1) * 51
    tokens = video_tokens(ColorEncoder(), frames, 4, CPU)
    assert tokens.shape == (2, 3, 1, 3)
    torch.testing.assert_close(tokens[..., 0, 0], torch.arange(6).reshape(2, 3) / 5)


@pytest.mark.parametrize("case", ["no triangles", "not finite"])
def test_a_shape_without_surface_is_rejected(case: str) -> None:
    mesh = box()
    views = views_of(mesh, 2, 16)
    vertices, faces = mesh.vertices[0].copy(), mesh.faces
    if case == "no triangles":
        faces = faces[:0]
    else:
        vertices[0, 0] = np.nan
    with pytest.raises(ClipError, match=case) as caught:
        voxel_features(ColorEncoder(), vertices, faces, mesh.double_sided, views, 8, "visible", 8, CPU)
    assert caught.value.reason == "invalid"
