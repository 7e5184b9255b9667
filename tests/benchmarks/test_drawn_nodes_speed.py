"""A training step on nodes drawn from a mesh of a million nodes on disk, over one on a small mesh.

    pytest tests/benchmarks/test_drawn_nodes_speed.py --benchmark-only -s

The small mesh has as many nodes as are drawn, and is kept in memory; the large one is read anew in
each step. One thread, steps in turns, reading included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, MeshData, grid_positions
from lrsa_geo.train import DataConfig, ModelConfig, SplitConfig, TrainConfig, assemble

SIDE, DRAWN = 1000, 4096


def grid(side: int) -> MeshData:
    """Triangles on a square."""
    node = torch.arange(side * side, dtype=torch.int32).reshape(side, side)
    a, b, c, d = (
        n.reshape(-1) for n in (node[:-1, :-1], node[1:, :-1], node[1:, 1:], node[:-1, 1:])
    )
    cells = torch.cat([torch.stack([a, b, c], dim=1), torch.stack([a, c, d], dim=1)])
    pos = grid_positions(side, side)
    return MeshData(
        pos=pos,
        x=pos.sum(1, keepdim=True),
        y=pos.prod(1, keepdim=True),
        cells=cells,
        cell_types=torch.full((len(cells),), 5, dtype=torch.int8),
    )


def step_of(path: Path, local: bool, **data: Any) -> Callable[[], None]:
    """A step of training, batches from the loader."""
    model = ModelConfig(128, 4, 8, 64, use_measure=False)
    if local:
        model.local, model.local_blocks = "MeshConv", [0, -1]
    config = TrainConfig(
        data=DataConfig(str(path), split=SplitConfig(1, 0, 0), batch_size=1, **data), model=model
    )
    parts = assemble(config, MeshStore(path))
    optimizer, loader = parts.module.new_optimizer(), parts.loaders.train_dataloader()

    def step() -> None:
        for batch in loader:
            optimizer.zero_grad()
            parts.module.loss(batch).backward()
            optimizer.step()

    return step


def test_drawn_over_small(tmp_path: Path, benchmark: Any) -> None:
    torch.set_num_threads(1)
    fields = {"x": (Field("load"),), "y": (Field("u"),)}
    small = MeshStore.write(tmp_path / "small.h5", [grid(64)], fields).path
    large = MeshStore.write(tmp_path / "large.h5", [grid(SIDE)], fields).path
    drawn: dict[str, Any] = {"nodes_per_graph": DRAWN, "in_memory": False}
    sides = {
        "small mesh": step_of(small, local=False),
        "drawn nodes": step_of(large, local=False, **drawn),
        "small mesh, message passing": step_of(small, local=True),
        "patches of 64, message passing": step_of(large, local=True, patch=64, **drawn),
        "patches of 512, message passing": step_of(large, local=True, patch=512, **drawn),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(8):
        for name, side in sides.items():
            started = time.process_time()
            side()
            seconds[name].append(time.process_time() - started)
    for name, each in seconds.items():
        rest = each[1:]  # the first one looks for the neighbours
        print(
            f"\n{name}: {1e3 * statistics.median(rest):.0f} ms, first {1e3 * each[0]:.0f}", end=""
        )
    benchmark.pedantic(sides["drawn nodes"], rounds=1)
