"""Averages between the cells and the nodes of a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.cells import cell_dimensions, cell_measures
from lrsa_geo.mesh.checks import check_field
from lrsa_geo.mesh.mesh_data import positions_of, table_of


def cell_to_node(data: Data, values: Tensor) -> Tensor:
    r"""Carry values from cells to nodes, each cell counted by its measure.

    .. math:: v_i = \sum_{c \ni i} m_c v_c \,\big/ \sum_{c \ni i} m_c

    over the cells c at node i that have the highest dimension there (where triangles bound solids,
    the solids). If their measures are all 0 they count alike. A node of no cell gets
    NaN: there is no value.

    Args:
        data: with ``pos [N, D]`` and ``cells [K, V]``.
        values: ``[K]`` or ``[K, C]``.

    Returns:
        ``[N]`` or ``[N, C]``, of the type of ``values`` if it is a float.
    """
    cells, cell_types = table_of(data)
    check_field(Path("data"), "cell", "values", tuple(values.shape), len(cells))
    node, cell = cells[cells >= 0], np.nonzero(cells >= 0)[0]
    num_nodes = len(data.pos)
    dim = cell_dimensions(cell_types)
    highest = np.full(num_nodes, -1)
    np.maximum.at(highest, node, dim[cell])
    kept = dim[cell] == highest[node]
    node, cell = node[kept], cell[kept]
    weight = cell_measures(positions_of(data), cells, cell_types)[cell]
    total = np.bincount(node, weight, num_nodes)
    weight = np.where(total[node] > 0, weight, 1.0)
    total = np.bincount(node, weight, num_nodes)

    dtype = values.dtype if values.is_floating_point() else torch.get_default_dtype()
    share = torch.from_numpy(weight / total[node]).to(values.device)
    share = share.reshape(-1, *[1] * (values.dim() - 1))
    rows = torch.from_numpy(cell).to(values.device)
    out = torch.zeros(num_nodes, *values.shape[1:], dtype=torch.float64, device=values.device)
    index = torch.from_numpy(node).long().to(values.device)
    out.index_add_(0, index, share * values.double()[rows])
    out[torch.from_numpy(highest < 0).to(values.device)] = torch.nan
    return out.to(dtype)


def nodes_without_cells(data: Data) -> Tensor:
    """``[N] bool``: nodes that no cell holds; all of them in a point cloud.

    Of a mesh with polyhedra, which has edges instead of cells, those without an edge.
    """
    held = np.zeros(len(data.pos), dtype=bool)
    cells, _ = table_of(data)
    held[cells[cells >= 0]] = True
    if data.get("cells") is None and data.get("edge_index") is not None:
        held[data.edge_index[0].cpu().numpy()] = True
    return torch.from_numpy(~held)


def node_to_cell(data: Data, values: Tensor) -> Tensor:
    """Carry values from nodes to cells: the mean over the nodes of each cell.

    Args:
        data: with ``pos [N, D]`` and ``cells [K, V]``.
        values: ``[N]`` or ``[N, C]``.

    Returns:
        ``[K]`` or ``[K, C]``, of the type of ``values`` if it is a float.
    """
    check_field(Path("data"), "node", "values", tuple(values.shape), len(data.pos))
    cells = torch.from_numpy(table_of(data)[0]).long().to(values.device)
    there = (cells >= 0).reshape(*cells.shape, *[1] * (values.dim() - 1))
    dtype = values.dtype if values.is_floating_point() else torch.get_default_dtype()
    corners = torch.where(there, values.double()[cells.clamp(min=0)], 0.0)
    return (corners.sum(1) / there.sum(1)).to(dtype)
