"""Query points: places without a node at which a field is asked for."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.mesh.mesh_data import MeshData, positions_of


def with_query_points(
    data: Data, pos: Tensor, x: Tensor | None = None, boundary: Tensor | None = None
) -> MeshData:
    r"""The graph with query points: they receive from the nodes and never send.

    They come behind the nodes and are marked in ``passive [N + Q]``, and their ``measure`` is 0. If
    the graph has edges, a point receives from the neighbours of the node nearest to it,

    .. math:: \{j \to q : j \to n(q)\}, \qquad n(q) = \mathrm{argmin}_n |p_q - p_n|,

    as that node does: a point at the place of a node, with its features, is given the node's
    answer. No edge leaves a point. With message passing the field steps a little where the nearest
    node changes; without, it is smooth. O((N + Q) log N).

    Args:
        data: one graph, N nodes; what belongs to its cells and targets is left out.
        pos: ``[Q, D]``.
        x: ``[Q, F]`` features of the points, if the graph's nodes have some.
        boundary: ``[Q]`` markers of the points, 0 (inside) by default.

    Raises:
        ValueError: shapes do not fit, the points lack features, the graph has no node, or it is a
            batch.
    """
    if isinstance(data, Batch):
        raise ValueError(
            f"query points belong to one graph, got a batch of {data.num_graphs}; add them to each"
            " of `batch.to_data_list()` and join the results with `Batch.from_data_list`"
        )
    num_nodes, dim = data.pos.shape
    if pos.dim() != 2 or pos.shape[1] != dim or not bool(pos.isfinite().all()):
        raise ValueError(
            f"the query points have the shape {list(pos.shape)}, expected finite numbers [Q, {dim}]"
        )
    if not num_nodes:
        raise ValueError("the graph has no node, so there is no field to ask for")
    pos = pos.to(data.pos)
    passive = torch.arange(num_nodes + len(pos), device=pos.device) >= num_nodes
    result = MeshData(pos=torch.cat([data.pos, pos]), passive=passive)
    if data.get("x") is not None:
        result.x = torch.cat([data.x, _features(data.x, x, len(pos))])
    elif x is not None:
        raise ValueError("`x` is given for the query points, but the graph's nodes have none")
    if data.get("measure") is not None:
        result.measure = torch.cat([data.measure, data.measure.new_zeros(len(pos))])
    if data.get("boundary") is not None:
        markers = torch.zeros(len(pos)) if boundary is None else boundary
        if markers.shape != (len(pos),):
            raise ValueError(f"`boundary` has shape {list(markers.shape)}, expected [{len(pos)}]")
        result.boundary = torch.cat([data.boundary, markers.to(data.boundary)])
    if data.get("given") is not None:  # nothing is prescribed at the points
        none = data.given.new_full((len(pos), data.given.shape[1]), torch.nan)
        result.given = torch.cat([data.given, none])
    if data.get("edge_index") is not None:
        result.edge_index = torch.cat([data.edge_index, _edges(data, pos)], dim=1)
    if data.get("cond") is not None:
        result.cond = data.cond
    return result


def _features(nodes: Tensor, points: Tensor | None, count: int) -> Tensor:
    expected = [count, nodes.shape[1]]
    if points is None or list(points.shape) != expected:
        found = "None" if points is None else f"of shape {list(points.shape)}"
        raise ValueError(
            f"`x` of the query points is {found}, expected {expected}: the features that the nodes"
            " have, at the points"
        )
    return points.to(nodes)


def _edges(data: Data, pos: Tensor) -> Tensor:
    """Edges to the points, from the neighbours of the nearest node of each."""
    source, target = data.edge_index.detach().cpu().numpy()
    order = np.argsort(target, kind="stable")
    count = np.bincount(target, minlength=len(data.pos))
    first = np.cumsum(count) - count
    _, nearest = cKDTree(positions_of(data)).query(pos.detach().cpu().double().numpy())
    degree = count[nearest]
    point = np.repeat(np.arange(len(nearest)), degree)
    within = np.arange(len(point)) - np.repeat(np.cumsum(degree) - degree, degree)
    sources = source[order[np.repeat(first[nearest], degree) + within]]
    edges = np.stack([sources, len(data.pos) + point])
    return torch.from_numpy(edges).to(data.edge_index)
