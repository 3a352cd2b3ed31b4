"""The rasteriser against its formula spelt out: every pixel over all Gaussians, float64, gradients by autograd.

Two decisions of the formula jump: a Gaussian is dropped below alpha 1/255, and a pixel ends before its transmittance
would fall to 1e-4. Where float32 and float64 may decide differently a pixel's colour may be off by the weight at stake,
which the reference reports, and such pixels are left out of the loss whose gradients are compared. They are rare, and
the tests say so.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from gvf.errors import UserError
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


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize("seed", range(50))
def test_colours_and_gradients_follow_the_formula(seed: int) -> None:
    width, height = ((32, 32), (40, 23), (17, 36))[seed % 3]
    low_pass, compensate = ((0.3, False), (0.1, True), (0.3, True), (0.1, False))[seed % 4]
    scene = random_scene(seed, count=60 if seed % 5 else 300)
    compare(scene, width, height, low_pass, compensate, colors=1e-5, gradients=2.5e-4)  # asked for: 1e-4, 1e-3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("compensate", [False, True])
def test_needles_across_a_large_image_lose_nothing_to_rounding(seed: int, compensate: bool) -> None:
    compare(needles(seed), 200, 160, 0.1, compensate, colors=5e-5, gradients=1e-3)


def bits(seed: int) -> str:
    """Digest of images and gradients of a scene large enough for all threads to take part."""
    scene = with_gradients(random_scene(seed, count=3000))
    viewmats, Ks = two_cameras()
    tracked = viewmats.requires_grad_()
    views = rasterize(**scene, viewmats=tracked, Ks=Ks, width=100, height=100)
    (views.rgb.square().sum() + views.alpha.sum() + views.depth.sum()).backward()
    tensors = [views.rgb, views.alpha, views.depth, tracked.grad, *(tensor.grad for tensor in scene.values())]
    digest = hashlib.sha256()
    for tensor in tensors:
        assert tensor is not None
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def test_bits_depend_neither_on_threads_nor_on_the_process(torch_threads: None) -> None:
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(bits(3))
    code = f"""
import sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
import {Path(__file__).stem} as here
torch.set_num_threads(2)
print(here.bits(3))
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    assert "compiling" not in other.stderr  # the machine code is read from the cache
    assert {*found, other.stdout.strip()} == {found[0]}


def test_forked_processes_and_concurrent_threads_agree() -> None:
    here = bits(5)
    with ThreadPoolExecutor(3) as pool:
        assert all(here == there for there in pool.map(bits, [5] * 4))
    with multiprocessing.get_context("fork").Pool(2, torch.set_num_threads, (1,)) as processes:  # torch's own need
        assert all(here == there for there in processes.map(bits, [5, 5]))


def test_the_first_compilation_says_so_and_later_processes_read_its_result(tmp_path: Path) -> None:
    (tmp_path / "kernels_of_a_test.py").write_text(
        "from gvf.rendering.kernels import kernel\n"
        "from gvf.rendering.simd import take_next\n\n"
        "@kernel\ndef count(counter, total):\n    while take_next(counter) < 3:\n        total[0] += 1\n"
    )
    code = """
import numpy as np
from gvf.rendering import kernels
from kernels_of_a_test import count

total = np.zeros(1)
kernels.run(count, 3, 1, total)
print(total[0])
"""
    runs = [subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True) for _ in "ab"]
    assert [run.stdout.strip() for run in runs] == ["3.0", "3.0"], runs[0].stderr
    assert "gvf: compiling the CPU rasteriser" in runs[0].stderr
    assert runs[1].stderr == ""


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


def good_call() -> dict[str, Any]:
    """Arguments of one call to `rasterize`, two cameras."""
    viewmats, Ks = two_cameras()
    return {**random_scene(0), "viewmats": viewmats, "Ks": Ks, "width": 8, "height": 8, "background": torch.rand(3)}


TENSORS = (*NAMES, "viewmats", "Ks", "background")
SHAPES = {
    "means": [(60, 2), (60,), (60, 3, 1)],
    "quats": [(60, 3), (59, 4), (60,)],
    "scales": [(60, 1), (59, 3), (60,)],
    "opacities": [(60, 1), (59,), ()],
    "colors": [(60, 6), (59, 3), (60,)],
    "viewmats": [(2, 3, 4), (4, 4), (2, 16)],
    "Ks": [(2, 4, 4), (1, 3, 3), (3, 3)],
    "background": [(4,), (2, 3), ()],
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", TENSORS)
def test_values_that_are_not_finite_are_refused_by_name(name: str, value: float) -> None:
    call = good_call()
    call[name].view(-1)[-1] = value
    with pytest.raises(UserError, match=f"rasterize: {name}: not finite"):
        rasterize(**call)


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name in SHAPES for shape in SHAPES[name]])
def test_wrong_shapes_are_refused_by_name(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=rf"rasterize: {name} needs shape \[.*found \[{', '.join(map(str, shape))}\]"):
        rasterize(**{**good_call(), name: torch.ones(shape)})


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("name", TENSORS)
def test_wrong_types_are_refused_by_name(name: str, dtype: torch.dtype) -> None:
    call = good_call()
    with pytest.raises(UserError, match=f"rasterize: {name} must be floating point, found {dtype}"):
        rasterize(**{**call, name: call[name].to(dtype)})


