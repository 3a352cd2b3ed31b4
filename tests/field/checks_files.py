"""Weights, downloads, point clouds and frames: read, or refused in words that help."""

from __future__ import annotations

from collections.abc import Callable

CHECKS: dict[str, Callable[..., None]] = {}
