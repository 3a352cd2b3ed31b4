"""Every path of a checkout, and a bounded cache of what was read from it.

Stages take a Workspace instead of constants, so that several can exist in one process: the checkout itself, and one per
ablation variant, which reads most of its inputs from the checkout.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from cachetools import LRUCache

Value = TypeVar("Value")

CACHE_BYTES = 4 << 30
"""Bound of each workspace's cache: all of a small data set fits, of a large one the clips used last."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """Paths of one checkout or ablation variant.

    root: its folder; the current one by default, so that messages show short paths. base: the checkout that the folders
    and files in `shared` (relative paths, such as `data/curated`) are read from instead. A pickled workspace leaves its
    cache behind.
    """

    root: Path = Path()
    base: Path | None = None
    shared: frozenset[str] = frozenset()
    _cache: _Cache = field(default_factory=lambda: _Cache(CACHE_BYTES), repr=False)

    @property
    def checkout(self) -> Path:
        """Return the folder of the checkout that the workspace is or starts from."""
        return self.root if self.base is None else self.base

    def path(self, relative: str) -> Path:
        """Return the place of a file or folder of the workspace."""
        return (self.base if self.base is not None and relative in self.shared else self.root) / relative

    @property
    def raw(self) -> Path:
        """Return the folder of collected assets, written by `collect`."""
        return self.path("data/raw")

    @property
    def raw_manifest(self) -> Path:
        """Return the table of all clips found."""
        return self.raw / "clips.parquet"

    @property
    def curated(self) -> Path:
        """Return the folder of baked clips, written by `curate`."""
        return self.path("data/curated")

    @property
    def curated_manifest(self) -> Path:
        """Return the table of all clips with what was decided about them."""
        return self.curated / "clips.parquet"

    @property
    def renders(self) -> Path:
        """Return the folder of ground-truth views and conditioning videos, written by `render`."""
        return self.path("data/renders")

    @property
    def features(self) -> Path:
        """Return the folder of image features, written by `featurize`."""
        return self.path("data/features")

    @property
    def image_features(self) -> Path:
        """Return the folder of conditioning images as encoded, with the shapes they show, written by `featurize`."""
        return self.path("data/image_features")

    @property
    def vae_static(self) -> Path:
        """Return the canonical autoencoder's folder, written by `train-vae-static`."""
        return self.path("models/vae_static")

    @property
    def vae_joint(self) -> Path:
        """Return the folder of the variation VAE and the finetuned Gaussian decoder, written by `train-vae-joint`."""
        return self.path("models/vae_joint")

    @property
    def latents(self) -> Path:
        """Return the folder of encoded clips, written by `encode`."""
        return self.path("data/latents")

    @property
    def latent_statistics(self) -> Path:
        """Return the file of the latents' mean and standard deviation, written by `encode`."""
        return self.latents / "statistics.safetensors"

    @property
    def generator(self) -> Path:
        """Return the folder of the generator, all networks and what inference needs of them, written by `train-dit`."""
        return self.path("models/generator")

    @property
    def image_to_3d(self) -> Path:
        """Return the folder of the networks from an image to canonical Gaussians, written by `train-appearance`."""
        return self.path("models/image_to_3d")

    @property
    def structure_vae(self) -> Path:
        """Return the folder of the structure VAE while `train-structure` goes on to train its flow."""
        return self.path("work/structure_vae")

    @property
    def structure(self) -> Path:
        """Return the folder of the structure VAE and flow, written by `train-structure`."""
        return self.path("models/structure")

    @property
    def predictions(self) -> Path:
        """Return the folder of generated and reconstructed clips, written by `sample`."""
        return self.path("data/predictions")

    @property
    def generation(self) -> Path:
        """Return the file that says on which device and in which batches clips were generated, written by `sample`."""
        return self.predictions / "generation.json"

    @property
    def shapes(self) -> Path:
        """Return the folder of held-out clips' first frames as objects, written by `sample` where it generates some."""
        return self.predictions / "shapes"

    @property
    def nearest_images(self) -> Path:
        """Return the file of the training images nearest to held-out clips' first frames, written by `sample`."""
        return self.shapes / "nearest.json"

    @property
    def scores(self) -> Path:
        """Return the folder of metrics on held-out clips, written by `evaluate`."""
        return self.path("reports/scores")

    @property
    def tables(self) -> Path:
        """Return the folder of the report's tables, written by `report`."""
        return self.path("reports/tables")

    @property
    def page(self) -> Path:
        """Return the report's page, written by `report`."""
        return self.path("reports/index.html")

    @property
    def benchmark(self) -> Path:
        """Return the folder of scored submissions of any method, which `report` puts into Table 1."""
        return self.path("reports/benchmark")

    @property
    def benchmark_scores(self) -> Path:
        """Return the folder of scores of single objects, from which an interrupted scoring resumes."""
        return self.path("work/benchmark")

    @property
    def clip_pages(self) -> Path:
        """Return the folder of pages that play some of the held-out clips, written by `report`."""
        return self.path("reports/clips")

    @property
    def exports(self) -> Path:
        """Return the folder of exported generators."""
        return self.path("work/exports")

    @property
    def ablation_params(self) -> Path:
        """Return the file of the ablations' variants and seeds."""
        return self.path("ablations/params.yaml")

    @property
    def ablation_results(self) -> Path:
        """Return the folder of the metrics, curves and strips of all variants."""
        return self.path("ablations/results")

    @property
    def ablation_page(self) -> Path:
        """Return the folder of the ablations' tables and page."""
        return self.path("reports/ablations")

    @property
    def locks(self) -> Path:
        """Return the folder of the locks of running stages."""
        return self.path("work/locks")

    @property
    def runs(self) -> Path:
        """Return the folder of records of tracked runs and of their images."""
        return self.path("work/runs")

    def usage(self, stage: str) -> Path:
        """Return the file of a stage's duration and peak memory in its newest finished run."""
        return self.path("work/usage") / f"{stage}.json"

    @property
    def turntables(self) -> Path:
        """Return the folder of short videos that `sample` makes for the tracker."""
        return self.path("work/sample")

    def metrics(self, stage: str) -> Path:
        """Return the file of a stage's final metrics."""
        return self.path("reports/metrics") / f"{stage}.json"

    def curve(self, stage: str) -> Path:
        """Return the file of a training stage's curves."""
        return self.path("reports/curves") / f"{stage}.csv"

    def checkpoints(self, stage: str) -> Path:
        """Return the folder of a training stage's checkpoints, outside DVC's outputs."""
        return self.path("work") / stage.replace("-", "_")

    def cached(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """Return the result of `load`, or that of an earlier call with the same key if the cache still holds it.

        The value is a tensor, or a dict or dataclass of tensors; whoever gets it must not change it.
        """
        return self._cache.get(key, load)


class _Cache:
    """A least-recently-used cache of tensors, bounded in bytes; several threads may use it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: LRUCache[Hashable, Any] = LRUCache(size, getsizeof=num_bytes)
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = load()
        with self._lock:
            if num_bytes(value) <= self._size:
                self._values[key] = value
        return value

    def __reduce__(self) -> tuple[type[_Cache], tuple[int]]:
        return _Cache, (self._size,)


def num_bytes(value: Any) -> int:
    """Return the size in bytes of a tensor, or of all tensors in a dict or a dataclass."""
    if hasattr(value, "nbytes"):
        return value.nbytes
    tensors = value if isinstance(value, dict) else vars(value)
    return sum(tensor.nbytes for tensor in tensors.values())
