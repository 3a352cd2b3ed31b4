"""Published weights: what there is, how it is got, and the modules it becomes.

The two functions load torch when first asked for, so that `gvf weights list` starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gvf.weights.published import load_published, save_published

__all__ = ["load_published", "save_published"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gvf.weights import published

    return getattr(published, name)
