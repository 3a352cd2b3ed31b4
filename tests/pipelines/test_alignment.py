"""The camera of an image of known Gaussians is found again."""

import pytest
import torch

from gvf.errors import UserError
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines import alignment_features
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.alignment_confidence import confidence, fits_as_well
from gvf.pipelines.alignment_views import thinned
from gvf.progress import Progress
from tests.pipelines.alignment_objects import creature, photograph, vase


class Listener(Progress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def degrees_between(one: float, other: float) -> float:
    return abs((one - other + 180.0) % 360.0 - 180.0)


def test_the_camera_of_a_shifted_crop_is_found():
    camera, listener = OrbitCamera(-150.0, 12.0, 2.2, 40.0, (0.08, -0.1)), Listener()
    found = align(creature(), photograph(creature(), camera, 128), AlignmentSettings(), listener)
    assert degrees_between(found.camera.azimuth, camera.azimuth) < 1.0
    assert abs(found.camera.elevation - camera.elevation) < 1.5
    scale, expected = (c.K[0, 0] / c.radius for c in (found.camera, camera))
    assert abs(scale / expected - 1.0) < 0.015
    assert abs(found.camera.shift[0] - camera.shift[0]) < 0.005
    assert abs(found.camera.shift[1] - camera.shift[1]) < 0.005
    assert found.loss < 0.1
    assert found.confidence > 0.9
    assert not found.ambiguous
    assert not listener.warnings
    assert degrees_between(found.azimuths[min(range(72), key=found.losses.__getitem__)], camera.azimuth) <= 10.0


def test_a_field_of_view_and_an_azimuth_that_are_known_give_the_distance():
    camera = OrbitCamera(63.0, 12.0, 3.0, 25.0)
    image = photograph(creature(), camera, 128)
    found = align(creature(), image, AlignmentSettings(azimuth=63.0, fov=25.0), Progress())
    assert abs(found.camera.fov - 25.0) < 1e-6
    assert abs(found.camera.radius / 3.0 - 1.0) < 0.03
    assert abs(found.camera.azimuth - 63.0) < 1e-9
    assert found.confidence == 1.0


def test_what_the_user_knows_stays():
    image = photograph(creature(), OrbitCamera(63.0, 12.0, 2.2, 40.0), 128)
    found = align(creature(), image, AlignmentSettings(azimuth=-20.0, elevation=85.0), Progress())
    assert (found.camera.azimuth, found.camera.elevation) == (-20.0, 85.0)


def test_an_object_that_looks_the_same_from_everywhere_is_ambiguous():
    listener = Listener()
    image = photograph(vase(seed=7), OrbitCamera(30.0, 10.0, 2.2, 40.0), 96)
    found = align(vase(), image, AlignmentSettings(), listener)
    assert found.ambiguous
    assert found.rivals
    assert all(degrees_between(rival.azimuth, found.camera.azimuth) > 30.0 for rival in found.rivals)
    assert found.confidence < 0.6
    (warning,) = listener.warnings
    assert "--azimuth" in warning


def test_confidence_grows_with_the_margin_and_falls_with_the_loss():
    assert confidence(0.1, 0.4) > confidence(0.1, 0.2) > confidence(0.1, 0.1)
    assert confidence(0.1, 0.2) > confidence(0.4, 0.8)
    assert 0.0 < confidence(0.9, 0.9) < 0.5 < confidence(0.05, 0.5) < 1.0
    assert fits_as_well(0.2, 0.21)
    assert not fits_as_well(0.2, 0.4)


def test_fewer_gaussians_cover_the_same_image():
    camera = OrbitCamera(40.0, 15.0, 2.2, 40.0)
    full, part = creature(), thinned(creature(), 700)
    assert part.num_gaussians == 700
    masks = [photograph(gaussians, camera, 48)[..., 3].float() / 255.0 for gaussians in (full, part)]
    assert torch.minimum(*masks).sum() / torch.maximum(*masks).sum() > 0.85


def test_an_image_without_an_object_is_refused():
    with pytest.raises(UserError, match="shows no object"):
        align(creature(), torch.zeros(32, 32, 4, dtype=torch.uint8), AlignmentSettings(), Progress())


@pytest.mark.parametrize("known", [{"elevation": 91.0}, {"fov": 0.5}, {"azimuth": float("nan")}, {"features": "lpips"}])
def test_settings_out_of_range_are_refused(known):
    with pytest.raises(UserError, match=f"align: {next(iter(known))} must be"):
        AlignmentSettings(**known)


def test_features_need_their_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match="gvf weights pull clip"):
        align(creature(), torch.zeros(32, 32, 4, dtype=torch.uint8), AlignmentSettings(features="clip"), Progress())


def test_features_decide_between_views_that_fit_equally_well(monkeypatch):
    monkeypatch.setattr(alignment_features, "absence", lambda: None)
    compared = []

    def similarity(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Favour the 40th azimuth of the search, and the images most like it afterwards."""
        assert images.shape == target.shape
        if not compared:
            compared.append(images[40])
            return (torch.arange(len(images)) == 40).float()
        return -(images - torch.nn.functional.interpolate(
            compared[0].movedim(-1, 0)[None], images.shape[1:3], mode="bilinear"
        )[0].movedim(0, -1)).abs().mean((-1, -2, -3))  # fmt: skip

    monkeypatch.setattr(alignment_features, "clip_similarity", similarity)
    image = photograph(vase(), OrbitCamera(30.0, 10.0, 2.2, 40.0), 96)
    found = align(vase(), image, AlignmentSettings(features="clip"), Progress())
    assert min(range(72), key=found.losses.__getitem__) == 40
