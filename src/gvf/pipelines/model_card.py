"""The model card of a generator: `README.md` with the front matter that the model hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from gvf.pipelines.generator_index import GeneratorIndex
from gvf.pipelines.training_credits import cell, credits_table

CARD_NAME = "README.md"
_ABSENT = "n/a"
_UNKNOWN = "Not recorded. Look it up before you publish or use these weights commercially."
_USE = """\
```python
from gvf.pipelines.video_to_4d import VideoTo4D

pipeline = VideoTo4D.from_pretrained("this folder, or its name on the model hub")
motion = pipeline.motion(frames, canonical, seed=0)  # frames: [T, H, W, 4]; canonical: Gaussians of frame 1
motion.gaussians  # Gaussians [T, N]
```"""
_FROM_VIDEO = """\
The folder `image_to_3d` holds networks from one image to canonical Gaussians (those of TRELLIS in small, trained on the first
frames of {clips} clips), so that `gvf generate` makes an animated object from a video alone. Objects unlike the training data,
and all that the first frame does not show, are guessed; a model of the object gives better results."""
_GROUPS = (
    "Gap closed: share of the way from no motion (0 %) to the motion of the ground-truth mesh (100 %), in PSNR of renders. "
    "Displacement error: RMS error of the Gaussians' motion over the RMS of that motion; 1 for no motion, 0 is perfect. "
    "Seen and unseen: whether training had the asset, or the skeleton. Motion: distance that the fastest hundredth of the "
    "surface travels, small below 0.3 sides of the object, medium below 0.6. Refined: what the DiT generated, fitted to the "
    "video by optimisation, as `gvf animate` does by default."
)
_LIMITS = """\
The networks animate given canonical Gaussians of one object from one video of it, seen from the front by a camera that
does not move, with the background removed. They are meant for research and for the creation of 3D assets. Motion
that is hidden in the video is guessed. Objects, motions and cameras unlike those of the training data give poor results,
and nothing was done to detect such input. Do not use the results as measurements of the real motion of a person."""


@dataclass(frozen=True)
class GroupRow:
    """What VAE, DiT and refined motion reach on a group of held-out clips; None where nothing moves or it was not measured.

    gap_closed: share of the way from no motion to the motion of the mesh, in PSNR. error: displacement error, 1 for no
    motion.
    """

    group: str
    num_clips: int
    vae_gap_closed: float | None
    dit_gap_closed: float | None
    refined_gap_closed: float | None
    vae_error: float | None
    dit_error: float | None
    refined_error: float | None


@dataclass(frozen=True)
class CardFacts:
    """What a model card says beyond the index; what is unknown stays empty.

    license: identifier of the hub for the weights, or empty if their authors state none. data: source of the training
    clips, and how many there are. attribution: licences and authors of the data, Markdown, beside those that the index names.
    parameters: of each network. groups: quality by group of held-out clips. precision: what the stored weights lost.
    trainings: a line per training stage. command: that made the folder. image_clips: training clips of the networks from an
    image to canonical Gaussians; None where the generator has none.
    """

    license: str = ""
    data: str = ""
    attribution: str = ""
    parameters: Mapping[str, int] = field(default_factory=dict)
    groups: Sequence[GroupRow] = ()
    precision: str = ""
    trainings: Sequence[str] = ()
    command: str = ""
    image_clips: int | None = None


def card(index: GeneratorIndex, facts: CardFacts) -> str:
    """Return the text of the model card."""
    sections = {
        "Use": _USE if facts.image_clips is None else f"{_USE}\n\n{_FROM_VIDEO.format(clips=facts.image_clips)}",
        "Data": f"{facts.data or 'Training data: ' + _UNKNOWN}\n\n{_attribution(index, facts)}",
        "Metrics on held-out clips": _measured(index.metrics, facts.groups),
        "Intended use and limits": _LIMITS,
        "Licence of the weights": facts.license
        or "No licence is stated for these weights. Ask their authors before you redistribute them.",
        "How it was made": _making(facts),
        "Details": _details(index, facts),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{_front_matter(index, facts)}---\n\n# {index.title}\n\n{_summary(index)}\n\n{body}\n"


def _front_matter(index: GeneratorIndex, facts: CardFacts) -> str:
    values = {
        "library_name": "gvf",
        "license": facts.license or "unknown",
        "tags": ["4d-generation", "gaussian-splatting", "video-to-4d"],
    }
    return yaml.safe_dump(values, sort_keys=False)


def _summary(index: GeneratorIndex) -> str:
    return (
        "A generator of 4D Gaussian splats (Gaussian Variation Field Diffusion): it turns one video of an object and the "
        f"canonical Gaussians of the object into moving Gaussians. Trained on clips of {index.training.frames} frames; "
        "videos of other lengths can be used."
    )


def _attribution(index: GeneratorIndex, facts: CardFacts) -> str:
    parts = [facts.attribution, credits_table(index.training.credits) if index.training.credits else ""]
    return "\n\n".join(part for part in parts if part) or f"Licences of the data: {_UNKNOWN}"


def _measured(metrics: Mapping[str, float], groups: Sequence[GroupRow]) -> str:
    """Return the metrics by group, where they are known, and all metrics; gaps by group are in the first table alone."""
    if not groups:
        return _metrics(metrics)
    columns = {
        "VAE: gap closed": [_percent(row.vae_gap_closed) for row in groups],
        "DiT: gap closed": [_percent(row.dit_gap_closed) for row in groups],
        "refined: gap closed": [_percent(row.refined_gap_closed) for row in groups],
        "VAE: displacement error": [_decimal(row.vae_error) for row in groups],
        "DiT: displacement error": [_decimal(row.dit_error) for row in groups],
        "refined: displacement error": [_decimal(row.refined_error) for row in groups],
    }
    known = {title: values for title, values in columns.items() if set(values) != {_ABSENT}}
    rows = zip((cell(row.group) for row in groups), (str(row.num_clips) for row in groups), *known.values())
    table = [
        f"| {' | '.join(['group', 'clips', *known])} |",
        "| --- |" + " ---: |" * (len(known) + 1),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    shown = {name: value for name, value in metrics.items() if "_gap_closed_" not in name}
    return "\n".join([_GROUPS, "", *table, "", _metrics(shown)])


def _percent(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.1%}"


def _decimal(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.3f}"


def _making(facts: CardFacts) -> str:
    lines = [f"- {line}" for line in facts.trainings]
    if facts.command:
        lines.append(f"- This folder: `{facts.command}`")
    if facts.precision:
        lines.append(f"- {facts.precision}")
    return "\n".join(lines) or "Not recorded."


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return "Not measured, or not recorded with these weights."
    rows = [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    return "\n".join(["| metric | value |", "|---|---|", *rows])


def _details(index: GeneratorIndex, facts: CardFacts) -> str:
    encoder = index.image_encoder
    weights = f" with weights {encoder.weights}" if encoder.weights else ""
    weights += f", SHA-256 {encoder.weights_sha256}" if encoder.weights_sha256 else ""
    lines = [
        f"- Code: commit {index.commit or 'not recorded'}",
        f"- Image encoder: {encoder.name}{weights}; images of {encoder.preprocessing.size} pixels per side",
        f"- Voxels: {index.voxels.resolution} per side, {index.voxels.feature_channels} feature channels",
        f"- Latents: {len(index.latents.mean)} channels; {index.diffusion.num_steps} diffusion steps, "
        f"{index.diffusion.prediction} prediction, {index.diffusion.schedule} schedule",
        f"- Rendering: low-pass filter of {index.rendering.low_pass} pixels^2 with opacity compensation, white background",
        *(f"- Parameters of {name}: {count:,}" for name, count in facts.parameters.items()),
    ]
    return "\n".join(lines)
