"""Stage `sample`: moving Gaussians for held-out clips, generated and reconstructed, with the references beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features, load_points, load_views
from gvf.data.latents import LatentStatistics, load_statistics
from gvf.data.rejections import record_rejections
from gvf.data.video import write_video
from gvf.devices import resolve_device
from gvf.diffusion.schedule import NoiseSchedule
from gvf.errors import ClipError
from gvf.execution.clip_map import Rejected, attempt
from gvf.gaussians.gaussians import Gaussians
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import Canonical, JointVAE, moved
from gvf.pipelines.models import load_dit, load_joint_vae
from gvf.pipelines.video_to_4d import canonical_from_features, choose_handles, reconstruct, sample_latents
from gvf.rendering.splats import draw_gaussians
from gvf.rendering.turntable import turntable
from gvf.storage.files import fresh_directory, save_npz, save_tensors, write_json
from gvf.tracking import client as tracking
from gvf.tracking.provenance import device_name
from gvf.training.randomness import derive_seed
from gvf.workspace import Workspace

VIDEO = 0  # the frontal conditioning video
TURNTABLE_PICTURES, TURNTABLE_RATE = 48, 12  # once around in four seconds


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Render `static`, `interpolated` and the configured methods for every held-out clip in the evaluation views.

    Canonical Gaussians come from the mesh (A.3), the motion of `dit` from the frontal video alone. The returned metric
    `seconds_per_clip` is the time per batch divided by its clips, `network_evaluations` the mean number that a clip
    needs, and `network_calls_per_batch` the number of network calls per batch, which its slowest clip determines. The
    device and the batch size are written to `generation.json`.
    """
    device = resolve_device(params.run.device)
    methods = params.sample.methods
    vae = load_joint_vae(workspace.vae_joint, device)
    generator = _Generator.load(params, workspace, device) if "dit" in methods else None
    before = workspace.features if generator is None else workspace.latents
    clips = clip_ids(workspace, "held_out", after=before)
    results: list[_Figures | Rejected] = []
    evaluations, calls, seconds = [], [], []
    with fresh_directory(workspace.predictions) as folder, tqdm(total=len(clips), desc="sample", unit="clip") as bar:
        batch_size = min(params.sample.batch_size, len(clips))
        write_json(folder / workspace.generation.name, {"device": device_name(device.type), "batch_size": batch_size})
        for start in range(0, len(clips), params.sample.batch_size):
            group = clips[start : start + params.sample.batch_size]
            canonicals = {clip: attempt(clip, _canonical, vae, workspace, clip, device) for clip in group}
            generated: dict[str, Tensor | Rejected] = {}
            if generator is not None:
                began = _now(device)
                sound = {clip: value for clip, value in canonicals.items() if not isinstance(value, Rejected)}
                generated, needed, num_calls = _generate(generator, vae, sound)
                seconds.append((_now(device) - began) / len(group))
                evaluations += needed
                calls += num_calls
            for clip, canonical in canonicals.items():
                bar.update()
                field = generated.get(clip)
                if isinstance(canonical, Rejected) or isinstance(field, Rejected):
                    results += [lost for lost in (canonical, field) if isinstance(lost, Rejected)]
                    continue
                drawn = attempt(clip, _sample_clip, vae, workspace, clip, canonical, field, methods, folder, device)
                if isinstance(drawn, Rejected):
                    results.append(drawn)
                    continue
                if not any(isinstance(result, _Figures) for result in results):
                    _log_turntable(workspace.turntables / f"{clip}.mp4", drawn.moving, drawn.size)
                results.append(drawn.figures)
        rejected = record_rejections(folder, "sample", results, after=before)
    done = [result for result in results if isinstance(result, _Figures)]
    figures = {"clips": float(len(done)), "rejected": float(rejected)}
    figures |= {f"{name}_displacement_error": float(np.mean([one.errors[name] for one in done])) for name in methods}
    figures["drawing_seconds_per_clip"] = float(np.mean([one.drawing_seconds for one in done]))
    if generator is not None:
        figures |= {
            "network_evaluations": float(np.mean(evaluations)),
            "network_calls_per_batch": float(np.mean(calls)),
            "seconds_per_clip": float(np.mean(seconds)),
        }
    return figures


@dataclass(frozen=True)
class _Figures:
    """errors: displacement error of each method. drawing_seconds: rendering time per method."""

    errors: dict[str, float]
    drawing_seconds: float


@dataclass(frozen=True)
class _Sampled:
    """A clip's metrics, and the last method's moving Gaussians with the size, in pixels, at which they were rendered."""

    figures: _Figures
    moving: Gaussians
    size: int


