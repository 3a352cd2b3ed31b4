"""Scoring a method's frames: every step of the protocols against plain NumPy, scikit-image and SciPy, and what is kept."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import scipy.linalg
import torch
import yaml
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gvf.cli.main import _gvf
from gvf.errors import UserError
from gvf.metrics import fvd
from gvf.metrics.metric import PointMetric
from gvf.metrics.psnr import capped_psnr
from gvf.metrics.table import METRICS
from gvf.storage.files import read_json
from gvf.storage.published_files import I3D_KINETICS
from gvf.workspace import Workspace
from gvf_evaluation import benchmark, object_scores
from gvf_evaluation.benchmark import Generation, Submission
from gvf_evaluation.frame_folders import pair_folders
from gvf_evaluation.frames import read_frame
from gvf_evaluation.protocols import CONSISTENT4D, GVF, PROTOCOLS, Protocol
from gvf_evaluation.results import read_results
from tests.evaluation.frame_sets import FRAMES, OBJECTS, VIEWS, write_set

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SMALL = 24  # pixels per side instead of 512: the frames are resized all the same


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with params and without any weights; protocols at a small size."""
    for name in ("GVF_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "no weights"))
    for protocol in (CONSISTENT4D, GVF):
        monkeypatch.setitem(PROTOCOLS, protocol.name, dataclasses.replace(protocol, image_size=SMALL))
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["run"]["device"] = "cpu"
    values["execution"]["executor"] = "inline"
    values["tracking"]["enabled"] = False
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(folder: Path, protocol: str = "consistent4d", **changes: Any) -> dict[str, Any]:
    values = {"method": "Peer", "predictions": folder / "pred", "ground_truth": None, "protocol": protocol}
    submission = Submission(**{**values, "generation": Generation(), **changes})
    benchmark.run(submission, "params.yaml", Workspace())
    return latest()


def latest() -> dict[str, Any]:
    """The result that was written last."""
    return read_json(max(Workspace().benchmark.glob("*.json"), key=lambda path: path.stat().st_mtime_ns))


def small(path: Path) -> np.ndarray:
    """A frame as the published script sees it: over white, PIL's default filter, float64 values 0 to 255."""
    image = Image.open(path)
    if image.mode == "RGBA":
        rgba = np.asarray(image).astype(float)
        alpha = rgba[..., 3:] / 255
        image = Image.fromarray(np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
    return np.asarray(image.resize((SMALL, SMALL))).astype(float)


def expected(folder: Path, protocol: Protocol) -> dict[str, dict[str, float]]:
    """PSNR and SSIM of each object by scikit-image: means over frames, then views."""
    scores: dict[str, dict[str, float]] = {}
    for name in OBJECTS:
        views: dict[str, list[float]] = {"psnr": [], "ssim": [], "ssim_cropped": []}
        for view in range(VIEWS):
            frames: dict[str, list[float]] = {"psnr": [], "ssim": [], "ssim_cropped": []}
            for frame in range(FRAMES):
                truth, guess = (small(folder / side / name / f"eval_{view}/{frame}.png") for side in ("gt", "pred"))
                own, others = truth.max() - truth.min(), guess.max() - guess.min()
                ranges = (own, max(own, others)) if protocol is CONSISTENT4D else (255, 255)
                frames["psnr"].append(peak_signal_noise_ratio(truth, guess, data_range=ranges[0]))
                mirrored = [np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect") for image in (truth, guess)]
                for metric, pair in (("ssim", mirrored), ("ssim_cropped", (truth, guess))):
                    frames[metric].append(
                        structural_similarity(
                            *pair, channel_axis=-1, data_range=ranges[1], gaussian_weights=True, sigma=1.5,
                            use_sample_covariance=False,
                        )
                    )  # fmt: skip
            for metric, values in frames.items():
                views[metric].append(float(np.mean(values)))
        scores[name] = {metric: float(np.mean(values)) for metric, values in views.items()}
    return scores


@pytest.mark.parametrize("protocol", [CONSISTENT4D, GVF], ids=lambda protocol: protocol.name)
def test_image_metrics_are_scikit_image_s_averaged_over_frames_views_and_objects(
    here: Path, published: Path, protocol: Protocol
) -> None:
    result = submit(published, protocol.name, generation=Generation(3.5, 12.0, "one A100"))
    wanted = expected(published, protocol)
    for name in OBJECTS:
        assert result["objects"][name] | wanted[name] == pytest.approx(result["objects"][name], abs=2e-4)
    for metric in ("psnr", "ssim", "ssim_cropped"):
        mean = np.mean([wanted[name][metric] for name in OBJECTS])
        assert result["metrics"][metric] == pytest.approx(mean, abs=2e-4)
    assert set(result["absent"]) == {"lpips", "lpips_alex", "clip", "fvd"}
    assert (result["num_objects"], result["num_views"], result["num_frames"]) == (2, 4, 32)
    assert (result["frame_sizes"], result["image_size"]) == ([20], SMALL)
    assert result["data"].startswith("2 objects of ")
    assert result["generation"] == {"seconds": 3.5, "seconds_in_all": 12.0, "device": "one A100"}
    assert read_results(Workspace()) == [result]


def test_the_two_protocols_differ() -> None:
    """On frames whose range is not full, the same prediction scores otherwise."""
    truth = np.full((1, 16, 16, 3), 255, np.uint8)
    truth[:, :8] = 155
    guess = truth - 10
    scores = {
        protocol.name: float(
            capped_psnr(
                object_scores.pair_images(guess, truth, [None], dataclasses.replace(protocol, image_size=16), CPU)
            )
        )
        for protocol in (CONSISTENT4D, GVF)
    }
    assert scores["consistent4d"] == pytest.approx(20.0, abs=1e-4)  # range 100, error 10
    assert scores["gvf"] == pytest.approx(20 * np.log10(25.5), abs=1e-4)


class _Stand:
    """In the network's place: 12 features of a video [1, 3, T, 224, 224], means of eight-frame parts of each channel."""

    def __call__(self, video: Any) -> Any:
        return video.unflatten(2, (4, -1)).mean((3, 4, 5)).flatten(1)


def features(folder: Path, side: str) -> np.ndarray:
    """What the stand-in makes of every video, [O, V, 12], from frames in their own size: RGB, bicubic as float."""
    videos = np.zeros((len(OBJECTS), VIEWS, 12))
    for o, name in enumerate(OBJECTS):
        for view in range(VIEWS):
            planes = np.zeros((3, FRAMES))
            for frame in range(FRAMES):
                rgb = read_frame(folder / side / name / f"eval_{view}/{frame}.png").astype(np.float32)
                for channel in range(3):
                    plane = Image.fromarray(rgb[..., channel]).resize((224, 224), resample=3)
                    planes[channel, frame] = (np.asarray(plane) / 127.5 - 1).mean()
            videos[o, view] = planes.reshape(3, 4, 8).mean(-1).ravel()
    return videos


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (
            "vgg16-397923af.pth",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 553433881\n",
            "a Git LFS",
        ),
        ("alexnet-owt-7be5be79.pth", b"PK\x03\x04" + bytes(100), "cut short"),
        (I3D_KINETICS.name, b"<html>Sign in</html>", "a web page"),
        ("clip-vit-base-patch32/pytorch_model.bin", b"", "cut short"),
    ],
)
def test_damaged_weights_are_named_and_no_object(
    here: Path, published: Path, name: str, content: bytes, what: str, executor: str
) -> None:
    path = here / "no weights" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    if path.suffix == ".bin":
        for config in ("config.json", "preprocessor_config.json"):
            (path.parent / config).write_text("{}")
    values = yaml.safe_load((here / "params.yaml").read_text())
    values["execution"] |= {"executor": executor, "workers": 2}
    (here / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=f"{name}: .*{what}") as caught:
        submit(published)
    assert not any(item in str(caught.value) for item in OBJECTS)
    assert "weights_only" not in str(caught.value)
    assert not (here / "work").exists()


def test_fvd_of_both_protocols(here: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "no weights").mkdir()
    (here / "no weights" / I3D_KINETICS.name).touch()
    monkeypatch.setattr(fvd, "_network", lambda path, device: _Stand())
    predicted, true = (features(published, side) for side in ("pred", "gt"))
    alone = ((predicted - true) ** 2).sum(-1) + (predicted.std(-1, ddof=1) - true.std(-1, ddof=1)) ** 2
    assert submit(published)["metrics"]["fvd"] == pytest.approx(alone.mean(1).mean(), rel=1e-3)

    one, other = predicted.reshape(-1, 12), true.reshape(-1, 12)
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    half = scipy.linalg.sqrtm(covariances[0] + 1e-14 * np.eye(12)).real
    root = scipy.linalg.sqrtm(half @ covariances[1] @ half + 1e-14 * np.eye(12)).real
    pooled = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    result = submit(published, "gvf")
    assert result["metrics"]["fvd"] == pytest.approx(pooled, rel=1e-3)
    assert result["weights"].keys() == {I3D_KINETICS.name}
    assert "fvd" not in result["absent"]


def test_a_protocol_says_what_is_measured_and_what_its_fvd_sees(
    here: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without PSNR whose videos become the colour of their corners: the whole frames are seen, in their own size."""
    names = [name for name, metric in METRICS.items() if not isinstance(metric, PointMetric)]
    assert all([metric.name for metric in protocol.metrics] == names for protocol in (CONSISTENT4D, GVF))
    ssim = submit(published, "gvf")["metrics"]["ssim"]

    def corners(frames: Any, device: torch.device) -> torch.Tensor:
        assert device == torch.device("cpu")
        assert all(frame.shape == (20, 20, 3) and frame.dtype == np.uint8 for frame in frames)
        return torch.from_numpy(np.stack(frames)[:, 0, 0].mean(0))

    other = dataclasses.replace(
        PROTOCOLS["gvf"],
        name="other",
        metrics=(
            METRICS["ssim"],
            dataclasses.replace(
                fvd.FVD, features=corners, distance=lambda one, other: float((one - other).abs().mean()), weights=None
            ),
        ),
    )
    monkeypatch.setitem(PROTOCOLS, "other", other)
    result = submit(published, "other")
    assert result["metrics"].keys() == {"ssim", "fvd"}
    assert result["absent"] == result["weights"] == {}
    assert result["metrics"]["ssim"] == ssim
    colours = [
        np.stack([[read_frame(side / name / f"eval_{view}/{frame}.png")[0, 0] for frame in range(FRAMES)]
                  for name in OBJECTS for view in range(VIEWS)]).mean(1)
        for side in (published / "pred", published / "gt")
    ]  # fmt: skip
    assert result["metrics"]["fvd"] == pytest.approx(np.abs(colours[0] - colours[1]).mean())


def test_methods_of_like_names_keep_scores_of_their_own(here: Path, published: Path) -> None:
    for method in ("L4GM", "L4GM+", "方法", "手法"):
        submit(published, method=method)
    assert len(list(Workspace().benchmark_scores.glob("*/fox.npz"))) == len(read_results(Workspace())) == 4


def test_scored_objects_are_kept_until_something_changes(
    here: Path, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "copy"
    shutil.copytree(published, folder)
    scored: list[str] = []
    score = object_scores._score

    def interrupted(task: Any) -> Any:
        if task.frames.name == "owl" and not scored[:-1].count("fox") and len(scored) == 1:
            scored.append("interrupted")
            raise KeyboardInterrupt
        scored.append(task.frames.name)
        return score(task)

    monkeypatch.setattr(object_scores, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(folder)
    assert read_results(Workspace()) == []
    first = submit(folder)
    assert scored == ["fox", "interrupted", "owl"]
    assert "1 of 2 objects had been scored before" in capsys.readouterr().out
    assert submit(folder) == first
    assert scored == ["fox", "interrupted", "owl"]
    # Another frame, another order, a file that broke: that object is scored again, and nothing else.
    shutil.copy(folder / "pred/owl/eval_1/3.png", folder / "pred/owl/eval_1/4.png")
    changed = submit(folder)
    assert scored[3:] == ["owl"]
    assert changed["objects"]["fox"] == first["objects"]["fox"]
    assert changed["objects"]["owl"] != first["objects"]["owl"]
    assert changed["ground_truth_sha256"] == first["ground_truth_sha256"]
    assert changed["predictions_sha256"] != first["predictions_sha256"]
    (kept,) = Workspace().benchmark_scores.glob("*/fox.npz")
    kept.write_bytes(kept.read_bytes()[:-30])
    assert submit(folder) == changed
    assert scored[4:] == ["fox"]
    # Other code or weights give other values.
    monkeypatch.setattr(benchmark, "code_digest", lambda: "another")
    submit(folder)
    assert scored[5:] == ["fox", "owl"]


def test_a_worker_gets_the_object_whole_and_scores_it_at_the_protocol_s_own_size(
    published: Path, tmp_path: Path
) -> None:
    pair = pair_folders(published / "pred", published / "gt", CONSISTENT4D)[1]
    frames = dataclasses.replace(pair, predictions=(pair.predictions[0][:2],), ground_truth=(pair.ground_truth[0][:2],))
    task = object_scores.ScoreTask(frames, "consistent4d", "cpu", "code", tmp_path / "owl.npz")
    scored = pickle.loads(pickle.dumps(object_scores.score_object(pickle.loads(pickle.dumps(task)))))
    scores = scored.scores
    large = [
        np.asarray(Image.fromarray(read_frame(side[0][1])).resize((512, 512))).astype(float)
        for side in (frames.ground_truth, frames.predictions)
    ]
    wanted = peak_signal_noise_ratio(*large, data_range=np.ptp(large[0]))
    assert scores.values["psnr"].shape == (1, 2)
    assert scores.values["psnr"][0, 1] == pytest.approx(wanted, abs=1e-3)
    assert scores.means["psnr"] == pytest.approx(scores.values["psnr"].mean())


def test_a_ground_truth_frame_of_one_colour_is_named(here: Path, published: Path) -> None:
    folder = here / "copy"
    shutil.copytree(published, folder)
    Image.fromarray(np.full((20, 20, 3), 255, np.uint8)).save(folder / "gt/owl/eval_2/7.png")
    with pytest.raises(UserError, match=r"gt/owl/eval_2/7\.png: psnr is .*one colour"):
        submit(folder)
    submit(folder, "gvf")  # with the range given, it has a PSNR


def test_ground_truth_without_alpha_has_no_metric_of_the_object(here: Path, published: Path) -> None:
    folder = here / "copy"
    shutil.copytree(published, folder)
    path = folder / "gt/owl/eval_2/7.png"
    Image.fromarray(read_frame(path)).save(path)
    result = submit(folder, "gvf")
    assert "psnr_object" not in result["metrics"]
    assert "psnr_object" in result["objects"]["fox"]
    assert result["absent"]["psnr_object"].startswith(
        "owl: the ground truth has no alpha channel. Save its frames as RGBA"
    )


def test_foreground_is_where_the_resized_alpha_is_above_zero() -> None:
    frame, alpha = np.full((2, 8, 8, 3), 255, np.uint8), np.zeros((2, 8, 8), np.uint8)
    alpha[0, 2:6, 4:] = 1
    protocol = dataclasses.replace(GVF, image_size=8)
    images = object_scores.pair_images([*frame], [*frame], [*alpha], protocol, CPU)
    assert images.foreground is not None
    np.testing.assert_array_equal(images.foreground.numpy(), alpha > 0)
    small = dataclasses.replace(GVF, image_size=4)
    alpha[0] *= 255
    found = object_scores.pair_images([*frame], [*frame], [*alpha], small, CPU).foreground
    assert found is not None
    expected = np.asarray(Image.fromarray(alpha[0]).resize((4, 4), Image.Resampling.BICUBIC)) > 0
    np.testing.assert_array_equal(found[0].numpy(), expected)
    assert object_scores.pair_images([*frame], [*frame], [alpha[0], None], protocol, CPU).foreground is None


def test_the_command_writes_the_result_and_an_mlflow_run(
    here: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["tracking"]["enabled"] = True
    Path("params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = submit(published, method="Some Peer 2.0", predictions=published / "pred", ground_truth=published / "gt")
    assert [path.name.startswith("some-peer-2-0--consistent4d--") for path in Workspace().benchmark.iterdir()] == [True]
    connection = sqlite3.connect("mlflow.db")
    try:
        rows = connection.execute(
            "SELECT e.name, r.name, r.status, m.key, m.value FROM runs r JOIN experiments e USING (experiment_id) "
            "JOIN latest_metrics m USING (run_uuid) WHERE m.key IN ('psnr', 'ssim')"
        ).fetchall()
        ((digest,),) = connection.execute(
            "SELECT value FROM params WHERE key = 'benchmark.ground_truth_sha256'"
        ).fetchall()
    finally:
        connection.close()
    assert {row[0] for row in rows} == {"benchmark"}
    assert all(row[1].startswith("Some Peer 2.0-2 objects of ") and row[2] == "FINISHED" for row in rows)
    assert {row[3]: row[4] for row in rows} == pytest.approx(
        {name: result["metrics"][name] for name in ("psnr", "ssim")}
    )
    assert digest == result["ground_truth_sha256"]
    (image,) = Path("work/runs/benchmark").glob("worst-owl*.png")
    assert Image.open(image).size[0] > 4 * 20


def test_wrong_usage_is_told(here: Path, published: Path) -> None:
    frames = ("--predictions", str(published / "pred"))
    for arguments, kind, words in (
        (("--method", "x"), click.UsageError, "--method needs --predictions"),
        (("--seconds", "3"), click.UsageError, "--seconds needs --predictions"),
        (frames, click.UsageError, "--predictions needs --method"),
        (
            ("--predictions", "nowhere", "--method", "x", "--ground-truth", str(published / "gt")),
            UserError,
            "nowhere: no such",
        ),
        ((*frames, "--method", "x", "--protocol", "other"), UserError, "no protocol 'other'"),
        ((*frames, "--method", " "), UserError, "--method is empty"),
        *(
            (
                (*frames, "--method", "x", option, value),
                click.UsageError,
                f"^must be a number of seconds above zero, not {value}",
            )
            for option in ("--seconds", "--seconds-in-all")
            for value in ("0", "-1", "nan", "inf")
        ),
    ):
        with pytest.raises(kind, match=words):
            _gvf.main(["evaluate", *arguments], standalone_mode=False)
    _gvf.main(["evaluate", *frames, "--method", "Peer", "--generated-on", "a GPU"], standalone_mode=False)
    assert latest()["generation"]["device"] == "a GPU"
