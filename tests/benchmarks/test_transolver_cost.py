"""Transolver's mixer against the layer as its authors wrote it: equal, and not slower.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/test_transolver_cost.py --benchmark-only -s

prints quartiles of the ratio over interleaved steps, forward and backward.
"""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from lrsa_geo.nn import NodeLayout, PhysicsAttention


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
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def round_of_both() -> None:
        for name in [*sides] if len(seconds["ours"]) % 2 else reversed(sides):
            module, forward, x = sides[name]
            module.zero_grad()
            x.grad = None
            started = clock()
            forward().backward(grad)
            seconds[name].append(clock() - started)

    round_of_both()
    for times in seconds.values():
        times.clear()
    benchmark.pedantic(round_of_both, rounds=20)
    ratios = torch.tensor(seconds["ours"]) / torch.tensor(seconds["original"])
    low, middle, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    print(
        f"\n{graphs} x {nodes:,} nodes, {torch.get_num_threads()} threads: ours"
        f" {1e3 * min(seconds['ours']):.1f} ms at best, {middle:.2f} ({low:.2f} to {high:.2f}) x"
        f" the original; at best {min(seconds['ours']) / min(seconds['original']):.2f}"
    )