def _sample_clip(
    vae: JointVAE,
    workspace: Workspace,
    clip: str,
    canonical: Canonical,
    generated: Tensor | None,
    methods: Sequence[str],
    folder: Path,
    device: torch.device,
) -> _Sampled:
    """Render one clip by every method and write it. generated: the field [T, G, 14] of `dit`, if that is configured."""
    reconstructed, displacements = reconstruct(vae, canonical, load_points(workspace, clip).to(device))
    gaussians = canonical.clip(0)
    variations = {"vae": reconstructed, **({} if generated is None else {"dit": generated})}
    if not all(variations[name].isfinite().all() for name in methods):
        raise ClipError("invalid", "its motion is not finite.")
    moving = {
        "static": moved(gaussians, torch.zeros_like(displacements)),
        "interpolated": moved(gaussians, displacements),
        **{name: gaussians.vary(variations[name]) for name in methods},
    }
    views = load_views(workspace, clip, "eval")
    began = time.monotonic()
    pictures = {f"{name}_rgb": _draw(shape, views, device) for name, shape in moving.items()}
    seconds = (time.monotonic() - began) / len(moving)
    save_npz(folder / f"{clip}.npz", **pictures)
    means = {f"{name}_means": moving[name].means for name in ("interpolated", *methods)}
    save_tensors(
        folder / f"{clip}.safetensors",
        {"canonical": gaussians.to_activated14(), "variation": variations[methods[-1]], **means},
    )
    errors = {name: relative_error(variations[name][..., :3], displacements) for name in methods}
    return _Sampled(_Figures(errors, seconds), moving[methods[-1]], views.rgba.shape[-2])


def _generate(
    generator: _Generator, vae: JointVAE, canonicals: dict[str, Canonical]
) -> tuple[dict[str, Tensor | Rejected], list[int], list[int]]:
    """Return a batch's variation fields by clip, the network evaluations per clip, and the network calls per batch.

    If the batch fails, its clips are retried one by one, so that only the clip that causes the failure is rejected.
    """
    clips = list(canonicals)
    if not clips:
        return {}, [], []
    together = attempt(clips[0], generator.variations, vae, clips, list(canonicals.values()))
    if not isinstance(together, Rejected):
        fields, evaluations, num_calls = together
        return dict(zip(clips, fields)), evaluations, [num_calls]
    if len(clips) == 1:
        return {clips[0]: together}, [], []
    by_clip: dict[str, Tensor | Rejected] = {}
    evaluations, calls = [], []
    for clip, canonical in canonicals.items():
        field, needed, num_calls_alone = _generate(generator, vae, {clip: canonical})
        by_clip |= field
        evaluations += needed
        calls += num_calls_alone
    return by_clip, evaluations, calls


def relative_error(displacements: Tensor, reference: Tensor) -> float:
    """RMS of the difference over the RMS of the reference: 0 is perfect, 1 is what standing still scores."""
    return ((displacements - reference).square().mean() / reference.square().mean()).sqrt().item()


def _now(device: torch.device) -> float:
    """Seconds on the clock, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def _canonical(vae: JointVAE, workspace: Workspace, clip: str, device: torch.device) -> Canonical:
    features = load_features(workspace, clip)
    return canonical_from_features(vae, features["voxel_features"].to(device), features["voxels"].to(device))


@dataclass(frozen=True)
class _Generator:
    """Motions from conditioning videos."""

    dit: VariationDiT
    schedule: NoiseSchedule
    statistics: LatentStatistics
    params: Params
    workspace: Workspace
    device: torch.device

    @classmethod
    def load(cls, params: Params, workspace: Workspace, device: torch.device) -> _Generator:
        statistics = load_statistics(workspace)
        dit, schedule = load_dit(workspace.dit, len(statistics.latent_mean), device)
        return cls(dit, schedule, statistics, params, workspace, device)

    @torch.no_grad()
    def variations(
        self, vae: JointVAE, clips: list[str], canonicals: list[Canonical]
    ) -> tuple[list[Tensor], list[int], int]:
        """Return the variation field [T, G, 14] and the network evaluations of each clip, and the total network calls.

        The noise depends only on the seed and the clip.
        """
        config = vae.variation.config
        handles = [choose_handles(c.clip(0), config.num_latents, self.dit.config.num_static) for c in canonicals]
        tokens = torch.stack([load_features(self.workspace, clip)["video_tokens"][VIDEO].float() for clip in clips]).to(
            self.device
        )
        noise = []
        for clip in clips:
            generator = torch.Generator().manual_seed(derive_seed(self.params.run.seed, "sample", clip))
            noise.append(torch.randn(tokens.shape[1], config.num_latents, config.latent_channels, generator=generator))
        solution = sample_latents(
            self.dit,
            self.schedule,
            self.statistics,
            handles,
            tokens,
            torch.stack(noise).to(self.device),
            self.params.sample,
        )
        fields = [vae.decode(c, z.unsqueeze(0))[0] for c, z in zip(canonicals, solution.sample)]
        return fields, solution.num_evaluations.tolist(), solution.num_calls


def _log_turntable(path: Path, gaussians: Gaussians, size: int) -> None:
    """Write a short video of one generated clip from all sides, and log it."""
    write_video(path, turntable(gaussians, size, TURNTABLE_PICTURES), TURNTABLE_RATE)
    tracking.log_video(path)


@torch.no_grad()
def _draw(gaussians: Gaussians, views, device: torch.device) -> np.ndarray:  # type: ignore[no-untyped-def]
    """uint8 [T, V, H, W, 3] over white of Gaussians [T, N, ...] from cameras [V, ...]."""
    size = views.rgba.shape[-2]
    rgb = draw_gaussians(gaussians, views.viewmats.to(device), views.Ks.to(device), size)
    return (rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy()
