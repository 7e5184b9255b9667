"""Graphs that are regular grids: what layers that know no other meshes ask of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lrsa_geo.nn.layout import NodeLayout


def check_grid(grid: Sequence[int]) -> tuple[int, ...]:
    """The points along each axis.

    Raises:
        ValueError: there is no axis, or one without points.
    """
    if not grid:
        raise ValueError(
            "`grid` is empty, expected the points along each axis, such as [43, 43]; the options of"
            " the mixer or of the local layer say it"
        )
    if min(grid) < 1:
        raise ValueError(f"`grid` is {list(grid)}, expected at least one point along each axis")
    return tuple(grid)


def check_on_grid(layout: NodeLayout, grid: Sequence[int], layer: str) -> None:
    """Refuse graphs that have not as many nodes as a grid, and passive nodes.

    Raises:
        ValueError: naming them.
    """
    nodes = math.prod(grid)
    others = [size for size in layout.sizes if size != nodes]
    if others:
        raise ValueError(
            f"a graph has {others[0]:,} nodes, expected the {nodes:,} of the regular grid"
            f" {list(grid)}; {layer} knows no other meshes"
        )
    measure = layout.measure
    if measure is not None and bool((measure <= 0).any()):
        raise ValueError(
            f"a node has no measure, and a regular grid has none that is passive; {layer} cannot"
            " predict at other points"
        )
