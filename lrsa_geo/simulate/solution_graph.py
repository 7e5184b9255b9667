"""How a solver's answer on a mesh becomes a graph, for all recipes alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lrsa_geo.mesh import DistanceToBoundary, MeshData, NodeMeasure, boundary_facets


def boundary_nodes(cells: np.ndarray, cell_type: int, num_nodes: int) -> np.ndarray:
    """Numbers of the nodes on the boundary of cells of one VTK type."""
    return boundary_facets(cells, np.full(len(cells), cell_type), num_nodes).nodes


@dataclass(frozen=True)
class Series:
    """Fields of the nodes at several times.

    Args:
        times: ``[T]``, ascending.
        fields: each ``[T, N]`` or ``[T, N, components]``.
    """

    times: np.ndarray
    fields: Sequence[np.ndarray]

    def states(self) -> torch.Tensor:
        """``[N, T, K]`` in float32, the fields' columns side by side."""
        columns = [field.reshape(*field.shape[:2], -1) for field in self.fields]
        states = np.concatenate(columns, axis=2).transpose(1, 0, 2)
        return torch.tensor(np.ascontiguousarray(states), dtype=torch.float32)


def solution_graph(
    points: np.ndarray,
    cells: np.ndarray,
    cell_type: int,
    markers: np.ndarray,
    *,
    inputs: Iterable[np.ndarray] = (),
    near: Iterable[int | None] = (),
    targets: Iterable[np.ndarray] = (),
    cond: Iterable[float] | None = None,
    series: Series | None = None,
) -> MeshData:
    """A solution as a graph, float32, with the lumped measure of the nodes.

    It has targets or a series.

    Args:
        points: ``[N, D]``.
        cells: ``[K, corners]``.
        cell_type: VTK's number of all of them.
        markers: ``[N] int8``, the graph's ``boundary``.
        inputs: first columns of ``x``, each ``[N]``.
        near: parts of the boundary by their markers, None for all of it; ``x`` has the distance and
            the vector to each, see :class:`DistanceToBoundary`.
        targets: columns of ``y``, each ``[N]`` or ``[N, components]``.
        cond: the graph's parameters, if it has any.
        series: what the nodes went through, the graph's ``states`` and ``times``.
    """
    mesh = MeshData(
        pos=torch.from_numpy(points),
        cells=torch.tensor(cells, dtype=torch.int32),
        cell_types=torch.full((len(cells),), cell_type, dtype=torch.int8),
        boundary=torch.from_numpy(markers),
    )
    x = [torch.from_numpy(values)[:, None] for values in inputs]
    for marker in near:
        found = DistanceToBoundary(marker)(mesh)
        x += [found.boundary_distance[:, None], found.boundary_offset]
    graph = MeshData(
        pos=mesh.pos.float(),
        cells=mesh.cells,
        cell_types=mesh.cell_types,
        measure=NodeMeasure()(mesh).measure.float(),
        boundary=mesh.boundary,
    )
    if x:
        graph.x = torch.cat(x, dim=1).float()
    if targets := list(targets):
        graph.y = torch.tensor(np.column_stack(targets), dtype=torch.float32)
    if series is not None:
        graph.states, graph.times = series.states(), torch.tensor(series.times).double()
    if cond is not None:
        graph.cond = torch.tensor([list(cond)], dtype=torch.float32)
    return graph
