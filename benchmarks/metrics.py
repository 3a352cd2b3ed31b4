"""Compare every metric with an independent implementation on the same random frames: difference and time per pair.

    psnr, ssim         scikit-image in float64 (borders mirrored, as torchmetrics has them), by both protocols' ranges
    lpips, lpips_alex  the lpips package, which ours calls, beside torchmetrics' own network
    clip               transformers called directly, image by image
    fvd                SciPy: Consistent4D's script where its covariance is a number; covariances pooled, by SciPy's root
    chamfer            SciPy: all distances in float64

Published weights are used where they are present; otherwise random ones of the same format and size replace them, and
the line says so: comparing formulas needs no trained weights. Differences are absolute, except for the distances of
videos (hundreds), where they are relative.

    python benchmarks/metrics.py [--pairs 4] [--size 512] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from scipy.spatial.distance import cdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gvf.metrics import clip, fvd, lpips_network
from gvf.metrics.chamfer import chamfer_distance
from gvf.metrics.lpips import lpips
from gvf.metrics.psnr import psnr
from gvf.metrics.ssim import ssim
from gvf.storage.files import write_json
from gvf.storage.published_files import CLIP_B32
from gvf.tracking.provenance import device_name

BORDER = 5  # half of SSIM's window
VIDEOS, LOGITS = 24, 400
CLIP_FOLDER = CLIP_B32.repository.split("/")[1]


@dataclass(frozen=True)
class Agreement:
    """value: our mean. difference: the largest one. ours_ms, peer_ms: per pair. weights: published, random or none."""

    metric: str
    peer: str
    value: float
    difference: float
    ours_ms: float
    peer_ms: float
    weights: str


def make_frames(pairs: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and ground truth, uint8 [P, S, S, 3]: smooth colours, with and without noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(pairs, 3, size // 16, size // 16, generator=generator)
    clean = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).movedim(1, -1)
    contrast = torch.linspace(0.4, 1.0, pairs).view(-1, 1, 1, 1)  # so that frames differ in range
    noisy = contrast * clean + 0.1 * torch.randn(clean.shape, generator=generator)
    one, other = ((255.0 * images.clamp(0, 1)).round().to(torch.uint8).numpy() for images in (noisy, contrast * clean))
    return one, other


def clocked(compute: Callable[[], Any], pairs: int) -> tuple[np.ndarray, float]:
    """Return the values as float64, and the milliseconds per pair of the second call."""
    compute()
    start = time.perf_counter()
    values = compute()
    milliseconds = 1e3 * (time.perf_counter() - start) / pairs
    return np.asarray(values, dtype=np.float64), milliseconds


def compare(
    metric: str,
    peer: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    pairs: int = 1,
    relative: bool = False,
    weights: str = "none",
) -> Agreement:
    """Call both and return how far apart they are."""
    found, ours_ms = clocked(ours, pairs)
    expected, peer_ms = clocked(theirs, pairs)
    difference = np.abs(found - expected) / (np.abs(expected) if relative else 1.0)
    return Agreement(metric, peer, float(found.mean()), float(difference.max()), ours_ms, peer_ms, weights)


def image_formulas(one: np.ndarray, other: np.ndarray) -> list[Agreement]:
    """Compare PSNR and SSIM with range 1 (protocol gvf) and by each frame's own range (protocol consistent4d)."""
    rows = []
    for scale, protocol in ((255.0, "gvf"), (1.0, "consistent4d")):
        images = [torch.from_numpy(frames).float() / scale for frames in (one, other)]
        exact = list(zip(one.astype(np.float64) / scale, other.astype(np.float64) / scale))
        own = protocol == "consistent4d"
        data_range = None if own else 1.0

        def scores(exact=exact, own=own):
            return [peak_signal_noise_ratio(b, a, data_range=np.ptp(b) if own else 1.0) for a, b in exact]

        def similarities(exact=exact, own=own):
            values = []
            for a, b in exact:
                mirrored = [np.pad(x, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="reflect") for x in (a, b)]
                values.append(
                    structural_similarity(
                        *mirrored, channel_axis=-1, data_range=max(np.ptp(a), np.ptp(b)) if own else 1.0,
                        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                    )
                )  # fmt: skip
            return values

        count = len(one)
        rows += [
            compare(f"psnr, {protocol}", "scikit-image", lambda p=images, r=data_range: psnr(*p, r), scores, pairs=count),
            compare(
                f"ssim, {protocol}", "scikit-image", lambda p=images, r=data_range: ssim(*p, r), similarities, pairs=count
            ),
        ]  # fmt: skip
    return rows


def origin(weights: Path) -> str:
    """Return whether weights in the folder of `main` are the published ones or random."""
    return "published" if weights.is_symlink() else "random"


