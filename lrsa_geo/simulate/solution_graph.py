"""How a solver's answer on a mesh becomes a graph, for all recipes alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from lrsa_geo.mesh import DistanceToBoundary, MeshData, NodeMeasure, boundary_facets


def boundary_nodes(cells: np.ndarray, cell_type: int, num_nodes: int) -> np.ndarray:
    """Numbers of the nodes on the boundary of cells of one VTK type."""
    return boundary_facets(cells, np.full(len(cells), cell_type), num_nodes).nodes


def solution_graph(
    points: np.ndarray,
    cells: np.ndarray,
    cell_type: int,
    markers: np.ndarray,
    *,
    inputs: Iterable[np.ndarray] = (),
    near: Iterable[int | None] = (),
    targets: Iterable[np.ndarray],
    cond: Iterable[float] | None = None,
) -> MeshData:
    """A solution as a graph, float32, with the lumped measure of the nodes.

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
        x=torch.cat(x, dim=1).float(),
        y=torch.tensor(np.column_stack(list(targets)), dtype=torch.float32),
        cells=mesh.cells,
        cell_types=mesh.cell_types,
        measure=NodeMeasure()(mesh).measure.float(),
        boundary=mesh.boundary,
    )
    if cond is not None:
        graph.cond = torch.tensor([list(cond)], dtype=torch.float32)
    return graph
