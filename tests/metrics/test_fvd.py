"""Frechet distances against SciPy, I3D against the same network in bare functions, with weights in the published format."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from PIL import Image

from gvf.errors import UserError
from gvf.metrics import fvd
from gvf.metrics.absence import Absence
from gvf.metrics.i3d import I3D, load_i3d
from gvf.storage.published_files import I3D_KINETICS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the published file holds them: a plain state dict, without counters of batches."""
    path = tmp_path_factory.mktemp("weights") / I3D_KINETICS.name
    torch.manual_seed(0)
    state = {}
    for name, value in I3D().state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if "running_mean" in name or name.endswith("bias"):
            value = 0.1 * torch.randn_like(value)
        elif "running_var" in name or name.endswith("bn.weight"):
            value = 0.5 + torch.rand_like(value)
        state[name] = value
    torch.save(state, path)
    return path


@pytest.fixture
def weights(i3d_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GVF_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(i3d_file.parent))
    assert I3D_KINETICS.find() == i3d_file
    return i3d_file


def same_pad(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    """Padding by its definition: the last window starts at (ceil(n / s) - 1) s, what it lacks is split, more behind."""
    pads = []
    for n, k, s in zip(x.shape[2:], kernel, stride):
        lacking = max(0, (math.ceil(n / s) - 1) * s + k - n)
        pads.append((lacking // 2, lacking - lacking // 2))
    return F.pad(x, [value for pair in reversed(pads) for value in pair])


def reference_i3d(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """I3D written out from the paper's figure on a bare state dict, with its average pooling done as such."""

    def unit(x, name, stride=1):  # type: ignore[no-untyped-def]
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(same_pad(x, weight.shape[2:], (stride,) * 3), weight, stride=stride)
        mean, variance = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
        x = F.batch_norm(x, mean, variance, state[f"{name}.bn.weight"], state[f"{name}.bn.bias"], eps=1e-3)
        return x.clamp_min(0)

    def pool(x, kernel, stride):  # type: ignore[no-untyped-def]
        return F.max_pool3d(same_pad(x, kernel, stride), kernel, stride)

    def mixed(x, name):  # type: ignore[no-untyped-def]
        branches = [
            unit(x, f"{name}.b0"),
            unit(unit(x, f"{name}.b1a"), f"{name}.b1b"),
            unit(unit(x, f"{name}.b2a"), f"{name}.b2b"),
            unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.b3b"),
        ]
        return torch.cat(branches, 1)

    x = unit(x, "Conv3d_1a_7x7", 2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = mixed(mixed(x, "Mixed_3b"), "Mixed_3c")
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for letter in "bcdef":
        x = mixed(x, f"Mixed_4{letter}")
    x = pool(x, (2, 2, 2), (2, 2, 2))
    x = mixed(mixed(x, "Mixed_5b"), "Mixed_5c")
    x = F.avg_pool3d(x, (1, *x.shape[3:]), 1)
    x = F.conv3d(x, state["logits.conv3d.weight"], state["logits.conv3d.bias"])
    return x.flatten(2).mean(2)


def test_i3d_has_the_published_names_and_shapes() -> None:
    state = I3D().state_dict()
    assert len([name for name in state if not name.endswith("num_batches_tracked")]) == 57 * 5 + 2
    # GoogLeNet's table: what leaves each module, and the whole network's size as I3D's authors' network has it.
    widths = {"Mixed_3b": 256, "Mixed_3c": 480, "Mixed_4b": 512, "Mixed_4e": 528, "Mixed_4f": 832, "Mixed_5c": 1024}
    for name, width in widths.items():
        last = ("b0", "b1b", "b2b", "b3b")
        assert sum(len(state[f"{name}.{branch}.conv3d.weight"]) for branch in last) == width
    assert state["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert state["Mixed_5c.b2b.bn.running_var"].shape == (128,)
    assert state["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)
    assert sum(parameter.numel() for parameter in I3D().parameters()) == 12_697_264


def test_i3d_is_the_network_of_the_paper(i3d_file: Path) -> None:
    video = torch.rand(2, 3, 9, 40, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1  # odd sizes: uneven padding
    found = load_i3d(i3d_file, CPU)(video)
    expected = reference_i3d(torch.load(i3d_file, weights_only=True), video)
    assert found.shape == (2, 400)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_i3d_refuses_other_files(tmp_path: Path, i3d_file: Path) -> None:
    state = torch.load(i3d_file, weights_only=True)
    broken = {**state, "extra.weight": torch.zeros(1)}, {n: v for n, v in state.items() if n != "logits.conv3d.bias"}
    what = ["not I3D's state dict", "not I3D's state dict", "a pickle with code", "a text, not the weights"]
    for index, (content, message) in enumerate(zip([*broken, I3D(), b"no weights"], what)):
        path = tmp_path / f"{index}.pt"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(UserError, match=rf"{index}\.pt: {message}"):
            load_i3d(path, CPU)


def test_frames_are_resized_channel_by_channel_in_float(weights: Path) -> None:
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (3, 50, 40, 3)).astype(np.uint8)
    for channel in range(3):
        plane = Image.fromarray(frames[1, :, :, channel].astype(np.float32))
        expected = np.asarray(plane.resize((224, 224), resample=3)) / 127.5 - 1
        np.testing.assert_array_equal(fvd.network_frame(frames[1])[channel], expected)
    logits = fvd.video_logits(frames, CPU)
    video = np.stack([fvd.network_frame(frame) for frame in frames], axis=1)
    torch.testing.assert_close(logits, load_i3d(weights, CPU)(torch.from_numpy(video)[None])[0])


def test_fvd_of_sets_of_videos(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of every video, one distance over all of them; a stand-in network keeps it quick."""
    monkeypatch.setattr(fvd, "_network", lambda path, device: lambda video: video.mean((2, 3, 4)))
    videos = torch.rand(4, 3, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    features, halved = (
        torch.stack([fvd.FVD.features([*(share * video.numpy())], CPU) for video in videos]) for share in (255.0, 127.5)
    )
    # Bicubic enlarging keeps means up to the border.
    torch.testing.assert_close(features, 2 * videos.mean((1, 2, 3)) - 1, rtol=0, atol=0.01)
    torch.testing.assert_close(halved, (features - 1) / 2, rtol=0, atol=1e-5)
    by_object = (features.view(2, 2, -1), halved.view(2, 2, -1))
    assert fvd.FVD.distance(features, features) == pytest.approx(0, abs=1e-9)
    assert fvd.FVD.distance(*by_object) == fvd.frechet_distance(features, halved)
    assert isinstance(fvd.FVD.distance(features[:1], features[:1]), Absence)


def test_frechet_distance_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    assert fvd.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert fvd.frechet_distance(features, features + 3) == pytest.approx(45)  # a shift: |m1 - m2|^2
    scaled = fvd.frechet_distance(features - features.mean(0), 2 * (features - features.mean(0)))
    assert scaled == pytest.approx(float(torch.trace(torch.cov(features.T))))  # (2 - 1)^2 of every variance


@pytest.mark.parametrize(("count", "width"), [(60, 12), (4, 50)])  # more videos than features, and fewer
def test_frechet_distance_is_scipy_s(count: int, width: int) -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(count, width)), 0.3 + 1.7 * generator.normal(size=(count, width))
    # The root of a product is that of a symmetric matrix, which SciPy takes also where the product is singular.
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    half = scipy.linalg.sqrtm(covariances[0] + 1e-12 * np.eye(width)).real
    root = scipy.linalg.sqrtm(half @ covariances[1] @ half + 1e-12 * np.eye(width)).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    found = fvd.frechet_distance(torch.from_numpy(one), torch.from_numpy(other))
    assert found == pytest.approx(expected, rel=1e-5)


def test_distance_of_one_video_is_the_general_formula_of_one_variable() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=400), 0.5 + 2 * generator.normal(size=400)
    found = float(fvd.single_video_distance(torch.from_numpy(one), torch.from_numpy(other)))
    # Consistent4D's script where NumPy's covariance of one sample is a number: means of 400 features, 1 x 1 matrices.
    sigma = [np.atleast_2d(np.cov(logits)) for logits in (one, other)]
    root = scipy.linalg.sqrtm(sigma[0] @ sigma[1])
    scripted = ((one - other) ** 2).sum() + np.trace(sigma[0] + sigma[1] - 2 * root).real
    assert found == pytest.approx(float(scripted), rel=1e-12)
    # The same spread from our general formula: 400 samples of one variable.
    columns = torch.from_numpy(one)[:, None], torch.from_numpy(other)[:, None]
    spread = fvd.frechet_distance(*columns) - (one.mean() - other.mean()) ** 2
    assert found == pytest.approx(((one - other) ** 2).sum() + spread, rel=1e-12)
    assert float(fvd.single_video_distance(torch.from_numpy(one), torch.from_numpy(one))) == 0