def perceptual(one: np.ndarray, other: np.ndarray, folder: Path) -> list[Agreement]:
    """Compare LPIPS on both networks: the lpips package beside torchmetrics."""
    import torchvision
    from torchmetrics.functional.image.lpips import _LPIPS

    images = [torch.from_numpy(frames).float() / 255.0 for frames in (one, other)]
    planes = [frames.movedim(-1, 1) for frames in images]
    rows = []
    for net, build in (("vgg", torchvision.models.vgg16), ("alex", torchvision.models.alexnet)):
        path = folder / lpips_network.BACKBONES[net][0].name
        if not path.exists():
            torch.manual_seed(0)
            torch.save(build(weights=None).state_dict(), path)
        state = torch.load(path, weights_only=True)
        peer = _LPIPS(pretrained=True, net=net, pnet_rand=True).eval()
        for block in peer.net.children():
            for index, layer in block.named_children():
                layer.load_state_dict({name: state[f"features.{index}.{name}"] for name in layer.state_dict()})

        def theirs(peer=peer):
            with torch.no_grad():
                return torch.cat([peer(a[None], b[None], normalize=True).flatten() for a, b in zip(*planes)])

        name = "lpips" if net == "vgg" else f"lpips_{net}"
        rows.append(
            compare(
                name, "torchmetrics", lambda net=net: lpips(*images, net), theirs, pairs=len(one), weights=origin(path)
            )
        )  # fmt: skip
    return rows


def similarity(one: np.ndarray, other: np.ndarray, folder: Path) -> Agreement:
    """Compare CLIP's cosine with transformers called on each image."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    path = folder / CLIP_FOLDER
    if not path.exists():
        torch.manual_seed(0)
        CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=32)).save_pretrained(path)
        CLIPImageProcessor().save_pretrained(path)
    model = CLIPVisionModelWithProjection.from_pretrained(path).eval()
    processor = CLIPImageProcessor.from_pretrained(path)

    def theirs() -> list[float]:
        with torch.no_grad():
            embeddings = [
                [model(**processor(images=frame, return_tensors="pt")).image_embeds[0] for frame in frames]
                for frames in (one, other)
            ]
        return [float(torch.cosine_similarity(a, b, dim=0)) for a, b in zip(*embeddings)]

    images = [torch.from_numpy(frames).float() / 255.0 for frames in (one, other)]
    return compare(
        "clip", "transformers", lambda: clip.clip_similarity(*images), theirs, pairs=len(one), weights=origin(path)
    )


def video_distances() -> list[Agreement]:
    """Compare both distances of FVD on random logits: of single videos, and pooled over more videos than logits."""
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(VIDEOS, LOGITS)), 0.3 + 1.7 * generator.normal(size=(VIDEOS, LOGITS))
    tensors = torch.from_numpy(one), torch.from_numpy(other)

    def scripted() -> list[float]:
        values = []
        for a, b in zip(one, other):
            sigmas = [np.atleast_2d(np.cov(logits)) for logits in (a, b)]
            root = scipy.linalg.sqrtm(sigmas[0] @ sigmas[1])
            values.append(float(((a - b) ** 2).sum() + np.trace(sigmas[0] + sigmas[1] - 2 * root).real))
        return values

    many = [generator.normal(size=(2 * LOGITS, LOGITS)) for _ in range(2)]
    many[1] = 0.3 + 1.7 * many[1]

    def pooled() -> list[float]:
        covariances = [np.cov(features, rowvar=False) for features in many]
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
        means = [features.mean(0) for features in many]
        return [float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))]

    return [
        compare(
            "fvd, consistent4d", "SciPy", lambda: fvd.single_video_distance(*tensors), scripted, pairs=VIDEOS, relative=True
        ),
        compare(
            "fvd, gvf", "SciPy", lambda: [fvd.frechet_distance(*map(torch.from_numpy, many))], pooled, relative=True
        ),
    ]  # fmt: skip


def surfaces() -> Agreement:
    """Compare the Chamfer distance of two sets of 8192 points."""
    generator = np.random.default_rng(0)
    one, other = (generator.random((8192, 3), np.float32) - 0.5 for _ in range(2))

    def theirs() -> list[float]:
        distances = cdist(one.astype(np.float64), other.astype(np.float64))
        return [(distances.min(0).mean() + distances.min(1).mean()) / 2]

    points = torch.from_numpy(one), torch.from_numpy(other)
    return compare("chamfer", "SciPy", lambda: [chamfer_distance(*points)], theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/metrics.json"))
    options = parser.parse_args()
    frames = make_frames(options.pairs, options.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)  # published weights as links, random ones beside them
        places = {
            lpips_network.BACKBONES[net][0].name: lpips_network.find_weights(net) for net in lpips_network.BACKBONES
        }
        for place, found in (places | {CLIP_FOLDER: clip.find_weights()}).items():
            if found is not None:
                (folder / place).symlink_to(found.resolve())
        os.environ["GVF_WEIGHTS"] = name
        rows = [*image_formulas(*frames), *perceptual(*frames, folder), similarity(*frames, folder)]
        rows += [*video_distances(), surfaces()]
    print(f"{options.pairs} pairs of {options.size} x {options.size}, {device_name('cpu')}")
    for row in rows:
        print(
            f"{row.metric:18} {row.peer:12} value {row.value:10.4g}   largest difference {row.difference:.1e}   "
            f"ours {row.ours_ms:7.2f} ms, peer {row.peer_ms:7.2f} ms per pair   weights: {row.weights}"
        )
    write_json(options.output, {"size": options.size, "pairs": options.pairs, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
