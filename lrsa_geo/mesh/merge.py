"""Nodes at one place, cells that are there twice, nodes that hang on an edge."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.cells import cell_dimensions, corner_counts, signed_measures
from lrsa_geo.mesh.collapsed import resolve_collapsed
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.mesh_data import MeshData, positions_of, table_of
from lrsa_geo.mesh.topology import boundary_facets


def groups_of_nodes(pos: np.ndarray, tolerance: float) -> np.ndarray:
    """``[N]``: a number for each node, the same for nodes at most ``tolerance`` apart."""
    pairs = cKDTree(pos).query_pairs(tolerance, output_type="ndarray")
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (len(pos), len(pos)))
    return connected_components(graph, directed=False)[1]


def merge_nodes(data: Data, tolerance: float, where: object = "mesh") -> MeshData:
    """The mesh with nodes at one place made one.

    The first node of each group stays, in the order of the file. Its fields are means over the
    group; whole numbers are those of the first. Cells keep their order.

    Args:
        data: from :func:`read_mesh`.
        tolerance: greatest distance between nodes that are one, in units of ``pos``; 0 for nodes at
            exactly the same place.
        where: name of the mesh for messages.

    Raises:
        MeshError: the tolerance is negative, or joins corners of one cell.
    """
    if not tolerance >= 0:
        raise MeshError(f"{where}: merge_nodes is {tolerance}, expected a distance of 0 or more")
    groups = groups_of_nodes(positions_of(data), tolerance)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(first)
    new = np.empty(len(order), dtype=np.int64)
    new[order] = np.arange(len(order))
    new = new[group]  # old node -> new node
    kept = torch.from_numpy(first[order])
    merged = MeshData(pos=data.pos[kept])
    cells, cell_types = table_of(data, where)
    if len(cells):
        renumbered = np.where(cells >= 0, new[cells], -1).astype(np.int32)
        before, after = (_distinct(table) for table in (cells, renumbered))
        if (after < before).any():
            raise MeshError(
                f"{where}: merging nodes up to {tolerance:g} apart joins nodes of one cell, the"
                f" first is cell {(after < before).argmax()}; choose a smaller tolerance"
            )
        renumbered, cell_types, _ = resolve_collapsed(renumbered, cell_types)
        merged.cells = torch.from_numpy(renumbered)
        merged.cell_types = torch.from_numpy(cell_types)
    index, counts = torch.from_numpy(new), torch.from_numpy(np.bincount(new))
    merged.point_data = {
        name: _mean(values, index, counts) if values.is_floating_point() else values[kept]
        for name, values in data.point_data.items()
    }
    merged.cell_data = data.cell_data
    return merged


def _distinct(cells: np.ndarray) -> np.ndarray:
    """How many different nodes each cell has."""
    in_order = np.sort(cells, axis=1)
    return 1 + (in_order[:, 1:] != in_order[:, :-1]).sum(1) - (in_order[:, 0] < 0)


def _mean(values: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    if len(counts) == len(index):
        return values
    total = torch.zeros(len(counts), *values.shape[1:], dtype=torch.float64)
    total.index_add_(0, index, values.double())
    return (total / counts.reshape(-1, *[1] * (values.dim() - 1))).to(values.dtype)


def repeated_cells(pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """Numbers of the cells whose nodes are all those of an earlier cell, turned the same way.

    A surface in space may have two sides; there, nodes have to come in the same order.
    """
    keys = np.sort(cells, axis=1).astype(np.int64)
    if pos.shape[1] == 3:
        two_sided = cell_dimensions(cell_types) < 3
        keys[two_sided] = cells[two_sided]
    turned = np.sign(signed_measures(pos, cells, cell_types)).astype(np.int64)
    _, first = np.unique(np.column_stack([keys, turned]), axis=0, return_index=True)
    repeated = np.ones(len(cells), dtype=bool)
    repeated[first] = False
    return np.flatnonzero(repeated)


def hanging_nodes(pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """Nodes of the boundary that lie inside an edge of the boundary that they do not belong to.

    Where a mesh is refined on one side only, the edge of the coarse cell has nodes of the fine ones
    on it; both sides count as boundary.
    """
    facets = boundary_facets(cells, cell_types, len(pos))
    corners = facets.corners
    if corners.shape[1] < 2:
        return np.empty(0, dtype=np.int64)
    following = np.roll(corners, -1, axis=1)
    last = np.maximum((corners >= 0).sum(1) - 1, 0)
    following[np.arange(len(corners)), last] = corners[:, 0]
    edges = np.stack([corners, following], 2)[(corners >= 0)]
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    is_corner = np.zeros(len(pos), dtype=bool)  # those of second order belong inside edges
    places = np.arange(cells.shape[1]) < corner_counts(cells, cell_types)[:, None]
    is_corner[cells[places & (cells >= 0)]] = True
    candidates = facets.nodes[is_corner[facets.nodes]]
    tree = cKDTree(pos[candidates])
    start, end = pos[edges[:, 0]], pos[edges[:, 1]]
    length = np.linalg.norm(end - start, axis=1)
    near = tree.query_ball_point((start + end) / 2, 0.51 * length, return_sorted=False)
    edge = np.repeat(np.arange(len(edges)), [len(found) for found in near])
    node = candidates[np.concatenate([np.empty(0, np.int64), *map(np.array, near)]).astype(int)]
    away, along = pos[node] - start[edge], (end - start)[edge]
    share = (away * along).sum(1) / length[edge] ** 2
    off = np.linalg.norm(away - share[:, None] * along, axis=1)
    inside = (share > 1e-3) & (share < 1 - 1e-3) & (off < 1e-6 * length[edge])
    return np.unique(node[inside])
