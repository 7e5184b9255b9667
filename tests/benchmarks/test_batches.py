"""What a ragged batch costs over a uniform one with the same number of nodes.

    pytest tests/benchmarks/test_batches.py --benchmark-only -s

prints the machine, the medians of interleaved runs and their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from lrsa_geo.nn import LRSABlock, NodeLayout

CHANNELS, LATENTS, DEPTH = 128, 64, 4


def log_uniform_sizes(num_graphs: int, low: int, high: int) -> list[int]:
    """Sizes at the middle of equal steps of the logarithm, in a fixed mixed order."""
    step = (torch.arange(num_graphs) + 0.5) / num_graphs
    sizes = (low * (high / low) ** step).long()
    return sizes[torch.randperm(num_graphs, generator=torch.Generator().manual_seed(0))].tolist()


BATCHES = {
    "8 graphs, 500 to 8,000 nodes": log_uniform_sizes(8, 500, 8000),
    "16 graphs, 200 to 2,000 nodes": log_uniform_sizes(16, 200, 2000),
    "8 graphs, 900 to 1,100 nodes": log_uniform_sizes(8, 900, 1100),
    "4 graphs, 600 to 1,600 nodes": log_uniform_sizes(4, 600, 1600),
    "64 graphs, 20 to 200 nodes": log_uniform_sizes(64, 20, 200),
}


def step_of(
    sizes: list[int], *, measured: bool = False, padded: bool = False
) -> Callable[[], None]:
    """Forward and backward of a stack of blocks on one batch."""
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(LRSABlock(CHANNELS, 8, LATENTS) for _ in range(DEPTH))
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(batch), CHANNELS)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    dense = torch.zeros(*mask.shape, CHANNELS)
    dense[mask] = x

    def run() -> None:
        if padded:  # what masks everywhere cost: padding is computed with, as passive nodes
            h, weight = dense, mask.float()
            layout = NodeLayout.of(h, measure=weight)
        else:
            h, weight = x, torch.rand(len(x)) if measured else None
            layout = NodeLayout.of(h, batch, measure=weight)
        for block in blocks:
            h = block(h, layout)
        h.square().mean().backward()

    return run


def interleaved_medians(
    steps: dict[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each step, the steps taking turns; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


@pytest.mark.parametrize("name", BATCHES)
def test_ragged_over_uniform(benchmark, name):
    sizes = BATCHES[name]
    total = sum(sizes)
    uniform = [total // len(sizes)] * len(sizes)
    steps = {
        "packed": step_of(sizes),
        "packed, with measure": step_of(sizes, measured=True),
        "uniform": step_of(uniform),
        "padded": step_of(sizes, padded=True),
    }
    seconds = interleaved_medians(steps, 9)
    reference = torch.tensor(seconds["uniform"])
    print(
        f"\n{name} ({total:,} nodes, fill {total / len(sizes) / max(sizes):.2f}),"
        " time over uniform:"
    )
    for case, times in seconds.items():
        ratio = torch.tensor(times) / reference
        print(
            f"  {case:22s} {torch.tensor(times).median() * 1e3:8.1f} ms"
            f"  {ratio.median():.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        )
    benchmark.extra_info |= {"threads": torch.get_num_threads(), "nodes": total}
    benchmark.pedantic(steps["packed"], rounds=3)


def test_layouts_of_many_small_graphs(benchmark):
    """Building the layout is linear in the number of graphs."""
    for num_graphs in (1_000, 4_000, 16_000, 64_000):
        batch = torch.arange(num_graphs).repeat_interleave(20)
        x = torch.zeros(len(batch), 1)
        started = time.perf_counter()
        NodeLayout.of(x, batch)
        print(
            f"\n{num_graphs:6,} graphs of 20 nodes: {time.perf_counter() - started:.4f} s", end=""
        )
    benchmark.pedantic(lambda: NodeLayout.of(x, batch), rounds=3)
