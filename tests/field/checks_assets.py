"""Meshes, animations and textures: what collect, curate, bake and render make of them."""

from __future__ import annotations

from collections.abc import Callable

CHECKS: dict[str, Callable[..., None]] = {}
