"""Distances between the nodes of meshes, and the shortest wave that they can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from lrsa_geo.data.store import MeshStore

MAX_GRAPHS = 32  # that a typical spacing is taken from, and nodes of each
MAX_NODES = 2048


def node_spacing(pos: Tensor) -> float:
    """Typical distance between neighbouring nodes, in the unit of the positions; 0 if unknown.

    The median, over nodes, of the distance to the (D + 1)-th nearest other place, which on a square
    grid is its spacing, at the sides as well.

    Args:
        pos: ``[N, D]``.

    Examples:
        >>> import torch
        >>> from lrsa_geo.data import node_spacing
        >>> node_spacing(torch.cartesian_prod(torch.arange(9.0), torch.arange(9.0)))
        1.0
    """
    places = np.unique(pos.double().numpy(), axis=0)
    neighbours = min(pos.shape[1] + 1, len(places) - 1)
    if neighbours < 1:
        return 0.0
    some = places[:: math.ceil(len(places) / MAX_NODES)]
    distances, _ = cKDTree(places).query(some, [neighbours + 1])  # a place is its own first
    return float(np.median(distances))


def spacing_of(store: MeshStore, graphs: Sequence[int]) -> float:
    """Median of :func:`node_spacing` over some of the graphs of a store, evenly chosen."""
    some = graphs[:: math.ceil(len(graphs) / MAX_GRAPHS)]
    spacings = [node_spacing(store.arrays_of(graph, ["pos"])["pos"]) for graph in some]
    known = [spacing for spacing in spacings if spacing > 0]
    return float(np.median(known)) if known else 0.0


def octaves_for(spacing: float, most: int = 10) -> int:
    r"""The octaves of :class:`~lrsa_geo.nn.FourierEncoding` whose waves nodes can carry.

    .. math:: K = \max \{k : 2 / 2^{k - 1} > 2 h\}, \qquad 1 \le K \le \mathrm{most}

    Wave k has the length 2 / 2^k; one shorter than 2 h (Nyquist) looks like a longer one at the
    nodes: a model that reads it works on meshes of that spacing alone.

    Args:
        spacing: h, of positions that fill [-1, 1]; 0 if unknown.
        most: largest K.

    Examples:
        >>> from lrsa_geo.data import octaves_for
        >>> octaves_for(2 / 15)  # 16 x 16 nodes
        3
    """
    if not spacing > 0:
        return 1
    return min(max(math.ceil(math.log2(1 / spacing)), 1), most)
