"""Published weights: the catalogue, downloads, and loading into our modules.

The functions are imported on first use, so that `gvf weights list` starts without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gvf.weights.published import load_published, save_published
    from gvf.weights.statistics import load_published_statistics

__all__ = ["load_published", "load_published_statistics", "save_published"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gvf.weights import published, statistics

    return getattr(statistics if name == "load_published_statistics" else published, name)
