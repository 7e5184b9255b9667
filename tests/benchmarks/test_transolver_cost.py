"""Transolver's mixer against the layer as its authors wrote it: equal, and not slower.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/test_transolver_cost.py --benchmark-only -s

prints quartiles of the ratio over interleaved steps, forward and backward; and time and memory of a
training step with LRSA, and with its light variant, over one with the authors' layer, in the same
blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lrsa_geo.nn import NodeLayout, OperatorConfig, PhysicsAttention
from lrsa_geo.study.contenders import DenseMixer
from lrsa_geo.study.workload import Workload, seconds_of


class Original(nn.Module):
    """Physics-Attention for irregular meshes, dense, in the order of operations of the authors."""

    def __init__(self, channels: int, heads: int = 8, slices: int = 64) -> None:
        super().__init__()
        self.heads, width = heads, channels // heads
        self.temperature = nn.Parameter(torch.rand(1, heads, 1, 1) + 0.2)
        self.in_project_x = nn.Linear(channels, channels)
        self.in_project_fx = nn.Linear(channels, channels)
        self.in_project_slice = nn.Linear(width, slices)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        graphs, nodes, channels = x.shape
        per_head = (graphs, nodes, self.heads, -1)
        fx = self.in_project_fx(x).reshape(per_head).permute(0, 2, 1, 3).contiguous()
        x = self.in_project_x(x).reshape(per_head).permute(0, 2, 1, 3).contiguous()
        weights = (self.in_project_slice(x) / self.temperature).softmax(-1)
        norm = weights.sum(2)
        token = torch.einsum("bhnc,bhng->bhgc", fx, weights)
        token = token / (norm + 1e-5)[..., None].repeat(1, 1, 1, fx.shape[-1])
        q, k, v = self.to_q(token), self.to_k(token), self.to_v(token)
        token = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        y = torch.einsum("bhgc,bhng->bhnc", token, weights)
        return self.to_out(y.permute(0, 2, 1, 3).reshape(graphs, nodes, channels))

    @torch.no_grad()
    def ours(self) -> PhysicsAttention:
        """Ours with the same weights."""
        slices, channels = len(self.in_project_slice.weight), self.to_out.in_features
        layer = PhysicsAttention(channels, self.heads, slices).to(self.to_out.weight.dtype)
        parts = {
            layer.to_keys_values: (self.in_project_x, self.in_project_fx),
            layer.to_slices: (self.in_project_slice,),
            layer.to_qkv: (self.to_q, self.to_k, self.to_v),
            layer.reconstruct_out: (self.to_out,),
        }
        for mine, theirs in parts.items():
            mine.weight.copy_(torch.cat([part.weight for part in theirs]))
            if mine.bias is not None:
                mine.bias.copy_(torch.cat([part.bias for part in theirs]))
        layer.temperature.copy_(self.temperature.flatten())
        return layer


def test_the_original_layer_and_its_gradients():
    torch.manual_seed(0)
    original = Original(24, heads=3, slices=7).double()
    layer = original.ours()
    x = torch.randn(3, 40, 24, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    found, expected = (
        (y := of(x), *torch.autograd.grad(y, [x, of.temperature], grad)) for of in (layer, original)
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs.view_as(mine), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("graphs", "nodes"), [(4, 1000), (1, 4000), (1, 16_000)])
def test_a_step_against_the_original(benchmark, graphs, nodes):
    original = Original(128)
    layer, layout = original.ours(), NodeLayout([nodes] * graphs, like=torch.zeros(1))
    dense = torch.randn(graphs, nodes, 128, requires_grad=True)
    packed = dense.detach().flatten(0, 1).requires_grad_()
    grad = torch.randn(graphs * nodes, 128)
    sides = {
        "original": (original, lambda: original(dense).flatten(0, 1), dense),
        "ours": (layer, lambda: layer.mix(packed, layout), packed),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}

    def round_of_both() -> None:
        for name in [*sides] if len(seconds["ours"]) % 2 else reversed(sides):
            module, forward, x = sides[name]
            module.zero_grad()
            x.grad = None
            seconds[name].append(seconds_of(partial(back, forward, grad)))

    round_of_both()
    for times in seconds.values():
        times.clear()
    benchmark.pedantic(round_of_both, rounds=20)
    print(f"\n{graphs} x {nodes:,} nodes, {torch.get_num_threads()} threads: ours", end=" ")
    print(in_words(seconds["ours"], seconds["original"]))


@pytest.mark.parametrize("mixer", ["lrsa", "lrsa_light"])
@pytest.mark.parametrize(
    ("graphs", "nodes"), [(4, 1000), (1, 4000), (1, 16_000), (1, 32_000), (1, 64_000)]
)
def test_a_step_of_lrsa_against_one_with_the_original(benchmark, graphs, nodes, mixer):
    config = OperatorConfig(channels=128, depth=4, heads=8, num_latents=64, ffn_ratio=2.0)
    ours, peer = (Workload(name, [nodes] * graphs, config) for name in (mixer, "transolver"))
    for block in peer.model.blocks:
        block.mixer = DenseMixer(128, Original(128))
    peer.optimizer = torch.optim.AdamW(peer.model.parameters(), fused=True)
    memory = [work.memory("step") for work in (ours, peer)]
    seconds: dict[Workload, list[float]] = {ours: [], peer: []}

    def round_of_both() -> None:
        for work in (ours, peer) if len(seconds[ours]) % 2 else (peer, ours):
            seconds[work].append(seconds_of(work.step))

    benchmark.pedantic(round_of_both, rounds=max(3, min(20, 160_000 // nodes)))
    print(f"\n{graphs} x {nodes:,} nodes, {torch.get_num_threads()} threads: {mixer}", end=" ")
    print(in_words(seconds[ours], seconds[peer]), end="")
    print(f"; memory {memory[0] / 2**20:.0f} MiB, {memory[0] / memory[1]:.2f} x")


def back(forward: Callable[[], Tensor], grad: Tensor) -> None:
    """Forward and backward."""
    forward().backward(grad)


def in_words(seconds: list[float], original: list[float]) -> str:
    """Quartiles of the ratio."""
    ratios = torch.tensor(seconds) / torch.tensor(original)
    low, middle, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return (
        f"{1e3 * min(seconds):.1f} ms at best, {middle:.2f} ({low:.2f} to {high:.2f}) x the"
        f" original; at best {min(seconds) / min(original):.2f}"
    )
