"""The variation VAE against its equations written out, and its options (Eq. 5-6, Table 2)."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.config.variation_vae import ATTRIBUTES, VariationVaeConfig
from gvf.models.variation.vae import VariationVAE

CONFIG = VariationVaeConfig(
    width=24,
    num_layers=2,
    num_heads=3,
    feed_forward_ratio=4,
    num_latents=6,
    latent_channels=5,
    drop_path=0.1,
    query="motion",
    attributes=ATTRIBUTES,
    num_neighbors=8,
    beta=7.0,
    interpolation="paper",
    position_scale=1.0,
)


def build(config: VariationVaeConfig = CONFIG) -> VariationVAE:
    torch.manual_seed(0)
    vae = VariationVAE(config).eval()
    torch.nn.init.normal_(vae.to_outputs.weight)  # zero at the start
    return vae


@pytest.fixture
def clips() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) - 0.5

    return {
        "query_positions": rand(2, 6, 3),
        "query_displacements": rand(2, 4, 6, 3),
        "points": rand(2, 30, 3),
        "displacements": rand(2, 4, 30, 3),
    }


def norm(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()


def position_encoding(positions: Tensor, width: int) -> Tensor:
    count = width // 6
    angles = positions.double()[..., None] * 10000.0 ** (-torch.arange(count, dtype=torch.float64) / (count / 2))
    return norm(torch.cat((angles.sin(), angles.cos()), -1).flatten(-2).float(), 1e-5)


def attention(state: dict[str, Tensor], name: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
    """One frame: x [N, C], context [M, C], both before their norm."""
    q = norm(x, 1e-6) @ state[f"{name}.fn.to_q.weight"].T
    k, v = (norm(context, 1e-6) @ state[f"{name}.fn.to_kv.weight"].T).chunk(2, -1)
    size = q.shape[-1] // heads
    parts = []
    for h in range(heads):
        group = slice(h * size, (h + 1) * size)
        parts.append(((q[:, group] @ k[:, group].T) * size**-0.5).softmax(-1) @ v[:, group])
    return torch.cat(parts, -1) @ state[f"{name}.fn.to_out.weight"].T + state[f"{name}.fn.to_out.bias"]


def feed_forward(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    hidden = norm(x, 1e-6) @ state[f"{name}.fn.net.0.weight"].T + state[f"{name}.fn.net.0.bias"]
    values, gates = hidden.chunk(2, -1)
    return (values * F.gelu(gates)) @ state[f"{name}.fn.net.2.weight"].T + state[f"{name}.fn.net.2.bias"]


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def test_encoder_is_equation_5(clips: dict[str, Tensor]) -> None:
    vae = build()
    state = vae.state_dict()
    posterior = vae.encode(**clips)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 4, 6, 5)
    b, t = 1, 2
    queries = norm(linear(state, "input_embedding.0", clips["query_displacements"][b, t]), 1e-5)
    queries = queries + position_encoding(clips["query_positions"][b], 24)
    context = norm(linear(state, "input_embedding.0", clips["displacements"][b, t]), 1e-5)
    context = context + position_encoding(clips["points"][b], 24)
    x = attention(state, "cross_attend_blocks.0", queries, context, 3) + queries
    x = feed_forward(state, "cross_attend_blocks.1", x) + x
    torch.testing.assert_close(posterior.mean[b, t], linear(state, "mean_fc", x), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(posterior.logvar[b, t], linear(state, "logvar_fc", x), atol=1e-5, rtol=1e-4)


def test_decoder_is_equation_6() -> None:
    vae = build()
    state = vae.state_dict()
    latents, gaussians = torch.randn(2, 4, 6, 5), torch.randn(2, 11, 14)
    variation = vae.decode(latents, gaussians)
    assert variation.shape == (2, 4, 11, 14)
    b, t = 1, 3
    h = linear(state, "proj", latents[b, t])
    for layer in range(2):
        h = attention(state, f"layers.{layer}.0", h, h, 3) + h
        h = feed_forward(state, f"layers.{layer}.1", h) + h
    queries = norm(linear(state, "gs_embedding.0", gaussians[b]), 1e-5) + position_encoding(gaussians[b, :, :3], 24)
    expected = linear(state, "to_outputs", attention(state, "decoder_cross_attn", queries, h, 3))
    torch.testing.assert_close(variation[b, t], expected, atol=1e-5, rtol=1e-4)


def test_chunks_and_order_of_queries_change_nothing() -> None:
    vae = build()
    latents, gaussians = torch.randn(1, 3, 6, 5), torch.randn(1, 20, 14)
    whole = vae.decode(latents, gaussians)
    with torch.no_grad():
        chunked = vae.decode(latents, gaussians, chunk=7)
        backwards = vae.decode(latents, gaussians.flip(1))
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backwards.flip(2), whole, atol=1e-5, rtol=1e-4)


def test_a_new_model_moves_nothing_and_learns_through_all_its_parts(clips: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    vae = VariationVAE(CONFIG)
    gaussians = torch.randn(2, 11, 14)
    assert vae.decode(vae.encode(**clips).mean, gaussians).abs().max() == 0
    torch.nn.init.normal_(vae.to_outputs.weight)
    posterior = vae.encode(**clips)
    variation = vae.decode(posterior.sample(), gaussians)
    (variation.square().mean() + posterior.logvar.mean()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in vae.parameters())


def test_query_type_position_ignores_the_interpolated_motion(clips: dict[str, Tensor]) -> None:
    changed = {**clips, "query_displacements": torch.zeros_like(clips["query_displacements"])}
    motion, position = build(), build(replace(CONFIG, query="position"))
    assert not torch.allclose(motion.encode(**clips).mean, motion.encode(**changed).mean)
    torch.testing.assert_close(position.encode(**clips).mean, position.encode(**changed).mean)


def test_attributes_that_do_not_vary_stay_zero() -> None:
    vae = build(replace(CONFIG, attributes=("means", "scales", "quats")))
    variation = vae.decode(torch.randn(1, 2, 6, 5), torch.randn(1, 9, 14))
    assert (variation[..., :10] != 0).all()
    assert (variation[..., 10:] == 0).all()


def test_drop_path_drops_whole_frames_in_training_only() -> None:
    vae = build(replace(CONFIG, drop_path=0.5))
    latents, gaussians = torch.randn(1, 1, 6, 5).expand(1, 200, 6, 5), torch.randn(1, 3, 14)
    same = vae.decode(latents, gaussians)[0]
    torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-4, atol=1e-4)
    vae.train()
    torch.manual_seed(0)
    varied = vae.decode(latents, gaussians)[0].flatten(1)
    apart = torch.cdist(varied, varied) > 1e-2 * varied.norm(dim=1).mean()
    assert len(apart.unique(dim=0)) > 8  # of 2^4 combinations of four sublayers


def test_the_sample_of_the_posterior_has_its_moments(clips: dict[str, Tensor]) -> None:
    posterior = build().encode(**clips)
    generator = torch.Generator().manual_seed(0)
    samples = torch.stack([posterior.sample(generator) for _ in range(2000)])
    torch.testing.assert_close(samples.mean(0), posterior.mean, atol=0.15, rtol=0.1)
    torch.testing.assert_close(samples.std(0), (0.5 * posterior.logvar).exp(), atol=0.1, rtol=0.1)


def test_bfloat16_is_close_to_float32(clips: dict[str, Tensor]) -> None:
    vae = build()
    gaussians = torch.randn(2, 11, 14)
    expected = vae.decode(vae.encode(**clips).mean, gaussians)
    with torch.autocast("cpu", torch.bfloat16):
        mean = vae.encode(**clips).mean
        result = vae.decode(mean, gaussians)
    assert mean.dtype == result.dtype == torch.float32
    assert (result - expected).norm() / expected.norm() < 0.03
