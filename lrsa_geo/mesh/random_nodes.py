"""A random part of the nodes of a graph, drawn anew each time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

from lrsa_geo.mesh.graph_by_graph import MeshTransform
from lrsa_geo.mesh.mesh_data import NODE_ARRAYS

_MANY = 16  # times the drawn nodes, from which a mesh is large


class RandomNodes(MeshTransform):
    r"""Draw some nodes at random, so that a training step costs less. O(N + E).

    .. math:: w_i \leftarrow w_i N / n

    The n nodes are drawn uniformly, each once, and keep their order; with :math:`w_i` their
    measure, sums over them are in the mean those over all N. Edges are those between drawn nodes.
    Cells are left out. A graph of no more than n nodes stays as it is.

    Args:
        num_nodes: n.
        generator: source of the random numbers.

    Raises:
        ValueError: n is less than 1.
    """

    def __init__(self, num_nodes: int, generator: torch.Generator | None = None) -> None:
        if num_nodes < 1:
            raise ValueError(f"`num_nodes` is {num_nodes}, expected at least 1")
        self.num_nodes = num_nodes
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """Keep the drawn nodes."""
        num_nodes = len(data.pos)
        if num_nodes <= self.num_nodes:
            return data
        drawn = self.choose(num_nodes).to(data.pos.device)
        if data.get("edge_index") is not None:
            data.edge_index, data.edge_attr = subgraph(
                drawn, data.edge_index, data.get("edge_attr"), True, num_nodes
            )
            if data.edge_attr is None:
                del data.edge_attr
        return scaled(with_rows(data, drawn), num_nodes / self.num_nodes)

    def choose(self, num_nodes: int) -> Tensor:
        """``[n]``: which of so many nodes are drawn, in their order."""
        if num_nodes < _MANY * self.num_nodes:
            drawn = torch.randperm(num_nodes, generator=self.generator)[: self.num_nodes]
            return drawn.sort().values
        # Of a large mesh few are drawn twice, and numbers for all its nodes would cost the most.
        found = torch.empty(0, dtype=torch.long)
        while len(found) < self.num_nodes:
            more = torch.randint(num_nodes, (self.num_nodes,), generator=self.generator)
            found = torch.cat([found, more]).unique()
        kept = torch.randperm(len(found), generator=self.generator)[: self.num_nodes]
        return found[kept].sort().values

    def __repr__(self) -> str:
        return f"RandomNodes({self.num_nodes})"


def with_rows(data: Data, rows: Tensor) -> Data:
    """A graph with some of its nodes, changed in place; cells are left out, edges untouched."""
    for array in ("pos", *NODE_ARRAYS):
        if data.get(array) is not None:
            data[array] = data[array][rows]
    if data.get("point_data") is not None:
        data.point_data = {name: values[rows] for name, values in data.point_data.items()}
    for array in ("cells", "cell_types", "cell_data"):
        if array in data:
            del data[array]
    if "num_nodes" in data:
        data.num_nodes = len(rows)
    return data


def scaled(data: Data, share: float) -> Data:
    """A graph whose nodes stand for so many times their measure."""
    if data.get("measure") is not None:
        data.measure = data.measure * share
    return data
