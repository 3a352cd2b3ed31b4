"""A tracking server that is down or ill."""

from __future__ import annotations

from collections.abc import Callable

CHECKS: dict[str, Callable[..., None]] = {}
