"""Series with a known solution, for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, MeshData


def decaying(seed: int, steps: int = 8, rate: float = 0.3) -> MeshData:
    """u(x, t) = (1 + k.x) exp(-rate t), which halves as often everywhere."""
    draw = torch.Generator().manual_seed(seed)
    nodes = int(torch.randint(20, 40, (), generator=draw))
    pos = torch.rand(nodes, 2, generator=draw)
    slope = torch.randn(2, generator=draw)
    times = torch.arange(steps, dtype=torch.float64) / 2
    states = (1 + pos @ slope)[:, None] * torch.exp(-rate * times.float())
    return MeshData(
        pos=pos,
        states=states[:, :, None],
        times=times,
        boundary=(pos[:, 0] < 0.3).to(torch.int8),
        measure=torch.full((nodes,), 1 / nodes),
    )


def store_of_decays(folder: Path) -> MeshStore:
    """24 of them."""
    return MeshStore.write(folder / "decay.h5", map(decaying, range(24)), {"states": (Field("u"),)})
