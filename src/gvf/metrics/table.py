"""The table of metrics: every metric that can be measured, in the order of the columns of tables.

All names, titles, directions and formats come from here. To add a metric to a family, write its entry in `METRICS` of the
family's module; a new family is one more module in this list. Lists the names without importing PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gvf.metrics import chamfer, clip, fvd, lpips, psnr, ssim
from gvf.metrics.metric import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric for family in (psnr, ssim, lpips, clip, fvd, chamfer) for metric in family.METRICS
}


def absences(metrics: Iterable[Metric]) -> dict[str, str]:
    """Return why metrics cannot be measured on this machine, by name; those that can be are left out."""
    return {metric.name: gap.explanation for metric in metrics if (gap := metric.absence()) is not None}


def require_weights(metrics: Iterable[Metric]) -> None:
    """Check that the weights of metrics load; missing ones pass. Raises UserError that names the first damaged ones."""
    for metric in metrics:
        if metric.weights is not None:
            metric.weights.load()


def weights_digests(metrics: Iterable[Metric]) -> dict[str, str]:
    """Return the SHA-256 of every weight file of these metrics that is on this machine, by file name."""
    from gvf.storage.files import sha256

    found = [path for metric in metrics if metric.weights and (path := metric.weights.find()) is not None]
    files: list[Path] = [file for path in found for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return {file.name: sha256(file) for file in files if file.is_file()}
