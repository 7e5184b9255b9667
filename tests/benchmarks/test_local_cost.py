"""What message passing adds to the cost of a block, on triangle meshes of 10,000 nodes.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/test_local_cost.py --benchmark-only -s

One thread is timed by the processor's time, which other programs disturb less.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from statistics import median, quantiles

import numpy as np
import torch
from scipy.spatial import Delaunay
from torch_geometric.data import Data
from torch_geometric.utils import segment

from lrsa_geo.mesh import CellsToEdges
from lrsa_geo.nn import EdgeLayout, LocalLayer, LRSABlock, NodeLayout
from lrsa_geo.nn.layout.edges import sum_by_node
from lrsa_geo.study.workload import seconds_of

NODES, CHANNELS = 10_000, 128


def mesh() -> Data:
    pos = np.random.default_rng(0).random((NODES, 2))
    pos = pos[np.lexsort((pos[:, 1], (20 * pos[:, 0]).astype(int)))]  # neighbours near in memory
    cells = torch.from_numpy(Delaunay(pos).simplices.astype(np.int32))
    data = Data(pos=torch.from_numpy(pos).float(), cells=cells)
    data.cell_types = torch.full((len(cells),), 5, dtype=torch.int8)
    return CellsToEdges()(data)


def test_a_block_with_message_passing_against_one_without(benchmark):
    """Forward and backward, in turns; the layouts are made once for all blocks and left out."""
    data = mesh()
    x = torch.randn(NODES, CHANNELS)
    layout = NodeLayout.of(x)
    edges = EdgeLayout(data.edge_index, data.pos)
    blocks = {
        name: LRSABlock(
            CHANNELS, 8, 64, local=None if name == "none" else LocalLayer(name, CHANNELS, 2)
        )
        for name in ("none", "MeshConv", "SAGEConv")
    }
    seconds: dict[str, list[float]] = {name: [] for name in blocks}

    def step(name: str) -> None:
        rows = x.clone().requires_grad_()
        seconds[name].append(
            seconds_of(
                lambda: blocks[name].mix(rows, layout, None, data.pos, edges).sum().backward()
            )
        )

    def round_of_all() -> None:
        for name in blocks:
            step(name)

    round_of_all()
    for times in seconds.values():
        times.clear()
    benchmark.pedantic(round_of_all, rounds=20)
    print(f"\n{NODES:,} nodes, {data.num_edges:,} edges, {CHANNELS} channels, forward + backward")
    for name, times in seconds.items():
        ratios = [t / base for t, base in zip(times, seconds["none"], strict=True)]
        low, middle, high = quantiles(ratios, n=4)
        print(
            f"local {name:9s} {1e3 * median(times):6.1f} ms, {middle:.2f} x the block without"
            f" ({low:.2f} to {high:.2f}; at best {min(times) / min(seconds['none']):.2f})"
        )


def test_the_sum_over_the_edges_of_each_node(benchmark):
    """Ours against ``segment``, which calls torch-scatter where that is installed."""
    data = mesh()
    edges = EdgeLayout(data.edge_index, data.pos)
    messages = torch.randn(data.num_edges, CHANNELS)
    sums = {
        "sum_by_node": lambda: sum_by_node(messages, edges.ptr),
        "segment": lambda: segment(messages, edges.ptr, "sum"),
    }
    torch.testing.assert_close(sums["sum_by_node"](), sums["segment"]())
    seconds: dict[str, list[float]] = {name: [] for name in sums}

    def round_of_both() -> None:
        for name, run in sums.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)

    benchmark.pedantic(round_of_both, rounds=20)
    with_scatter = find_spec("torch_scatter") is not None
    print(f"\nsums of messages, torch-scatter {'present' if with_scatter else 'absent'}")
    for name, times in seconds.items():
        print(f"{name:11s} {1e3 * median(times):6.2f} ms")
