"""PyG transforms of one mesh or point cloud: edges, and the measure of its nodes.

All are ``torch_geometric.transforms.BaseTransform``: they return a changed copy of a graph, or of a
batch of graphs, and go together in ``Compose``. N nodes, E edges, K cells, D dimensions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.cells import (
    QUAD,
    cell_dimensions,
    cell_measures,
    corner_counts,
    shape_groups,
)
from lrsa_geo.mesh.graph_by_graph import MeshTransform
from lrsa_geo.mesh.mesh_data import positions_of, table_of
from lrsa_geo.mesh.topology import mesh_edges


class CellsToEdges(MeshTransform):
    """The edges of all cells as ``edge_index [2, E]``, both directions, sorted by target.

    Works for every cell type that :func:`read_mesh` knows. A node inside an edge splits it, a node
    inside a facet or a cell is joined to the corners around it. O(K log K).

    Raises:
        ValueError: the graph has no cells.
    """

    def forward(self, data: Data) -> Data:
        """Set ``edge_index``."""
        cells, cell_types = table_of(data)
        if not len(cells):
            raise ValueError("the graph has no `cells`; use KNNEdges or RadiusEdges")
        pairs = mesh_edges(cells, cell_types, len(data.pos))
        data.edge_index = both_directions(pairs, len(data.pos))
        return data


class KNNEdges(MeshTransform):
    """Edges to every node from its ``k`` nearest others, sorted by target. O(N log N).

    Args:
        k: neighbours; a graph of fewer nodes uses all.
    """

    def __init__(self, k: int = 6) -> None:
        if k < 1:
            raise ValueError(f"`k` is {k}, expected at least 1")
        self.k = k

    def forward(self, data: Data) -> Data:
        """Set ``edge_index``."""
        _, source = _neighbours(positions_of(data), self.k)
        target = np.repeat(np.arange(len(source)), source.shape[1])
        data.edge_index = torch.from_numpy(np.stack([source.reshape(-1), target]))
        return data


class RadiusEdges(MeshTransform):
    """Edges between all nodes at most ``radius`` apart, sorted by target. O(N log N + E log E).

    Args:
        radius: in the unit of ``pos``.
        max_edges: refuse to make more, which is more likely a radius in the wrong unit.

    Raises:
        ValueError: there would be more than ``max_edges``.
    """

    def __init__(self, radius: float, max_edges: int = 100_000_000) -> None:
        if not radius > 0:
            raise ValueError(f"`radius` is {radius}, expected more than 0")
        self.radius = radius
        self.max_edges = max_edges

    def forward(self, data: Data) -> Data:
        """Set ``edge_index``."""
        pos = positions_of(data)
        tree = cKDTree(pos, balanced_tree=False)
        probe = pos[:: max(1, len(pos) // 1000)]
        found = tree.query_ball_point(probe, self.radius, return_length=True)
        num_edges = len(pos) * (float(np.mean(found)) - 1)
        if num_edges > self.max_edges:
            raise ValueError(
                f"a radius of {self.radius} makes about {num_edges:,.0f} edges between"
                f" {len(pos):,} nodes, expected at most {self.max_edges:,}; lower `radius` or raise"
                " `max_edges`"
            )
        # Nodes in the order of the tree: neighbours after each other, out of the cache.
        order = tree.indices
        pairs = cKDTree(pos[order]).query_pairs(self.radius, output_type="ndarray")
        data.edge_index = both_directions(order[pairs], len(pos))
        return data


def with_edges(data: Data, k: int = 6) -> Data:
    """The graph itself if it has edges, else a copy with those of its cells, or of its neighbours.

    Args:
        data: graph, or a batch of graphs, each of which gets its own edges.
        k: nearest neighbours in a graph without cells, see :class:`KNNEdges`.
    """
    if data.get("edge_index") is not None:
        return data
    return (KNNEdges(k) if data.get("cells") is None else CellsToEdges())(data)


class EdgeGeometry(MeshTransform):
    r"""Offset and length of each edge, seen from its target, ``edge_attr [E, D + 1]``. O(E).

    .. math:: e_{ji} = (p_j - p_i, \; |p_j - p_i|)

    for an edge from node j to node i. It does not change when the graph moves.

    Raises:
        ValueError: the graph has no ``edge_index``.
    """

    def forward(self, data: Data) -> Data:
        """Set ``edge_attr``."""
        if data.get("edge_index") is None:
            raise ValueError("the graph has no `edge_index`; apply CellsToEdges or KNNEdges first")
        source, target = data.edge_index
        offset = data.pos[source] - data.pos[target]
        data.edge_attr = torch.cat([offset, offset.norm(dim=1, keepdim=True)], dim=1)
        return data


class NodeMeasure(MeshTransform):
    r"""Length, area or volume around each node, ``measure [N]``; O(K) or O(N log N).

    With cells, over the cells c at node i that have the mesh's highest dimension d:

    .. math:: w_i = \sum_{c \ni i} s_{ci} |c|, \qquad \sum_{i \in c} s_{ci} = 1, \qquad
        \sum_i w_i = |\Omega|

    A cell of V corners gives each an equal share :math:`s = 1/V` (on simplices the integral of the
    node's hat function), a quadrilateral the integral of its bilinear function. In cells of second
    order corners get :math:`2^{-d} / V` and the other nodes the rest evenly, which is what
    linear cells between the same nodes would give. Nodes of no such cell get 0.

    A point cloud gets the estimate :math:`w_i = V_d r_i^d / (k + 1/2)`, with :math:`r_i` the
    distance to the k-th neighbour (which lies half in the ball) and :math:`V_d` the volume of the
    unit ball. On the nodes of Elasticity's meshes, up to a common factor, it is within 7 % of the
    exact measure at the median node inside and within 40 % at 95 % of them; at the rim, where half
    of the ball is empty, it is 2.7 times too large (``tests/mesh/test_transforms.py``).

    Args:
        k: neighbours for point clouds.
        dim: d of a point cloud, such as 2 for points on a surface in space; D by default.
    """

    def __init__(self, k: int = 8, dim: int | None = None) -> None:
        self.k = k
        self.dim = dim

    def forward(self, data: Data) -> Data:
        """Set ``measure``, of the type of ``pos``."""
        cells, cell_types = table_of(data)
        if len(cells) and cell_dimensions(cell_types).max() > 0:
            measure = _lumped(positions_of(data), cells, cell_types)
        else:
            measure = self._estimated(positions_of(data))
        data.measure = torch.from_numpy(measure).to(data.pos)
        return data

    def _estimated(self, pos: np.ndarray) -> np.ndarray:
        dim = self.dim or pos.shape[1]
        distance, _ = _neighbours(pos, self.k)
        if not distance.shape[1]:
            return np.ones(len(pos))
        ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
        return ball * distance[:, -1] ** dim / (distance.shape[1] + 0.5)


def _lumped(pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    dimensions = cell_dimensions(cell_types)
    dim = int(dimensions.max())
    if (dimensions < dim).any():
        cells, cell_types = cells[dimensions == dim], cell_types[dimensions == dim]
    measures = cell_measures(pos, cells, cell_types)
    total = np.zeros(len(pos))
    for rows, cell_type, _, nodes in shape_groups(cells, cell_types):
        measure = measures[rows]
        if cell_type == QUAD:
            shares = _shares_of_quads(pos, nodes).T
        else:
            corners = int(corner_counts(nodes[:1], cell_types[rows[:1]])[0])
            others = nodes.shape[1] - corners
            corner_share = (2.0**-dim if others else 1.0) / corners
            other_share = (1 - 2.0**-dim) / max(others, 1)
            shares = np.array([corner_share] * corners + [other_share] * others)
        for node, share in zip(nodes.T, shares, strict=True):
            total += np.bincount(node, share * measure, len(pos))
    return total


def _shares_of_quads(pos: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Shares ``[K, 4]`` of each corner: the integral of its bilinear function over the area.

    It is the mean, over the two ways to cut along a diagonal, of a third of the triangles there.
    """
    corner = np.pad(pos[nodes], ((0, 0), (0, 0), (0, 3 - pos.shape[1])))
    ahead, behind = np.roll(corner, -1, 1) - corner, np.roll(corner, 1, 1) - corner
    triangle = np.linalg.norm(np.cross(ahead, behind), axis=2)
    share = triangle + np.roll(triangle, 1, 1) + np.roll(triangle, -1, 1)
    total = share.sum(1, keepdims=True)
    return np.divide(share, total, out=np.full_like(share, 0.25), where=total > 0)


def _neighbours(pos: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers of the k nearest other nodes, each ``[N, min(k, N - 1)]``."""
    k = min(k, len(pos) - 1)
    if k < 1:
        return np.empty((len(pos), 0)), np.empty((len(pos), 0), dtype=np.int64)
    tree = cKDTree(pos, balanced_tree=False)
    order = tree.indices  # neighbours after each other: twice as fast, out of the cache
    distance, number = np.empty((len(pos), k + 1)), np.empty((len(pos), k + 1), dtype=np.int64)
    distance[order], number[order] = tree.query(pos[order], k + 1)
    # A node is usually its own first neighbour, but not where several share a place.
    itself = number == np.arange(len(pos))[:, None]
    itself[~itself.any(1), -1] = True
    return distance[~itself].reshape(-1, k), number[~itself].reshape(-1, k)


def both_directions(pairs: np.ndarray, num_nodes: int) -> Tensor:
    """Pairs ``[E, 2]`` as ``edge_index [2, 2 E]``, by target, and by source where that is equal."""
    first, second = pairs.T
    key = np.concatenate([first * num_nodes + second, second * num_nodes + first])
    key.sort()
    return torch.from_numpy(np.stack(np.divmod(key, num_nodes))[::-1].copy())
