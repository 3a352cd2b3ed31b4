"""The rasteriser against its formula spelt out: every pixel over all Gaussians, float64, gradients by autograd."""

from __future__ import annotations

import math
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering.rasterize import RasterizedViews, rasterize

NAMES = ("means", "quats", "scales", "opacities", "colors")


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


def draw(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    *,
    near: float = 0.01,
    far: float = 100.0,
    background: Tensor | None = None,
    low_pass: float = 0.3,
    compensate: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One image of N Gaussians: rgb [H, W, 3], alpha, depth [H, W], and where rounding may decide [H, W]."""
    w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    rotation = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    covariance = rotation @ torch.diag_embed(scales**2) @ rotation.mT
    centre = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    order = torch.sort(centre[:, 2].float(), stable=True).indices  # float32 depths, as the backends sort
    seen = order[(centre[order, 2] >= near) & (centre[order, 2] <= far)]
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
    opacity = opacities[seen]
    if compensate:
        ratio = torch.linalg.det(image).clamp_min(0) / torch.linalg.det(blurred)
        opacity = opacity * torch.where(ratio > 0, ratio, 1).sqrt() * (ratio > 0)
    conic = torch.linalg.inv(blurred)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    dx = columns + 0.5 - (fx * cx / cz + px)[:, None, None]
    dy = rows + 0.5 - (fy * cy / cz + py)[:, None, None]
    a, b, c = (conic[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    alpha = (opacity[:, None, None] * torch.exp(-0.5 * (a * dx**2 + c * dy**2) - b * dx * dy)).clamp_max(0.999)
    doubtful = (alpha * 255 - 1).abs().lt(1e-4).any(0)
    alpha = alpha * (alpha >= 1 / 255)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    drawn = (after > 1e-4).cumprod(0)
    doubtful |= (after / 1e-4 - 1).abs().lt(1e-3).any(0)
    weight = alpha * before * drawn
    total = weight.sum(0)
    rgb = torch.einsum("nhw,nc->hwc", weight, colors[seen])
    if background is not None:
        rgb = rgb + (1 - total)[..., None] * background
    depth = torch.einsum("nhw,n->hw", weight, cz) / total.clamp_min(1e-10)
    return rgb, total, depth, doubtful


def random_scene(seed: int, count: int = 120) -> dict[str, Tensor]:
    """Gaussians of all kinds around the origin, float32."""
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
    means[2 * few : 3 * few] = torch.tensor([0.0, -3.0, 0.0]) + 0.3 * normal(few, 3)  # behind the camera
    means[3 * few : 4 * few, 0] += 2.5  # off screen
    opacities[4 * few : 5 * few] = 0  # transparent
    means[5 * few : 6 * few] = means[6 * few : 7 * few]  # equal depths
    opacities[7 * few : 8 * few] = 1  # opaque
    scales[8 * few : 9 * few, 0] = 1e-5  # flat
    return {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors}


def two_cameras() -> tuple[Tensor, Tensor]:
    """viewmats [2, 4, 4] and Ks [2, 3, 3], float32."""
    viewmats = torch.stack([look_at((0.3, -2.0, 0.4)), look_at((1.5, 0.8, -0.5))])
    return viewmats.float(), torch.stack([intrinsics(40), intrinsics(70)]).float()


def render(scene: dict[str, Tensor], size: int = 48, **options: object) -> RasterizedViews:
    viewmats, Ks = two_cameras()
    return rasterize(**scene, viewmats=viewmats, Ks=Ks, width=size, height=size, **options)  # type: ignore[arg-type]


def with_gradients(scene: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone().requires_grad_() for name, tensor in scene.items()}


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seed", range(12))
def test_colours_and_gradients_follow_the_formula(seed: int) -> None:
    width, height = ((64, 64), (50, 37), (33, 70))[seed % 3]
    low_pass, compensate = ((0.3, False), (0.1, True), (0.3, True), (0.1, False))[seed % 4]
    scene = random_scene(seed)
    viewmats, Ks = two_cameras()
    background = torch.tensor([0.9, 0.2, 0.5])
    ours = with_gradients({**scene, "viewmats": viewmats, "background": background})
    views = rasterize(**ours, Ks=Ks, width=width, height=height, low_pass=low_pass, compensate=compensate)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in ours.items()}
    images = [
        draw(
            *(exact[name] for name in NAMES),
            exact["viewmats"][camera],
            Ks[camera].double(),
            width,
            height,
            background=exact["background"],
            low_pass=low_pass,
            compensate=compensate,
        )
        for camera in range(2)
    ]
    rgb, alpha, depth, doubtful = (torch.stack(parts) for parts in zip(*images))
    sure = ~doubtful
    assert sure.float().mean() > 0.99
    assert (views.rgb - rgb)[sure].abs().max() < 1e-5  # float32 rounding; the requirement is 1e-4
    assert (views.alpha - alpha)[sure].abs().max() < 1e-5
    assert (views.depth - depth)[sure].abs().max() < 1e-4

    weights = torch.Generator().manual_seed(seed)
    wanted = torch.randn(*rgb.shape, generator=weights) * sure[..., None]
    wanted_alpha = torch.randn(*alpha.shape, generator=weights) * sure
    wanted_depth = torch.randn(*alpha.shape, generator=weights) * (sure & (alpha > 0.05))
    for output in ((views.rgb, views.alpha, views.depth), (rgb, alpha, depth)):
        ((output[0] * wanted).sum() + (output[1] * wanted_alpha).sum() + (output[2] * wanted_depth).sum()).backward()
    for name in ours:
        found, expected = ours[name].grad, exact[name].grad
        assert found is not None
        assert expected is not None
        if name == "viewmats":  # the last row is not read
            found, expected = found[:, :3], expected[:, :3]
        assert (found - expected).norm() < 1e-4 * expected.norm(), name
        scale = expected.abs() + expected.abs().mean()
        assert ((found - expected).abs() / scale).max() < 1e-3, name


def test_bits_do_not_depend_on_the_number_of_threads(torch_threads: None) -> None:
    outcomes = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        scene = with_gradients(random_scene(3, count=3000))
        views = render(scene, size=100)
        (views.rgb.square().sum() + views.depth.sum()).backward()
        outcomes.append([views.rgb, views.alpha, views.depth, *(tensor.grad for tensor in scene.values())])
    for other in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcomes[0], other))


def _forked(seed: int) -> Tensor:
    return render(random_scene(seed)).rgb


def test_forked_processes_and_concurrent_threads_agree() -> None:
    here = _forked(5)
    with ThreadPoolExecutor(3) as pool:
        assert all(torch.equal(here, there) for there in pool.map(_forked, [5] * 6))
    with multiprocessing.get_context("fork").Pool(2, torch.set_num_threads, (1,)) as processes:  # torch's own need
        assert all(torch.equal(here, there) for there in processes.map(_forked, [5, 5]))


def test_scenes_and_cameras_broadcast() -> None:
    scenes = [random_scene(seed) for seed in (0, 1, 2)]
    viewmats, Ks = two_cameras()
    stacked = {name: torch.stack([scene[name] for scene in scenes])[:, None] for name in NAMES}  # [3, 1, N, ...]
    views = rasterize(**stacked, viewmats=viewmats[:, None], Ks=Ks[:, None], width=20, height=30)
    assert views.rgb.shape == (3, 2, 1, 30, 20, 3)
    assert views.alpha.shape == views.depth.shape == (3, 2, 1, 30, 20)
    for t, scene in enumerate(scenes):
        single = rasterize(**scene, viewmats=viewmats, Ks=Ks, width=20, height=30)
        assert torch.equal(views.rgb[t, :, 0], single.rgb)


def test_equal_depths_are_drawn_in_order_of_index() -> None:
    scene = {
        "means": torch.zeros(2, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        "scales": torch.full((2, 3), 0.2),
        "opacities": torch.tensor([0.9, 0.9]),
        "colors": torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]),
    }
    centre = render(scene, size=9).rgb[0, 4, 4]
    assert centre[0] > 8 * centre[1] > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_float_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    scene = with_gradients({name: tensor.to(dtype) for name, tensor in random_scene(1).items()})
    views = render(scene)
    assert views.rgb.dtype == torch.float32
    assert torch.equal(views.rgb, render({name: tensor.float() for name, tensor in scene.items()}).rgb)
    views.rgb.sum().backward()
    assert all(tensor.grad is not None and tensor.grad.dtype == dtype for tensor in scene.values())


def test_nothing_to_draw_gives_the_background() -> None:
    background = torch.tensor([0.1, 0.2, 0.3])
    scene = random_scene(0)
    empty = {name: tensor[:0] for name, tensor in scene.items()}
    hidden = {**scene, "means": scene["means"] + torch.tensor([0.0, 0.0, 1000.0])}
    for nothing in (empty, hidden):
        views = render(nothing, background=background)
        assert torch.equal(views.rgb, background.expand(2, 48, 48, 3))
        assert not views.alpha.any()
        assert not views.depth.any()
    tracked = with_gradients(empty)
    assert render(tracked).rgb.sum() == 0
    viewmats, Ks = two_cameras()
    none = rasterize(**scene, viewmats=viewmats[:0], Ks=Ks[:0], width=8, height=8)
    assert none.rgb.shape == (0, 8, 8, 3)


def test_quaternions_may_have_any_length_and_scales_any_sign() -> None:
    scene = random_scene(4)
    expected = render(scene).rgb
    torch.testing.assert_close(render({**scene, "quats": scene["quats"] * 7.5}).rgb, expected, atol=1e-4, rtol=0)
    assert torch.equal(render({**scene, "scales": -scene["scales"]}).rgb, expected)
    points = render({**scene, "scales": torch.zeros_like(scene["scales"])})  # the low-pass filter alone
    assert points.rgb.isfinite().all()
    assert points.alpha.max() > 0.1
    assert not render({**scene, "scales": torch.zeros_like(scene["scales"])}, compensate=True).alpha.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused_by_name(name: str, value: float) -> None:
    scene = random_scene(0)
    scene[name].view(-1)[17] = value
    with pytest.raises(UserError, match=f"{name}: not finite"):
        render(scene)


def test_unusable_inputs_are_refused_by_name() -> None:
    scene = random_scene(0)
    viewmats, Ks = two_cameras()
    good = {**scene, "viewmats": viewmats, "Ks": Ks, "width": 8, "height": 8}
    bad: list[tuple[dict[str, object], str]] = [
        ({"means": scene["means"][:, :2]}, "means needs shape"),
        ({"means": torch.zeros(3)}, "means needs shape"),
        ({"quats": scene["quats"][:-1]}, "quats needs shape"),
        ({"scales": scene["scales"][:, 0]}, "scales needs shape"),
        ({"opacities": scene["opacities"][:, None]}, "opacities needs shape"),
        ({"colors": scene["colors"].repeat(1, 2)}, "colors needs shape"),
        ({"colors": (scene["colors"] * 255).to(torch.uint8)}, "colors must be floating point"),
        ({"viewmats": viewmats[0]}, "viewmats needs shape"),
        ({"Ks": Ks[:1]}, "Ks needs shape"),
        ({"viewmats": viewmats.expand(5, 2, 4, 4), "means": scene["means"].expand(4, -1, 3)}, "do not broadcast"),
        ({"opacities": scene["opacities"].to("meta")}, "opacities is on meta"),
        ({name: good[name].to("meta") for name in (*NAMES, "viewmats", "Ks")}, "no backend"),  # type: ignore[attr-defined]
        ({"background": torch.zeros(4)}, "background needs shape"),
        ({"width": 0}, "width and height"),
        ({"near": 0.0}, "near"),
        ({"near": 2.0, "far": 1.0}, "far"),
        ({"low_pass": -0.1}, "low_pass"),
        ({"quats": torch.zeros_like(scene["quats"])}, "length zero"),
        ({"viewmats": viewmats * math.nan}, "viewmats"),
        ({"Ks": Ks * 0}, "Ks"),
    ]
    for change, message in bad:
        with pytest.raises(UserError, match=message):
            rasterize(**{**good, **change})  # type: ignore[arg-type]


def test_another_process_draws_the_same_bits_without_compiling_again() -> None:
    render(random_scene(0))  # compiled at the latest now
    code = """
import torch
from gvf.rendering.rasterize import rasterize

generator = torch.Generator().manual_seed(0)
viewmats, Ks = torch.eye(4)[None], torch.tensor([[[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]])
viewmats[0, 2, 3] = 2
scene = [torch.rand(50, *tail, generator=generator) for tail in ((3,), (4,), (3,), (), (3,))]
total = rasterize(*scene, viewmats, Ks, 40, 40).rgb.double().sum().item()
"""
    other = subprocess.run([sys.executable, "-c", code + "print(total.hex())"], capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    here: dict[str, float] = {}
    exec(code, here)
    assert other.stdout.strip() == here["total"].hex()
    assert "compiling" not in other.stderr
