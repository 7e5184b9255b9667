"""Series with a known solution, for tests."""

from __future__ import annotations

import torch

from lrsa_geo.mesh import MeshData


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
