"""What a metric returns when it cannot be measured: the reason and the remedy instead of a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absence:
    """metric: its name. reason: what is missing. remedy: what to do about it. The report prints them under a table."""

    metric: str
    reason: str
    remedy: str

    @property
    def explanation(self) -> str:
        """Return the reason and the remedy as sentences."""
        return f"{self.reason}. {self.remedy}"

    def __str__(self) -> str:
        return f"{self.metric}: n/a, {self.explanation}"
