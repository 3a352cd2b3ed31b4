"""Small objects of Gaussians, and images of them, for tests of the alignment."""

import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines.alignment_target import premultiplied
from gvf.rendering.convention import COMPENSATE, LOW_PASS
from gvf.rendering.rasterize import rasterize


def blob(
    center: tuple[float, float, float], axes: tuple[float, float, float], color: tuple, seed: int, count: int = 300
):
    """Return positions and colours [count, 3] on an ellipsoid."""
    points = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return points * torch.tensor(axes) + torch.tensor(center), torch.tensor(color).expand(count, 3)


def of_blobs(*blobs) -> Gaussians:  # type: ignore[no-untyped-def]
    """Return small opaque Gaussians of blobs."""
    means, rgb = (torch.cat(parts) for parts in zip(*blobs))
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(means), 4)
    colors = (rgb - 0.5) / 0.28209479177387814
    return Gaussians.from_rendered(
        means, colors, torch.full((len(means), 3), 0.02), quats, torch.full((len(means),), 0.9)
    )


def creature() -> Gaussians:
    """Return an object that looks different from every side: a body, a head in front, a tail and a mark on one flank."""
    return of_blobs(
        blob((0.0, 0.0, 0.0), (0.16, 0.3, 0.14), (0.7, 0.5, 0.3), 0),
        blob((0.0, -0.32, 0.14), (0.11, 0.12, 0.11), (0.9, 0.8, 0.5), 1),
        blob((0.0, 0.38, 0.08), (0.03, 0.1, 0.03), (0.3, 0.2, 0.1), 2, 100),
        blob((0.12, 0.05, 0.03), (0.06, 0.08, 0.08), (0.1, 0.3, 0.8), 3, 150),
        blob((-0.09, -0.15, -0.2), (0.04, 0.04, 0.14), (0.4, 0.3, 0.2), 4, 100),
        blob((0.09, 0.15, -0.2), (0.04, 0.04, 0.14), (0.4, 0.3, 0.2), 5, 100),
    )


def vase(seed: int = 0) -> Gaussians:
    """Return an object that looks the same from all azimuths, but for its grain."""
    return of_blobs(
        blob((0.0, 0.0, 0.0), (0.22, 0.22, 0.35), (0.6, 0.3, 0.3), seed, 1500),
        blob((0.0, 0.0, 0.3), (0.12, 0.12, 0.15), (0.3, 0.3, 0.6), seed + 1, 500),
    )


def photograph(gaussians: Gaussians, camera: OrbitCamera, size: int) -> torch.Tensor:
    """Return what the camera sees, uint8 [size, size, 4] with straight alpha."""
    viewmat, K = (torch.from_numpy(matrix).float()[None] for matrix in (camera.viewmat, camera.K))
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.rgb)
    views = rasterize(*fields, viewmat, K, size, size, low_pass=LOW_PASS, compensate=COMPENSATE)
    alpha = views.alpha[0, ..., None]
    rgba = torch.cat([views.rgb[0] / alpha.clamp(min=1e-6), alpha], dim=-1)
    return (rgba.clamp(0.0, 1.0) * 255.0).round().byte()


def psnr(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the PSNR of two images [H, W, 4] with premultiplied colours."""
    difference = premultiplied(found) - premultiplied(expected)
    return float(-10.0 * torch.log10(difference.square().mean()))
