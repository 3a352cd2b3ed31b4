"""Range checks that the config dataclasses share; each raises ConfigError with the field's dotted name."""

from __future__ import annotations

from collections.abc import Collection

from gvf.errors import ConfigError


def at_least(key: str, value: float, low: float) -> None:
    """Raise unless value >= low."""
    if not value >= low:
        raise ConfigError(key, f"is {value}, must be at least {low}.")


def positive(key: str, value: float) -> None:
    """Raise unless value > 0."""
    if not value > 0:
        raise ConfigError(key, f"is {value}, must be greater than 0.")


def between(key: str, value: float, low: float, high: float) -> None:
    """Raise unless low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError(key, f"is {value}, must be between {low} and {high}.")


def one_of(key: str, value: str, allowed: Collection[str]) -> None:
    """Raise unless value is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(key, f"is {value!r}, must be one of {', '.join(sorted(allowed))}.")
