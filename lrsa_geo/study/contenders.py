"""Operators whose cost is compared: with every mixer of ours, and with layers of PyG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt

import torch
from torch import Tensor, nn
from torch_geometric.nn import GPSConv
from torch_geometric.nn.aggr.utils import InducedSetAttentionBlock
from torch_geometric.nn.attention import PerformerAttention
from torch_geometric.utils import to_dense_batch

from lrsa_geo.nn import MIXERS, GeometryOperator, GraphLayout, Mixer, NodeLayout, OperatorConfig

IN_CHANNELS, OUT_CHANNELS, POS_DIM = 3, 1, 2
SPECTRAL_MODES = 12

OF_PYG = {
    "performer": "PyG's PerformerAttention in our block",
    "set_transformer": "PyG's InducedSetAttentionBlock (Set Transformer), M points, in our block",
    "gps": "PyG's GPSConv without a convolution, full attention",
    "gps_performer": "PyG's GPSConv without a convolution, attention of Performer",
}
"""Layers of PyTorch Geometric by name, and what they are."""

CONTENDERS = (*sorted(MIXERS, key=lambda name: name != "lrsa"), *OF_PYG)
"""Names of all that can be compared, LRSA first."""

QUADRATIC = ("full", "gps")
"""Those whose cost grows with the square of the number of nodes."""


class DenseMixer(Mixer):
    """A layer of PyG on dense tensors, ``(x [B, N, C], mask)``, as a mixer of packed rows.

    Args:
        channels: C.
        layer: it; graphs of one size are handed over without copies and without a mask.
    """

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__(channels)
        self.layer = layer

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows ``[R, C]``; it knows no ``modulation``."""
        if len(set(layout.sizes)) == 1:
            y: Tensor = self.layer(rows.unflatten(0, (layout.num_graphs, -1)))
            return y.flatten(0, 1)
        dense, mask = to_dense_batch(
            rows, layout.graph, batch_size=layout.num_graphs, max_num_nodes=max(layout.sizes)
        )
        y = self.layer(dense, mask)
        return y[mask]

    def scale_output(self, factor: float) -> None:
        """Nothing: the layer starts as PyG has it."""


class GPSNetwork(nn.Module):
    """Lift, :class:`torch_geometric.nn.GPSConv` layers without a convolution, project.

    Args:
        config: sizes, of which GPSConv knows ``channels``, ``depth`` and ``heads``.
        attention: "multihead" or "performer".
    """

    def __init__(self, config: OperatorConfig, attention: str) -> None:
        super().__init__()
        ends = GeometryOperator(
            IN_CHANNELS, OUT_CHANNELS, POS_DIM, config=replace(config, mixer="linear", depth=1)
        )
        self.encode, self.lift = ends.encode, ends.lift
        self.norm, self.project = ends.norm, ends.project
        options = {}
        if attention == "performer":
            options = {"head_channels": config.channels // config.heads}
        self.layers = nn.ModuleList(
            GPSConv(config.channels, None, config.heads, attn_type=attention, attn_kwargs=options)
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor, pos: Tensor, layout: GraphLayout) -> Tensor:
        """``[R, 3]`` features and ``[R, 2]`` positions, packed -> ``[R, 1]``."""
        h = self.lift(torch.cat([x, self.encode(pos)], dim=1))
        for layer in self.layers:
            h = layer(h, None, layout.nodes.graph)
        projected: Tensor = self.project(self.norm(h))
        return projected


def make_contender(name: str, config: OperatorConfig, sizes: Sequence[int]) -> nn.Module:
    """An operator ``(x [R, 3], pos [R, 2], layout) -> [R, 1]``.

    Args:
        name: one of :data:`CONTENDERS`.
        config: sizes of the network; its mixer is not read.
        sizes: nodes of the graphs that it will see.
    """
    if name in ("gps", "gps_performer"):
        return GPSNetwork(config, "multihead" if name == "gps" else "performer")
    options: dict[str, object] = {}
    kind: object = name
    if name == "full":
        options = {"max_nodes": max(sizes)}
    elif name == "spectral":
        grid = grid_of(sizes[0])
        options = {"grid": grid, "modes": min(SPECTRAL_MODES, min(grid) // 2)}
    elif name == "performer":
        kind = _performer
    elif name == "set_transformer":
        kind = _set_transformer
    config = replace(config, mixer=kind, mixer_options=options)  # type: ignore[arg-type]
    return GeometryOperator(IN_CHANNELS, OUT_CHANNELS, POS_DIM, config=config)


def why_not(name: str, sizes: Sequence[int], full_nodes: int) -> str:
    """Why an operator is not compared on graphs of these sizes; empty if it is."""
    if name in QUADRATIC and max(sizes) > full_nodes:
        return f"cost grows with the square of the nodes, taken up to {full_nodes:,}"
    if name == "spectral" and len(set(sizes)) > 1:
        return "knows one regular grid, not graphs that differ"
    if name == "spectral" and min(grid_of(sizes[0])) < max(2, isqrt(sizes[0]) // 2):
        return f"knows regular grids alone, and {sizes[0]:,} nodes make none that is near a square"
    return ""


def grid_of(nodes: int) -> tuple[int, int]:
    """Rows and columns of the grid of so many nodes that is nearest to a square."""
    rows = next(rows for rows in range(isqrt(nodes), 0, -1) if nodes % rows == 0)
    return rows, nodes // rows


def _performer(channels: int, heads: int) -> Mixer:
    return DenseMixer(channels, PerformerAttention(channels, heads, channels // heads))


def _set_transformer(channels: int, heads: int, num_latents: int) -> Mixer:
    return DenseMixer(channels, InducedSetAttentionBlock(channels, num_latents, heads))
