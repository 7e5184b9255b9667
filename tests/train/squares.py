"""Meshes of squares with all that a steady model can read, which several tests share."""

from __future__ import annotations

import torch

from lrsa_geo.mesh import Field, MeshData

FIELDS = {"x": (Field("load"),), "y": (Field("u", "m", ("x", "y")),), "cond": (Field("mach"),)}


def square(side: int, mach: float = 0.4) -> MeshData:
    """``side`` times ``side`` nodes, and their cells."""
    axis = torch.linspace(0, 1, side)
    pos = torch.cartesian_prod(axis, axis)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1, 1)
    return MeshData(
        pos=pos,
        x=pos.sum(1, keepdim=True),
        y=pos.sin(),
        cond=torch.tensor([[mach]]),
        measure=torch.rand(len(pos), generator=torch.Generator().manual_seed(side)),
        boundary=(pos[:, 0] == 0).to(torch.int8),
        cells=(corner + torch.tensor([0, side, side + 1, 1])).int(),
        cell_types=torch.full((len(corner),), 9, dtype=torch.int8),
    )
