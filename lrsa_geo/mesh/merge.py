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
    """``[N]``: a number for each node, the same for nodes at most ``tolerance`` apart.

    Groups are numbered in the order of their first nodes. Pairs are looked for between places, not
    nodes: of n nodes at one place there would be n^2.
    """
    places, place = np.unique(pos, axis=0, return_inverse=True)
    pairs = cKDTree(places).query_pairs(tolerance, output_type="ndarray")
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (len(places), len(places)))
    groups = connected_components(graph, directed=False)[1][place.reshape(-1)]
    _, first, groups = np.unique(groups, return_index=True, return_inverse=True)
    return first.argsort().argsort()[groups.reshape(-1)]


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
        MeshError: the tolerance is negative, joins corners of one cell, or there are polyhedra.
    """
    if not tolerance >= 0:
        raise MeshError(f"{where}: merge_nodes is {tolerance}, expected a distance of 0 or more")
    if data.get("edge_index") is not None and data.get("cells") is None:
        raise MeshError(
            f"{where}: nodes of a mesh with polyhedra are not merged; do it before (ParaView: Clean"
            " to Grid; OpenFOAM: stitchMesh), or do without --merge-nodes"
        )
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
    """Nodes of the boundary inside an edge or face of the boundary that they do not belong to.

    Where a mesh is refined on one side only, the edges and faces of the coarse cell have nodes of
    the fine ones on them; both sides count as boundary.
    """
    facets = boundary_facets(cells, cell_types, len(pos))
    corners = facets.corners
    if corners.shape[1] < 2:
        return np.empty(0, dtype=np.int64)
    following = np.roll(corners, -1, axis=1)
    last = np.maximum((corners >= 0).sum(1) - 1, 0)
    following[np.arange(len(corners)), last] = corners[:, 0]
    is_corner = np.zeros(len(pos), dtype=bool)  # those of second order belong inside edges
    places = np.arange(cells.shape[1]) < corner_counts(cells, cell_types)[:, None]
    is_corner[cells[places & (cells >= 0)]] = True
    candidates = facets.nodes[is_corner[facets.nodes]]
    edges = np.stack([corners, following], 2)[(corners >= 0)]
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    found = [_inside_edges(pos, candidates, edges[edges[:, 0] != edges[:, 1]])]
    if corners.shape[1] > 2:
        found += [
            _inside_faces(pos, candidates, corners[last == width - 1, :width])
            for width in range(3, corners.shape[1] + 1)
        ]
    return np.unique(np.concatenate(found))


_NEAR = 1e-6  # of the length of an edge: a node nearer than that lies on it
_AWAY = 1e-3  # the same from its ends


def _inside_edges(pos: np.ndarray, candidates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Which of the candidates lie inside an edge ``[E, 2]``."""
    start, end = pos[edges[:, 0]], pos[edges[:, 1]]
    length = np.linalg.norm(end - start, axis=1)
    edge, node = _pairs(pos, candidates, (start + end) / 2, 0.51 * length)
    away, along = pos[node] - start[edge], (end - start)[edge]
    share = (away * along).sum(1) / length[edge] ** 2
    off = np.linalg.norm(away - share[:, None] * along, axis=1)
    return node[(share > _AWAY) & (share < 1 - _AWAY) & (off < _NEAR * length[edge])]


def _inside_faces(pos: np.ndarray, candidates: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Which of the candidates lie inside a flat convex polygon ``[F, W]``, off its edges."""
    outline = pos[faces]
    middle = outline.mean(1)
    radius = np.linalg.norm(outline - middle[:, None], axis=2).max(1, initial=0)
    following = np.roll(outline, -1, axis=1)
    normal = np.cross(outline - middle[:, None], following - middle[:, None]).sum(1)
    area = np.linalg.norm(normal, axis=1, keepdims=True)  # twice the area
    normal = np.divide(normal, area, out=np.zeros_like(normal), where=area > 0)
    face, node = _pairs(pos, candidates, middle, radius)
    away = pos[node][:, None] - outline[face]
    off = np.abs((away * normal[face][:, None]).sum(2)).max(1, initial=0)
    left = (np.cross((following - outline)[face], away) * normal[face][:, None]).sum(2)
    inside = (left > _AWAY * area[face]).all(1)
    return node[inside & (off < _NEAR * radius[face])]


def _pairs(
    pos: np.ndarray, candidates: np.ndarray, middles: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of middles, and the candidates within their radii, as two columns."""
    near = cKDTree(pos[candidates]).query_ball_point(middles, radii, return_sorted=False)
    number = np.repeat(np.arange(len(middles)), [len(found) for found in near])
    places = np.concatenate([np.empty(0, np.int64), *map(np.array, near)]).astype(int)
    return number, candidates[places]
