"""The diffusion transformer against its block written out, and what its conditions may and may not do."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.config.variation_dit import VariationDitConfig
from gvf.models.variation.dit import VariationDiT, VideoCondition

CONFIG = VariationDitConfig(
    width=24,
    num_layers=2,
    num_heads=3,
    feed_forward_ratio=4,
    image_condition="tokens",
    image_channels=10,
    aligned_features=("values",),
    aligned_channels=11,
    num_static=9,
    position_embedding=True,
    position_scale=1.0,
)
B, T, L, C, K, S = 2, 4, 6, 5, 7, 9


def build(config: VariationDitConfig = CONFIG) -> VariationDiT:
    torch.manual_seed(0)
    dit = VariationDiT(config, latent_channels=C)
    for parameter in dit.parameters():  # nothing zero, nothing one
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return dit


@pytest.fixture
def inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "noised": (B, T, L, C),
        "static_gaussians": (B, S, 14),
        "positions": (B, L, 3),
    }
    values = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tokens, aligned = (torch.randn(shape, generator=generator) for shape in ((B, T, K, 10), (B, T, L, 11)))
    return {**values, "video": VideoCondition(tokens, aligned), "timesteps": torch.tensor([3.0, 871.5])}


class Reference:
    """The same network for one sample, from its state dict and plain formulas."""

    def __init__(self, dit: VariationDiT) -> None:
        self.state, self.config = dit.state_dict(), dit.config

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, name: str, qk_norm: bool) -> Tensor:
        parts = []
        for h in range(self.config.num_heads):
            group = slice(8 * h, 8 * h + 8)
            qh, kh = q[:, group], k[:, group]
            if qk_norm:
                gains = (self.state[f"{name}.{part}_rms_norm.gamma"][h] for part in "qk")
                qh, kh = (x / x.norm(dim=-1, keepdim=True) * math.sqrt(8) * g for x, g in zip((qh, kh), gains))
            parts.append((qh @ kh.T / math.sqrt(8)).softmax(-1) @ v[:, group])
        return self.linear(f"{name}.to_out", torch.cat(parts, -1))

    def self_attention(self, name: str, x: Tensor) -> Tensor:
        q, k, v = self.linear(f"{name}.to_qkv", x).chunk(3, -1)
        return self.attend(q, k, v, name, qk_norm=True)

    def cross_attention(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        k, v = self.linear(f"{name}.to_kv", context).chunk(2, -1)
        return self.attend(self.linear(f"{name}.to_q", x), k, v, name, qk_norm=False)

    def __call__(
        self, noised: Tensor, timestep: float, tokens: Tensor, aligned: Tensor, static: Tensor, positions: Tensor
    ) -> Tensor:
        """noised: [T, L, C]; tokens: [T, K, 10]; aligned: [T, L, 11]; static: [S, 14]; positions: [L, 3]."""
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        time = self.linear("t_embedder.mlp.0", torch.cat((angles.cos(), angles.sin())))
        time = F.silu(self.linear("t_embedder.mlp.2", F.silu(time)))
        waves = positions[:, :, None] * 10000.0 ** (-torch.arange(4) / 4)
        x = self.linear("input_layer", noised) + torch.cat((waves.sin(), waves.cos()), -1).flatten(-2)
        static = self.linear("static_cond_proj", static)
        if self.config.image_condition != "tokens":
            hidden = F.gelu(self.linear("aligned_cond_proj.0", aligned), approximate="tanh")
            x = x + self.linear("aligned_cond_proj.2", hidden)
        if self.config.image_condition != "pixel_aligned":
            tokens = self.linear("image_cond_proj", tokens)
        for block in (f"blocks.{index}" for index in range(self.config.num_layers)):
            shift1, scale1, gate1, shift5, scale5, gate5 = self.linear(f"{block}.adaLN_modulation.1", time).chunk(6)
            shift2, scale2, gate2 = self.linear(f"{block}.adaLN_modulation_temporal.1", time).chunk(3)
            y = self.norm(x) * (1 + scale1) + shift1
            x = x + gate1 * torch.stack([self.self_attention(f"{block}.spatial_self_attn", frame) for frame in y])
            y = self.norm(x) * (1 + scale2) + shift2
            tracks = [self.self_attention(f"{block}.temporal_self_attn", y[:, index]) for index in range(L)]
            x = x + gate2 * torch.stack(tracks, 1)
            if self.config.image_condition != "pixel_aligned":
                y = self.norm(x) * self.state[f"{block}.norm3.weight"] + self.state[f"{block}.norm3.bias"]
                x = x + torch.stack(
                    [self.cross_attention(f"{block}.image_cross_attn", y[t], tokens[t]) for t in range(len(y))]
                )
            y = self.norm(x) * self.state[f"{block}.norm4.weight"] + self.state[f"{block}.norm4.bias"]
            x = x + torch.stack([self.cross_attention(f"{block}.static_cross_attn", frame, static) for frame in y])
            y = self.linear(f"{block}.mlp.mlp.0", self.norm(x) * (1 + scale5) + shift5)
            x = x + gate5 * self.linear(f"{block}.mlp.mlp.2", F.gelu(y, approximate="tanh"))
        shift, scale = self.linear("final_layer.adaLN_modulation.1", time).chunk(2)
        return self.linear("final_layer.linear", self.norm(x) * (1 + scale) + shift)


@pytest.mark.parametrize("image_condition", ["tokens", "pixel_aligned", "both"])
def test_the_network_is_its_formulas(inputs: dict[str, Any], image_condition: Any) -> None:
    dit = build(replace(CONFIG, image_condition=image_condition))
    velocity = dit(**inputs)
    reference = Reference(dit)
    for b in range(B):
        video, rest = inputs["video"], (inputs["static_gaussians"][b], inputs["positions"][b])
        expected = reference(
            inputs["noised"][b], float(inputs["timesteps"][b]), video.tokens[b], video.aligned[b], *rest
        )
        torch.testing.assert_close(velocity[b], expected, atol=2e-4, rtol=1e-3)


def test_prepared_conditions_serve_any_number_of_steps(inputs: dict[str, Any]) -> None:
    dit = build()
    projections: list[int] = []
    for name, module in dit.named_modules():
        if name.endswith("to_kv") or name.endswith("cond_proj"):
            module.register_forward_hook(lambda *_: projections.append(1))
    conditions = dit.prepare_conditions(inputs["video"], inputs["static_gaussians"], inputs["positions"])
    assert len(projections) == 2 + 2 * CONFIG.num_layers
    for timestep in (999.0, 12.0):
        timesteps = torch.full((B,), timestep)
        expected = dit(**{**inputs, "timesteps": timesteps})
        projections.clear()
        torch.testing.assert_close(dit.denoise(inputs["noised"], timesteps, conditions), expected)
        assert not projections


def test_a_new_network_predicts_zero() -> None:
    torch.manual_seed(0)
    dit = VariationDiT(CONFIG, latent_channels=C)
    assert dit.state_dict()["blocks.0.adaLN_modulation_temporal.1.weight"].abs().sum() > 0  # as in the release
    out = dit(
        torch.randn(1, 2, L, C),
        torch.tensor([5]),
        VideoCondition(torch.randn(1, 2, K, 10)),
        torch.randn(1, S, 14),
        torch.randn(1, L, 3),
    )
    assert out.abs().max() == 0


def test_frames_differ_only_through_their_images(inputs: dict[str, Any]) -> None:
    dit = build()
    order = torch.tensor([2, 0, 3, 1])
    video = inputs["video"].map(lambda frames: frames[:, order])
    turned = {**inputs, "noised": inputs["noised"][:, order], "video": video}
    torch.testing.assert_close(dit(**turned), dit(**inputs)[:, order], atol=1e-5, rtol=1e-4)


def test_without_the_positional_prior_positions_do_nothing(inputs: dict[str, Any]) -> None:
    elsewhere = {**inputs, "positions": inputs["positions"] + 1.0}
    dit, blind = build(), build(replace(CONFIG, position_embedding=False))
    assert (dit(**inputs) - dit(**elsewhere)).abs().max() > 1e-3
    torch.testing.assert_close(blind(**inputs), blind(**elsewhere))
    assert dit.state_dict().keys() == blind.state_dict().keys()


def test_bfloat16_is_close_to_float32(inputs: dict[str, Any]) -> None:
    dit = build()
    expected = dit(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        result = dit(**inputs)
    assert result.dtype == torch.float32
    assert (result - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize(
    ("image_condition", "sees"),
    [("tokens", {"tokens"}), ("pixel_aligned", {"aligned"}), ("both", {"tokens", "aligned"})],
)
def test_the_velocity_depends_on_what_the_network_sees_and_on_nothing_else(
    inputs: dict[str, Any], image_condition: Any, sees: set[str]
) -> None:
    dit = build(replace(CONFIG, image_condition=image_condition))
    video = inputs["video"].map(lambda values: values.clone().requires_grad_())
    dit(**{**inputs, "video": video}).square().sum().backward()
    for name, values in vars(video).items():
        assert (values.grad is not None and bool((values.grad.abs().amax(-1) > 0).all())) == (name in sees), name
    assert all(parameter.grad.abs().sum() > 0 for parameter in dit.parameters())
    only = VideoCondition(**{name: value for name, value in vars(inputs["video"]).items() if name in sees})
    torch.testing.assert_close(dit(**{**inputs, "video": only}), dit(**inputs))
    with pytest.raises(ValueError, match=image_condition):
        dit(**{**inputs, "video": VideoCondition()})


def test_a_network_has_no_parameters_for_what_it_does_not_see() -> None:
    names = {
        condition: build(replace(CONFIG, image_condition=condition)).state_dict().keys()
        for condition in ("tokens", "pixel_aligned", "both")
    }
    assert names["both"] - names["tokens"] == {
        f"aligned_cond_proj.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")
    }
    assert {name.split(".")[-3 if "attn" in name else -2] for name in names["both"] - names["pixel_aligned"]} == {
        "image_cond_proj", "image_cross_attn", "norm3"
    }  # fmt: skip
    assert names["tokens"] | names["pixel_aligned"] == names["both"]


def test_networks_stored_before_there_was_a_choice_see_tokens() -> None:
    sizes = {name: value for name, value in build().sizes().items() if not name.startswith("aligned")}
    del sizes["image_condition"]
    assert VariationDiT.from_sizes(sizes).config.image_condition == "tokens"


def test_single_videos_are_stacked(inputs: dict[str, Any]) -> None:
    video = inputs["video"]
    parts = [video.map(lambda values, b=b: values[b]) for b in range(B)]
    again = VideoCondition.stack(parts)
    assert torch.equal(again.tokens, video.tokens)
    assert torch.equal(again.aligned, video.aligned)
    assert VideoCondition.stack([VideoCondition(aligned=part.aligned) for part in parts]).tokens is None