@pytest.mark.parametrize("name", TENSORS)
def test_what_is_no_tensor_is_refused_by_name(name: str) -> None:
    call = good_call()
    for other in (call[name].numpy(), call[name].tolist()):
        with pytest.raises(UserError, match=f"rasterize: {name} must be a torch tensor, found"):
            rasterize(**{**call, name: other})


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_on_another_device_is_refused_by_name(name: str) -> None:
    call = good_call()
    with pytest.raises(UserError, match=r"is on .*, means on .*; use one device"):
        rasterize(**{**call, name: call[name].to("meta")})


def test_a_device_without_a_backend_is_refused() -> None:
    call = good_call()
    with pytest.raises(UserError, match="no backend for device meta"):
        rasterize(**{**call, **{name: call[name].to("meta") for name in TENSORS}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be a whole number"),
        ({"height": -3}, "height must be a whole number"),
        ({"width": 8.5}, "width must be a whole number"),
        ({"near": 0.0}, "0 < near < far"),
        ({"near": 2.0, "far": 1.0}, "0 < near < far"),
        ({"far": math.nan}, "0 < near < far"),
        ({"low_pass": -0.1}, "low_pass"),
        ({"low_pass": math.nan}, "low_pass"),
        ({"low_pass": math.inf}, "low_pass"),
        ({"quats": torch.zeros(60, 4)}, "quats: a quaternion of length zero"),
        ({"Ks": torch.zeros(2, 3, 3)}, "Ks: a focal length that is not positive"),
        ({"means": torch.zeros(4, 60, 3), "viewmats": torch.eye(4).expand(5, 2, 4, 4)}, "do not broadcast"),
    ],
)
def test_arguments_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rasterize(**{**good_call(), **change})


@pytest.mark.parametrize("far", [50.0, math.inf])
def test_nothing_in_sight_gives_the_background_and_gradients_of_zero(far: float) -> None:
    call = good_call()
    call["means"] = call["means"] + torch.tensor([0.0, 0.0, 1000.0])
    tracked = {name: call[name].requires_grad_() for name in TENSORS if name != "Ks"}
    views = rasterize(**call, far=far)
    assert torch.equal(views.rgb, call["background"].expand(2, 8, 8, 3))
    assert not views.alpha.any()
    assert not views.depth.any()
    (views.rgb.sum() + views.alpha.sum() + views.depth.sum()).backward()
    assert tracked.pop("background").grad.tolist() == [128.0] * 3
    assert not any(tensor.grad.any() for tensor in tracked.values())


@pytest.mark.parametrize("without", ["gaussians", "cameras", "scenes"])
def test_empty_inputs_give_empty_or_plain_images_and_gradients_of_zero(without: str) -> None:
    call = good_call()
    if without == "gaussians":
        call.update({name: call[name][:0] for name in NAMES})
    elif without == "cameras":
        call.update({name: call[name][:0] for name in ("viewmats", "Ks")})
    else:
        call.update({name: call[name].expand(0, *call[name].shape) for name in NAMES})
    tracked = {name: call[name].requires_grad_() for name in TENSORS if name != "Ks"}
    views = rasterize(**call)
    shape = {"gaussians": (2, 8, 8), "cameras": (0, 8, 8), "scenes": (0, 2, 8, 8)}[without]
    assert views.alpha.shape == views.depth.shape == shape
    assert torch.equal(views.rgb, call["background"].expand(*shape, 3))
    (views.rgb.sum() + views.alpha.sum() + views.depth.sum()).backward()
    assert not any(tensor.grad.any() for name, tensor in tracked.items() if name != "background")


@pytest.mark.parametrize("length", [1e-15, 1e-3, 7.5, 1e15])
def test_quaternions_may_have_any_length(length: float) -> None:
    scene = random_scene(4)
    found, expected = with_gradients({**scene, "quats": scene["quats"] * length}), with_gradients(scene)
    images = [render(tracked).rgb for tracked in (found, expected)]
    torch.testing.assert_close(images[0], images[1], atol=1e-4, rtol=0)
    for image in images:
        image.square().sum().backward()
    assert found["quats"].grad is not None
    assert expected["quats"].grad is not None
    error = (found["quats"].grad * length - expected["quats"].grad).norm()
    assert error < 1e-3 * expected["quats"].grad.norm()


def test_scales_may_have_any_sign() -> None:
    scene = random_scene(4)
    found, expected = with_gradients({**scene, "scales": -scene["scales"]}), with_gradients(scene)
    images = [render(tracked).rgb for tracked in (found, expected)]
    assert torch.equal(images[0], images[1])
    for image in images:
        image.square().sum().backward()
    assert found["scales"].grad is not None
    assert expected["scales"].grad is not None
    assert torch.equal(found["scales"].grad, -expected["scales"].grad)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e18])
@pytest.mark.parametrize(("low_pass", "compensate"), [(0.3, False), (0.1, True), (0.0, False), (0.0, True)])
def test_scales_of_zero_and_without_end_give_finite_images(scale: float, low_pass: float, compensate: bool) -> None:
    scene = random_scene(4)
    tracked = with_gradients({**scene, "scales": torch.full_like(scene["scales"], scale)})
    views = render(tracked, low_pass=low_pass, compensate=compensate)
    (views.rgb.sum() + views.alpha.sum() + views.depth.sum()).backward()
    assert views.rgb.isfinite().all()
    assert views.depth.isfinite().all()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in tracked.values())
    if scale < 1:  # the low-pass filter alone draws points; its compensation, or its absence, leaves nothing
        assert bool(views.alpha.any()) == (low_pass > 0 and not compensate)
    else:
        assert views.alpha.min() > 0.5
