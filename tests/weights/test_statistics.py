"""The release's four files of statistics, small ones of their format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.weights.statistics import load_published_statistics

VALUES: dict[str, Tensor] = {  # as the release has them: bare tensors, some of float64, with leading axes of length 1
    "deformation_mean": torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 16),
    "deformation_std": torch.linspace(0.5, 2, 16, dtype=torch.float64).view(1, 1, 16),
    "static_mean": torch.linspace(0, 1, 14).view(1, 14),
    "static_std": torch.linspace(1, 2, 14).view(1, 14),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for stem, values in VALUES.items():
        torch.save(values, tmp_path / f"{stem}.pt")
    return tmp_path


def test_each_file_is_a_vector_in_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_published_statistics(folder)
    pairs = [(found.latent_mean, "deformation_mean"), (found.latent_std, "deformation_std")]
    for value, stem in [*pairs, (found.static_mean, "static_mean"), (found.static_std, "static_std")]:
        assert value.dtype == torch.float32
        assert torch.equal(value, VALUES[stem].flatten().float())
    latents = torch.randn(2, 3, 5, 16)
    expected = (latents.double() - VALUES["deformation_mean"]) / VALUES["deformation_std"]
    torch.testing.assert_close(found.normalize(latents), expected.float())
    monkeypatch.setenv("GVF_WEIGHTS", str(folder))
    assert torch.equal(load_published_statistics().static_std, found.static_std)


def test_one_value_stands_for_all_channels_of_the_latents(folder: Path) -> None:
    torch.save(torch.tensor(0.5, dtype=torch.float64), folder / "deformation_mean.pt")
    torch.save(torch.tensor([2.0]), folder / "deformation_std.pt")
    found = load_published_statistics(folder, latent_channels=4)
    assert found.latent_mean.tolist() == [0.5] * 4
    assert found.latent_std.tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("stem", "value", "message"),
    [
        ("static_mean", torch.zeros(13), r"has shape \[13\]; expected 14 values"),
        ("static_mean", torch.zeros(14, 1), r"has shape \[14, 1\]"),
        ("static_std", torch.zeros(14), "not above zero"),
        ("deformation_mean", torch.full((16,), float("nan")), "not finite"),
        ("deformation_std", {"a": torch.ones(16), "b": torch.ones(16)}, r"holds 2 tensors \(a, b, ...\); expected one"),
    ],
)
def test_files_that_do_not_fit_are_named(folder: Path, stem: str, value: object, message: str) -> None:
    torch.save(value, folder / f"{stem}.pt")
    with pytest.raises(UserError, match=f"{stem}.pt.*{message}"):
        load_published_statistics(folder)


def test_absent_files_are_named_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(UserError, match=r"deformation_mean.pt: .*gvf weights pull statistics"):
        load_published_statistics()
    with pytest.raises(UserError, match=r"deformation_mean.pt: no such file"):
        load_published_statistics(tmp_path)
