"""The stages of dvc.yaml in their order, with what each of them reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gvf.workspace import Workspace


@dataclass(frozen=True)
class Stage:
    """A stage. outputs: what it writes besides its metrics. reads, writes: its manifests of clips, None where it has none."""

    name: str
    outputs: Callable[[Workspace], tuple[Path, ...]]
    reads: Callable[[Workspace], Path] | None = lambda workspace: workspace.curated_manifest
    writes: Callable[[Workspace], Path] | None = None

    @property
    def trains(self) -> bool:
        """Return whether the stage trains a network, in several processes if a launcher starts them."""
        return self.name.startswith("train-")


_ORDERED = (
    Stage("collect", lambda w: (w.raw,), reads=None, writes=lambda w: w.raw_manifest),
    Stage("curate", lambda w: (w.curated,), reads=lambda w: w.raw_manifest, writes=lambda w: w.curated_manifest),
    Stage("render", lambda w: (w.renders,)),
    Stage("featurize", lambda w: (w.features, w.image_features)),
    Stage("train-vae-static", lambda w: (w.vae_static, w.curve("train-vae-static"))),
    Stage("train-vae-joint", lambda w: (w.vae_joint, w.curve("train-vae-joint"))),
    Stage("encode", lambda w: (w.latents,)),
    Stage("train-dit", lambda w: (w.generator, w.curve("train-dit"))),
    Stage(
        "train-structure",
        lambda w: (w.structure, w.curve("train-structure-vae"), w.curve("train-structure")),
    ),
    Stage("train-appearance", lambda w: (w.image_to_3d, w.curve("train-appearance"))),
    Stage("sample", lambda w: (w.predictions,)),
    Stage("evaluate", lambda w: (w.scores,)),
    Stage("report", lambda w: (w.tables, w.page, w.clip_pages)),
)

STAGES = {stage.name: stage for stage in _ORDERED}
TRAINING_STAGES = tuple(stage.name for stage in _ORDERED if stage.trains)
