"""Which parameters a piece of code reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest

from gvf.config.params import Params


@contextmanager
def recorded(params: Params) -> Iterator[set[str]]:
    """Record the fields of sections that are read in the block, as dotted names such as `run.seed`.

    Copies of whole sections (`as_dict`, `replace`) do not count.
    """
    reads: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for section in fields(params):
            owner: Any = getattr(params, section.name)
            kind = type(owner)
            patch.setattr(
                kind, "__getattribute__", _recorder(owner, section.name, {field.name for field in fields(kind)}, reads)
            )
        yield reads


def _recorder(owner: Any, section: str, names: set[str], reads: set[str]) -> Any:
    def get(self: Any, name: str) -> Any:
        if self is owner and name in names and sys._getframe(1).f_globals.get("__name__") != "dataclasses":
            reads.add(f"{section}.{name}")
        return object.__getattribute__(self, name)

    return get
