"""Latents refined until the moving Gaussians look like the video from its camera: optimisation at inference, beyond the paper.

Only the latents change, so that every motion is one that the variation VAE can decode, and they are held near those that the
diffusion transformer generated, which know about what the video hides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array
from gvf.geometry.farthest_points import farthest_points
from gvf.geometry.interpolation import mesh_guide
from gvf.geometry.knn import nearest_neighbors
from gvf.models.variation.joint_vae import displace
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines.frames import resized
from gvf.rendering.splats import draw_views

LARGEST_SIDE = 128  # pixels of the frames that are compared
NUM_CONTROLS = 1024  # Gaussians that are decoded in each step; the others follow the nearest of them
_FOLLOWED, _BETA = 4, 7.0  # neighbours of the others, and their weights as in Eq. 3
_EDGES = 6  # neighbours of a control to which it keeps its distance
_SCALES = 3  # of the images that are compared, each half as large as the one before
_SOFTENING = 0.05  # differences below this count as squares, above as absolute values
_LEARNING_RATE = 0.1  # deviations of the latents
_DISTANCE_WEIGHT = 0.4  # of the mean square of the latents' change, in deviations
_STRETCH_WEIGHT = 0.3  # of the mean square of the edges' stretch, in edges
_WARM_UP = 5  # steps
_LOOK_STEPS, _LOOK_RATE, _LOOK_WEIGHT = 40, 0.02, 0.02
_LOOK_UNITS = {
    "colors": 3.5,
    "raw_opacities": 5.0,
    "raw_scales": 2.0,
}  # changes of these that cost as much as each other


class MotionRefinement:
    """Refines motions of canonical Gaussians [N] that a video shows.

    variation: decodes latents [T, L, C], which deviate by latent_std [C]. frames: [T, S, S, 4] uint8 RGBA with straight alpha.
    viewmat: [4, 4], world-to-camera, of all frames; K: [3, 3], normalised by image size.
    """

    def __init__(
        self,
        variation: VariationVAE,
        latent_std: Tensor,
        canonical: Gaussians,
        frames: Tensor,
        viewmat: Array,
        K: Array,
    ) -> None:
        device = canonical.means.device
        self._variation, self._deviations = variation, latent_std.to(device)
        self._view = torch.from_numpy(viewmat).float()[None].to(device)
        self._K = torch.from_numpy(K).float()[None].to(device)
        pixels = resized(frames, min(frames.shape[1], LARGEST_SIDE)).to(device).float() / 255.0
        self._target = torch.cat([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], dim=-1)
        self._covered = self._target[..., 3].mean().clamp(min=1e-4)
        controls = farthest_points(canonical.means, min(NUM_CONTROLS, canonical.num_gaussians))
        self._controls = canonical.to_activated14()[controls]
        self._points = canonical.means[controls]
        self._guide = mesh_guide(canonical.means, self._points, num_neighbors=_FOLLOWED, beta=_BETA)
        edges, lengths = nearest_neighbors(self._points, self._points, min(_EDGES + 1, len(controls)))
        self._edges, self._lengths = edges[:, 1:], lengths[:, 1:].sqrt()
        self._gaussians = self._looking_like_first_frame(canonical)

    def run(
        self, latents: Tensor, steps: int, report: Callable[[int], None] | None = None, chained: bool = False
    ) -> Tensor:
        """Return refined latents [T, L, C]. latents: [T, L, C], generated. report: called after each step with the number done.

        chained: the displacements of the first frame are taken off all of them, as in a segment that continues another.
        """
        start = latents.detach().clone()
        change = torch.zeros_like(start, requires_grad=True)
        optimizer = torch.optim.Adam([change], betas=(0.9, 0.99))
        with torch.enable_grad():
            for step in range(steps):
                displacements = self._displacements(start + change * self._deviations, chained)
                cost = _DISTANCE_WEIGHT * change.square().mean() + _STRETCH_WEIGHT * self._stretch(displacements)
                _descend(optimizer, self._misfit(displacements) + cost, _LEARNING_RATE * _share(step, steps))
                if report is not None:
                    report(step + 1)
        return start + change.detach() * self._deviations

    def _displacements(self, latents: Tensor, chained: bool) -> Tensor:
        """Return the displacements of the controls [T, K, 3]."""
        decoded = self._variation.decode(latents.unsqueeze(0), self._controls.unsqueeze(0))[0, ..., :3]
        return decoded - decoded[:1] if chained else decoded

    def _misfit(self, displacements: Tensor) -> Tensor:
        """Return the error of the frames where the controls move by displacements [T, K, 3]."""
        moved = displace(self._gaussians, self._guide.interpolate(displacements))
        return self._error(self._images(moved), self._target)

    def _stretch(self, displacements: Tensor) -> Tensor:
        """Return the mean square by which edges between controls change their length, in mean lengths of edges."""
        if not self._edges.shape[1]:
            return displacements.new_zeros(())
        moved = self._points + displacements
        lengths = (moved.unsqueeze(2) - moved[:, self._edges]).square().sum(-1).clamp(min=1e-12).sqrt()
        return ((lengths - self._lengths) / self._lengths.mean().clamp(min=1e-6)).square().mean()

    def _images(self, gaussians: Gaussians) -> Tensor:
        """Return the images [..., S, S, 4] of Gaussians [..., N]: colours over black, and alpha."""
        drawn = draw_views(gaussians, self._view, self._K, self._target.shape[1], background=0.0)
        return torch.cat([drawn.rgb, drawn.alpha.unsqueeze(-1)], dim=-1).squeeze(-4)

    def _error(self, images: Tensor, target: Tensor) -> Tensor:
        """Return how images [..., S, S, 4] differ, as a mean over scales, relative to the area that the object covers."""
        planes = torch.stack([images, target]).movedim(-1, -3).flatten(0, -4)
        total = planes.new_zeros(())
        for _ in range(_SCALES):
            difference = torch.sub(*planes.chunk(2))
            total = total + ((difference.square() + _SOFTENING**2).sqrt() - _SOFTENING).mean()
            planes = F.avg_pool2d(planes, 2)
        return total / (_SCALES * self._covered)

    def _looking_like_first_frame(self, canonical: Gaussians) -> Gaussians:
        """Return Gaussians with the colours, opacities and sizes that make them look like the first frame, where they do not move.

        Without this, the motion would make up for what blurs in the canonical Gaussians, or for another light.
        """
        changes = {name: torch.zeros_like(getattr(canonical, name), requires_grad=True) for name in _LOOK_UNITS}
        optimizer = torch.optim.Adam(changes.values(), betas=(0.9, 0.99))
        with torch.enable_grad():
            for step in range(_LOOK_STEPS):
                error = self._error(self._images(_changed(canonical, changes)), self._target[0])
                cost = _LOOK_WEIGHT * torch.stack([change.square().mean() for change in changes.values()]).sum()
                _descend(optimizer, error + cost, _LOOK_RATE * _share(step, _LOOK_STEPS))
        return _changed(canonical, {name: change.detach() for name, change in changes.items()})


def _changed(gaussians: Gaussians, changes: Mapping[str, Tensor]) -> Gaussians:
    """Return Gaussians whose fields are changed. changes: by field, in units of `_LOOK_UNITS`."""
    return replace(
        gaussians, **{name: getattr(gaussians, name) + _LOOK_UNITS[name] * change for name, change in changes.items()}
    )


def _share(step: int, steps: int) -> float:
    """Return the share of the learning rate in a step from 0 on: it rises within `_WARM_UP` steps and falls as a cosine."""
    return 0.5 * min(1.0, (step + 1) / _WARM_UP) * (1.0 + math.cos(math.pi * step / steps))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """Take a step down the gradient of a loss; the networks in between get no gradients."""
    (group,) = optimizer.param_groups
    group["lr"] = rate
    optimizer.zero_grad()
    loss.backward(inputs=group["params"])
    optimizer.step()
