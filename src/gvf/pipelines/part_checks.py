"""Checks of the parts of a model in a folder, one row each, and what a network without values tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from torch import nn

from gvf.errors import ConfigError, UserError
from gvf.models.layers.precision import BlockNetwork, block_dtype
from gvf.weights.catalog import published_sizes
from gvf.weights.published import sizes_of

Value = TypeVar("Value")


@dataclass(frozen=True)
class Part:
    """One part of a model. state: `ok`, `missing` or `damaged`. detail: what was checked, or what is wrong and what to do."""

    name: str
    file: str
    state: str
    detail: str


@dataclass
class ModelCheck:
    """Result for a folder. contents: which models it holds. parts: of them."""

    folder: Path
    contents: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether everything that the models need is there and fits."""
        return all(part.state == "ok" for part in self.parts)

    def run(
        self, name: str, path: Path | None, check: Callable[[Path], tuple[Value, str]], absent: str = ""
    ) -> Value | None:
        """Check one part and note the result; return what the check returned first, None if it failed.

        path: of the part, None if it is absent; it must not lead out of the folder. absent: what is missing and what to do.
        """
        if path is None:
            self.parts.append(Part(name, "", "missing", absent))
            return None
        inside = path.is_relative_to(self.folder)
        file = path.relative_to(self.folder).as_posix() if inside else str(path)
        try:
            if inside:
                self.refuse_leaving(path)
            value, detail = check(path)
        except (UserError, ConfigError) as error:
            detail = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}/")
            self.parts.append(Part(name, file, "damaged", detail))
            return None
        self.parts.append(Part(name, file, "ok", detail))
        return value

    def refuse_leaving(self, path: Path) -> None:
        """Raise UserError for links to files outside the folder; the model hub's cache links to files of its own."""
        root = self.folder.resolve()
        root = root.parents[1] if root.parent.name == "snapshots" else root
        for part in (path, *(path.iterdir() if path.is_dir() else ())):
            if not part.resolve().is_relative_to(root):
                raise UserError(
                    f"{part}: is a link out of the folder, so a copy of the folder would lack it; not followed. Put the file "
                    "itself there."
                )


def are_published(network: nn.Module, kind: str) -> bool:
    """Return whether a network has the published sizes; the released decoder makes 32 Gaussians a voxel, where ours makes 8."""
    found, published = sizes_of(network, kind), published_sizes(kind)
    same = {name for name in published if found[name] == published[name]}
    return published.keys() - same <= ({"gaussians_per_voxel"} if kind == "slat-gs-decoder" else set())


def described(network: nn.Module) -> str:
    """Return how many values a network has, and in which precision its blocks are."""
    count = sum(value.numel() for value in network.state_dict().values())
    dtype = block_dtype(network) if isinstance(network, BlockNetwork) else next(network.parameters()).dtype
    return f"{count:,} values, {str(dtype).removeprefix('torch.')}"
