"""One held-out clip by every method: moving Gaussians and their images; a method that fails costs only itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gvf.data.clips import load_points, load_views
from gvf.execution.rejected import Rejected, attempt
from gvf.gaussians.gaussians import Gaussians
from gvf.methods import DIT, INTERPOLATED, OWN_OBJECTS, REFINED, STATIC, VAE, VIDEO_ONLY
from gvf.metrics.displacement import relative_error
from gvf.models.variation.joint_vae import Canonical, JointVAE, Motion, displace
from gvf.pipelines.animate_mesh import known_motion, reconstruct
from gvf.pipelines.held_out_images import Drawn, draw
from gvf.pipelines.held_out_motions import GeneratedMotion, HeldOutMotions
from gvf.pipelines.held_out_objects import HeldOutObject
from gvf.pipelines.held_out_shapes import HeldOutShapes, SampledShapes
from gvf.storage.files import save_npz, save_tensors
from gvf.workspace import Workspace


@dataclass(frozen=True)
class SampledClip:
    """What the references and the methods made of one clip.

    canonical: Gaussians [N] that the mesh gives. drawn: by name, of both references and of every method that did not fail;
    failures: the other methods. errors: displacement error of each method that moves the Gaussians of the mesh.
    shapes: objects of the first frame, where some are generated.
    drawing_seconds: rendering time per method. object_seconds: time in which the object and its motion were generated from the
    video; 0 where they were not. refinement_seconds: time in which the generated motion was refined; 0 where it was not.
    """

    canonical: Gaussians
    drawn: Mapping[str, Drawn]
    failures: Mapping[str, Rejected]
    errors: Mapping[str, float]
    shapes: SampledShapes | None
    drawing_seconds: float
    object_seconds: float
    refinement_seconds: float

    def write(self, folder: Path, clip: str) -> None:
        """Write images and Gaussians into a folder of predictions."""
        save_npz(folder / f"{clip}.npz", **{f"{name}_rgb": one.images for name, one in self.drawn.items()})
        tensors = {f"{name}_means": one.moving.means for name, one in self.drawn.items() if name != STATIC}
        for name in (DIT, REFINED, VIDEO_ONLY):
            if name in self.drawn:
                tensors[f"{name}_gaussians"] = self.drawn[name].moving.to_activated14()
        save_tensors(folder / f"{clip}.safetensors", {"canonical": self.canonical.to_activated14(), **tensors})


@dataclass(frozen=True)
class ClipSampler:
    """Samples held-out clips by `methods`.

    motions: refine what they generated; None where no motion is generated. shapes: make the objects that `video` shows; None where
    it is not configured.
    """

    vae: JointVAE
    workspace: Workspace
    motions: HeldOutMotions | None
    shapes: HeldOutShapes | None
    methods: Sequence[str]
    device: torch.device

    def sample(self, clip: str, canonical: Canonical, generated: GeneratedMotion | Rejected | None) -> SampledClip:
        """Return what references and methods make of a clip. generated: the motion of `dit`, where it is configured.

        Raises an error where a reference fails.
        """
        motion = known_motion(self.vae, canonical, load_points(self.workspace, clip).to(self.device))
        gaussians, displacements = canonical.clip(0), motion.interpolated[0]
        fields = self._fields(clip, canonical, motion, generated)
        began = now(self.device)
        if REFINED in self.methods:
            fields[REFINED] = self._refined(clip, canonical, generated)
        refinement_seconds = now(self.device) - began
        began = now(self.device)
        one = None if self.shapes is None else self.shapes.objects.of(clip)
        made = self._own_objects(one)
        object_seconds = now(self.device) - began
        began, views = time.monotonic(), load_views(self.workspace, clip, "eval")
        drawn: dict[str, Drawn | Rejected] = {
            STATIC: draw(displace(gaussians, torch.zeros_like(displacements)), views, self.device),
            INTERPOLATED: draw(displace(gaussians, displacements), views, self.device),
        }
        for name, field in fields.items():
            moving = field if isinstance(field, Rejected) else attempt(clip, gaussians.vary, field)
            made[name] = moving
        for name in self.methods:
            moving = made[name]
            drawn[name] = moving if isinstance(moving, Rejected) else attempt(clip, draw, moving, views, self.device)
        seconds = (time.monotonic() - began) / len(drawn)
        done = {name: result for name, result in drawn.items() if not isinstance(result, Rejected)}
        return SampledClip(
            canonical=gaussians,
            drawn=done,
            failures={name: result for name, result in drawn.items() if isinstance(result, Rejected)},
            errors={
                name: relative_error(field[..., :3], displacements)
                for name, field in fields.items()
                if isinstance(field, Tensor) and name in done
            },
            shapes=None if self.shapes is None or one is None else self.shapes.sample(one),
            drawing_seconds=seconds,
            object_seconds=object_seconds,
            refinement_seconds=refinement_seconds,
        )

    def _own_objects(self, one: HeldOutObject | None) -> dict[str, Gaussians | Rejected]:
        """Return the moving Gaussians [T, N] of the configured methods that generate the object, too."""
        if one is None:
            return {}
        return {name: attempt(one.clip, one.moving, name) for name in self.methods if name in OWN_OBJECTS}

    def _fields(
        self, clip: str, canonical: Canonical, motion: Motion, generated: GeneratedMotion | Rejected | None
    ) -> dict[str, Tensor | Rejected]:
        """Return the variation fields [T, G, 14] of `vae` and `dit`, where they are configured."""
        fields: dict[str, Tensor | Rejected] = {}
        if VAE in self.methods:
            fields[VAE] = attempt(clip, reconstruct, self.vae, canonical, motion)
        if DIT in self.methods:
            assert generated is not None, "the stage generates it where it is configured"
            fields[DIT] = generated if isinstance(generated, Rejected) else generated.field
        return fields

    def _refined(
        self, clip: str, canonical: Canonical, generated: GeneratedMotion | Rejected | None
    ) -> Tensor | Rejected:
        """Return the variation field [T, G, 14] of the generated motion, refined."""
        assert generated is not None, "the stage generates it where it is configured"
        assert self.motions is not None, "the stage has it where a motion is generated"
        if isinstance(generated, Rejected):
            return generated
        return attempt(clip, self.motions.refined, clip, canonical, generated.latents)


def now(device: torch.device) -> float:
    """Return the time in seconds, after the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()
