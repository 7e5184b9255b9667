"""A random part of the nodes of a graph, drawn anew each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

from lrsa_geo.mesh.graph_by_graph import MeshTransform
from lrsa_geo.mesh.mesh_data import NODE_ARRAYS

_MANY = 16  # times the drawn nodes, from which a mesh is large
_CANDIDATES = 8  # times the drawn nodes, of which an order in space is worked out at most


class RandomNodes(MeshTransform):
    r"""Draw some nodes at random, evenly over the mesh, so that a training step costs less.

    .. math:: w_i \leftarrow w_i N / n

    Every one of the N nodes is drawn as often as any other, so with :math:`w_i` their measure, sums
    over the n drawn nodes are in the mean those over all N. Stratified: the nodes are put in an
    order in which neighbours in space are close to each other, that of a k-d tree, on a circle that
    begins at a random node; it is cut into n runs of equal length, and one node of each is drawn.
    Predictions from drawn nodes are then nearer to those from the whole mesh, by a third to a half
    on meshes of Elasticity, than with nodes that are drawn regardless of where they are: half as
    many do (``python datasets/drawn_nodes.py RUN``). Of more than 8 n nodes 8 n are drawn first,
    regardless of where they are.

    Drawn nodes keep their order. Edges are those between drawn nodes. Cells are left out. A graph
    of no more than n nodes stays as it is. O(N + n log n + E).

    Args:
        num_nodes: n.
        generator: source of the random numbers.
        stratified: draw evenly over the mesh; otherwise every set of n nodes is as likely as any
            other.

    Raises:
        ValueError: n is less than 1.

    Examples:
        >>> import torch
        >>> from lrsa_geo.mesh import MeshData, RandomNodes
        >>> part = RandomNodes(4)(MeshData(pos=torch.arange(100.0)[:, None]))
        >>> (part.pos.diff(dim=0) < 50).all()
        tensor(True)
    """

    def __init__(
        self,
        num_nodes: int,
        generator: torch.Generator | None = None,
        stratified: bool = True,
    ) -> None:
        if num_nodes < 1:
            raise ValueError(f"`num_nodes` is {num_nodes}, expected at least 1")
        self.num_nodes = num_nodes
        self.generator = generator
        self.stratified = stratified
        self._orders = WeakTensorKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_orders"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle, for processes that read: orders are worked out anew."""
        self.__dict__.update(state)
        self._orders = WeakTensorKeyDictionary()

    def forward(self, data: Data) -> Data:
        """Keep the drawn nodes."""
        pos = data.pos
        if len(pos) <= self.num_nodes:
            return data
        if self.stratified and len(pos) <= self._most:
            drawn = self._one_of_each_run(self._order_of(pos))
        else:
            drawn = self.choose(len(pos), lambda nodes: pos[nodes.to(pos.device)])
        drawn = drawn.to(pos.device)
        if data.get("edge_index") is not None:
            data.edge_index, data.edge_attr = subgraph(
                drawn, data.edge_index, data.get("edge_attr"), True, len(pos)
            )
            if data.edge_attr is None:
                del data.edge_attr
        return scaled(with_rows(data, drawn), len(pos) / self.num_nodes)

    def choose(self, num_nodes: int, positions: Callable[[Tensor], Tensor]) -> Tensor:
        """``[n]``: which of so many nodes are drawn, in their order.

        Args:
            num_nodes: N, more than n.
            positions: gives those of some nodes, ``[k] -> [k, D]``.
        """
        if not self.stratified:
            return self._uniform(num_nodes, self.num_nodes)
        nodes = torch.arange(num_nodes)
        if num_nodes > self._most:
            nodes = self._uniform(num_nodes, self._most)
        return self._one_of_each_run(nodes[order_in_space(positions(nodes))])

    @property
    def _most(self) -> int:
        return _CANDIDATES * self.num_nodes

    def _order_of(self, pos: Tensor) -> Tensor:
        """Kept as long as the positions: graphs in memory come again in every epoch."""
        version, order = self._orders.get(pos, (None, None))
        if order is None or version != pos._version:
            order = order_in_space(pos)
            self._orders[pos] = (pos._version, order)
        return order

    def _one_of_each_run(self, order: Tensor) -> Tensor:
        """``[n]``: of nodes on a circle, cut into n runs after a random place, one of each run."""
        start = torch.randint(len(order), (), generator=self.generator)
        first = torch.arange(self.num_nodes + 1) * len(order) // self.num_nodes
        share = torch.rand(self.num_nodes, generator=self.generator, dtype=torch.float64)
        places = start + first[:-1] + (share * first.diff()).long()
        return order[places % len(order)].sort().values

    def _uniform(self, num_nodes: int, count: int) -> Tensor:
        """``[count]`` nodes, every set as likely as any other, in their order."""
        if num_nodes < _MANY * count:
            return torch.randperm(num_nodes, generator=self.generator)[:count].sort().values
        # Of a large mesh few are drawn twice, and numbers for all its nodes would cost the most.
        found = torch.empty(0, dtype=torch.long)
        while len(found) < count:
            more = torch.randint(num_nodes, (count,), generator=self.generator)
            found = torch.cat([found, more]).unique()
        kept = torch.randperm(len(found), generator=self.generator)[:count]
        return found[kept].sort().values

    def __repr__(self) -> str:
        return f"RandomNodes({self.num_nodes}{'' if self.stratified else ', stratified=False'})"


def order_in_space(pos: Tensor) -> Tensor:
    """``[N]``: the nodes in an order in which neighbours in space are close to each other."""
    points = pos.detach().cpu().double().numpy()
    tree = cKDTree(points, leafsize=8, balanced_tree=False, compact_nodes=False)
    return torch.from_numpy(tree.indices)


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
