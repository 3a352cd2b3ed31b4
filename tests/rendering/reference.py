"""The formula of the rasteriser spelt out, every pixel over all Gaussians in float64, and scenes to compare it on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gvf.rendering.rasterize import RasterizedViews, rasterize

NAMES = ("means", "quats", "scales", "opacities", "colors")
EYES = ((0.3, -2.0, 0.4), (1.5, 0.8, -0.5))


def look_at(eye: tuple[float, float, float]) -> Tensor:
    """World-to-camera matrix [4, 4] of a camera at `eye` that looks at the origin, z up."""
    position = torch.tensor(eye, dtype=torch.float64)
    forward = -position / position.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ position
    return viewmat


def intrinsics(fov: float) -> Tensor:
    """Normalised intrinsics [3, 3] of a square image; fov in degrees."""
    focal = 0.5 / math.tan(math.radians(fov) / 2)
    return torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], dtype=torch.float64)


class Reference(NamedTuple):
    """Images of the formula. stake [..., H, W]: weight of what rounding may decide; sure: no gradient depends on it."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    stake: Tensor
    sure: Tensor


def draw(
    scene: dict[str, Tensor],
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    *,
    low_pass: float = 0.3,
    compensate: bool = False,
) -> Reference:
    """One image [H, W] of N Gaussians over a background, colours and background in [0, 1]."""
    w, x, y, z = (scene["quats"] / scene["quats"].norm(dim=-1, keepdim=True)).unbind(-1)
    rotation = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    covariance = rotation @ torch.diag_embed(scene["scales"] ** 2) @ rotation.mT
    centre = scene["means"] @ viewmat[:3, :3].T + viewmat[:3, 3]
    order = torch.sort(centre[:, 2].float(), stable=True).indices  # float32 depths, as the backends sort
    seen = order[(centre[order, 2] >= 0.01) & (centre[order, 2] <= 100.0)]
    cx, cy, cz = centre[seen].unbind(-1)
    fx, fy = K[0, 0] * width, K[1, 1] * height
    px, py = K[0, 2] * width, K[1, 2] * height
    tan_x, tan_y = 0.5 * width / fx, 0.5 * height / fy
    tx = cz * (cx / cz).clamp(-(px / fx + 0.3 * tan_x), (width - px) / fx + 0.3 * tan_x)
    ty = cz * (cy / cz).clamp(-(py / fy + 0.3 * tan_y), (height - py) / fy + 0.3 * tan_y)
    zero = torch.zeros_like(cz)
    jacobian = torch.stack(
        [torch.stack([fx / cz, zero, -fx * tx / cz**2], -1), torch.stack([zero, fy / cz, -fy * ty / cz**2], -1)], -2
    )
    project = jacobian @ viewmat[:3, :3]
    image = project @ covariance[seen] @ project.mT
    blurred = image + low_pass * torch.eye(2, dtype=image.dtype)
    opacity = scene["opacities"][seen]
    if compensate:
        ratio = torch.linalg.det(image).clamp_min(0) / torch.linalg.det(blurred)
        opacity = opacity * torch.where(ratio > 0, ratio, 1).sqrt() * (ratio > 0)
    conic = torch.linalg.inv(blurred)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    dx = columns + 0.5 - (fx * cx / cz + px)[:, None, None]
    dy = rows + 0.5 - (fy * cy / cz + py)[:, None, None]
    a, b, c = (conic[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    whole = opacity[:, None, None] * torch.exp(-0.5 * (a * dx**2 + c * dy**2) - b * dx * dy)
    alpha = whole.clamp_max(0.999) * (whole >= 1 / 255)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weight = alpha * before * (after > 1e-4).cumprod(0)
    total = weight.sum(0)
    rgb = torch.einsum("nhw,nc->hwc", weight, scene["colors"][seen]) + (1 - total)[..., None] * scene["background"]
    depth = torch.einsum("nhw,n->hw", weight, cz) / total.clamp_min(1e-10)
    with torch.no_grad():
        cut = (whole * 255 - 1).abs() < 2e-4
        # One Gaussian more or less at the cut moves all transmittance behind it by 1/255.
        stop = (after / 1e-4 - 1).abs() < torch.where(cut.any(0), 2e-2, 1e-3)
        stake = (2 / 255 * before * cut).sum(0) + (before * stop).amax(0, keepdim=True).sum(0)
        sure = ~(cut | stop | ((whole - 0.999).abs() < 1e-4)).any(0)
    return Reference(rgb, total, depth, stake, sure)


def turn_x_to(direction: Tensor) -> Tensor:
    """Quaternions [n, 4] that turn the x axis to unit vectors [n, 3]."""
    x_axis = torch.tensor([1.0, 0.0, 0.0]).expand_as(direction)
    return torch.cat([1 + direction[:, :1], torch.linalg.cross(x_axis, direction)], 1)


def random_scene(seed: int, count: int = 60) -> dict[str, Tensor]:
    """Gaussians of all kinds around the origin, float32, for `two_cameras`."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    means, quats = 0.4 * normal(count, 3), normal(count, 4)
    scales, opacities, colors = torch.exp(1.2 * normal(count, 3) - 3.2), uniform(count), uniform(count, 3)
    few = count // 12
    scales[:few] = 0.001  # tiny
    scales[few : 2 * few] = 1 + uniform(few, 3)  # huge
    means[2 * few : 3 * few] = torch.tensor([0.0, -3.0, 0.0]) + 0.3 * normal(few, 3)  # behind the first camera
    means[3 * few : 4 * few, 0] += 2.5  # off screen
    opacities[4 * few : 5 * few] = 0  # transparent
    means[5 * few : 6 * few] = means[6 * few : 7 * few]  # equal depths
    opacities[7 * few : 8 * few] = 1  # opaque
    flat = slice(8 * few, 10 * few)  # discs, large and small, on edge for the first camera
    view = means[flat] - torch.tensor(EYES[0])
    normals = torch.nn.functional.normalize(torch.linalg.cross(view, normal(2 * few, 3)), dim=-1)
    quats[flat], scales[flat, 0] = turn_x_to(normals), 1e-5
    scales[8 * few : 9 * few, 1:] = 1.0
    return {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors}


def needles(seed: int) -> dict[str, Tensor]:
    """Opaque hairs and discs that are far longer than an image is wide, a few of them off its centre; float32."""
    generator = torch.Generator().manual_seed(seed)
    scene = {
        "means": 0.5 * torch.randn(16, 3, generator=generator),
        "quats": torch.randn(16, 4, generator=generator),
        "scales": torch.tensor([1e-4, 1e-4, 2.0]).repeat(16, 1),
        "opacities": torch.full((16,), 0.9),
        "colors": torch.rand(16, 3, generator=generator),
    }
    view = scene["means"][8:] - torch.tensor(EYES[0])
    normals = torch.nn.functional.normalize(torch.linalg.cross(view, torch.randn(8, 3, generator=generator)), dim=-1)
    scene["quats"][8:], scene["scales"][8:] = turn_x_to(normals), torch.tensor([1e-5, 1.0, 2.0])
    return scene


def two_cameras() -> tuple[Tensor, Tensor]:
    """viewmats [2, 4, 4] and Ks [2, 3, 3], float32."""
    viewmats = torch.stack([look_at(eye) for eye in EYES])
    return viewmats.float(), torch.stack([intrinsics(40), intrinsics(70)]).float()


def render(scene: dict[str, Tensor], size: int = 48, **options: object) -> RasterizedViews:
    viewmats, Ks = two_cameras()
    return rasterize(**scene, viewmats=viewmats, Ks=Ks, width=size, height=size, **options)  # type: ignore[arg-type]


def with_gradients(scene: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone().requires_grad_() for name, tensor in scene.items()}


def compare(
    scene: dict[str, Tensor],
    width: int,
    height: int,
    low_pass: float,
    compensate: bool,
    colors: float,
    gradients: float,
) -> None:
    """Assert that colours, and gradients of one random loss of all outputs, agree to the given errors.

    The error of a parameter's gradient is counted as a whole, against its norm, and of each value, against its own size
    plus the mean size of its kind.
    """
    viewmats, Ks = two_cameras()
    background = torch.tensor([0.9, 0.2, 0.5])
    ours = with_gradients({**scene, "viewmats": viewmats, "background": background})
    views = rasterize(**ours, Ks=Ks, width=width, height=height, low_pass=low_pass, compensate=compensate)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in ours.items()}
    images = [
        draw(
            exact,
            exact["viewmats"][camera],
            Ks[camera].double(),
            width,
            height,
            low_pass=low_pass,
            compensate=compensate,
        )
        for camera in range(2)
    ]
    expected = Reference(*(torch.stack(parts) for parts in zip(*images)))
    errors = (views.rgb - expected.rgb).abs().amax(-1)
    assert (errors <= colors + expected.stake).all(), (errors - expected.stake).max()
    assert ((views.alpha - expected.alpha).abs() <= colors + expected.stake).all()
    assert (expected.stake == 0).float().mean() > 0.99
    settled = expected.stake == 0
    assert ((views.depth - expected.depth).abs() <= 1e-4 * (1 + expected.depth))[settled].all()

    generator = torch.Generator().manual_seed(0)
    loss_rgb = torch.randn(*expected.rgb.shape, generator=generator) * expected.sure[..., None]
    loss_alpha, loss_depth = torch.randn(2, *expected.sure.shape, generator=generator) * expected.sure
    assert expected.sure.float().mean() > 0.98
    for rgb, alpha, depth in ((views.rgb, views.alpha, views.depth), expected[:3]):
        ((rgb * loss_rgb).sum() + (alpha * loss_alpha).sum() + (depth * loss_depth).sum()).backward()
    for name in ours:
        found, wanted = ours[name].grad, exact[name].grad
        assert found is not None
        assert wanted is not None
        assert (found - wanted).norm() <= gradients * wanted.norm(), name
        assert ((found - wanted).abs() <= 4 * gradients * (wanted.abs() + wanted.abs().mean())).all(), name
