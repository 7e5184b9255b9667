"""Random patches of neighbouring nodes, with the nodes that their messages come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.graph_by_graph import MeshTransform
from lrsa_geo.mesh.random_nodes import order_in_space, scaled, with_rows


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a mesh.

    Attributes:
        nodes: ``[n + h]`` numbers of the nodes, ascending.
        halo: ``[n + h] bool``: which of them are there for their messages alone.
        edge_index: ``[2, e]`` edges between them, places in ``nodes``.
        share: N / n, what a drawn node stands for.
    """

    nodes: Tensor
    halo: Tensor
    edge_index: Tensor
    share: float


class Neighbourhoods:
    """Which nodes of a mesh lie together, and which send messages to which: to draw patches from.

    Args:
        pos: ``[N, D]``.
        edge_index: ``[2, E]``.
    """

    def __init__(self, pos: Tensor, edge_index: Tensor) -> None:
        self.num_nodes = len(pos)
        self.order: np.ndarray = order_in_space(pos).numpy().astype(np.int32)
        source, target = edge_index.cpu().numpy()
        self.sources: np.ndarray = source[np.argsort(target, kind="stable")].astype(np.int32)
        counts = np.bincount(target, minlength=self.num_nodes)
        self.starts: np.ndarray = np.concatenate([[0], counts.cumsum()])

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.order.nbytes + self.sources.nbytes + self.starts.nbytes

    def received(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sources of all edges that reach some nodes, and how many reach each."""
        counts = self.starts[nodes + 1] - self.starts[nodes]
        ends = counts.cumsum()
        total = int(ends[-1]) if len(ends) else 0
        places = np.arange(total) + np.repeat(self.starts[nodes] - ends + counts, counts)
        return self.sources[places], counts


class RandomPatches(MeshTransform):
    r"""Draw patches of neighbouring nodes at random, for models with message passing.

    .. math:: w_i \leftarrow w_i N / n

    A patch is a run of p nodes in an order in which neighbours in space are close to each other,
    that of a k-d tree, on a circle that begins at a random node: every node is drawn as often as
    any other, so with :math:`w_i` their measure, sums over the n drawn nodes are in the mean those
    over all N. Nodes whose messages reach the drawn ones in up to k hops come along and are marked
    in ``halo [N]``: they send and receive messages and read the field, and neither influence the
    latents nor have a loss. All edges are there that reach a drawn node, and those within the halo
    but for its last hop: layers that pass messages on k times give drawn nodes what they would give
    on the whole mesh.
    (:class:`RandomNodes` keeps the edges between drawn nodes alone, of which a small part of a mesh
    has next to none.)

    Cells are left out. A graph of no more than n nodes stays whole, with an empty halo. O(N + E),
    and O(n) where a :class:`Neighbourhoods` is kept.

    Args:
        num_nodes: n; so many patches are drawn as fit, and at least one.
        patch: p, at most n.
        hops: k, of a model ``GeometryOperator.hops``.
        generator: source of the random numbers.

    Raises:
        ValueError: a number is too small.

    Examples:
        >>> import torch
        >>> from lrsa_geo.mesh import MeshData, RandomPatches
        >>> line = torch.arange(100)
        >>> edge_index = torch.stack([line[:-1], line[1:]])
        >>> data = MeshData(pos=torch.stack([line, 0 * line], dim=1), edge_index=edge_index)
        >>> part = RandomPatches(16, patch=8, hops=1)(data)
        >>> int((~part.halo).sum())
        16
    """

    def __init__(
        self,
        num_nodes: int,
        patch: int,
        hops: int,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, value in (("num_nodes", num_nodes), ("patch", patch), ("hops", hops)):
            if value < 1:
                raise ValueError(f"`{name}` is {value}, expected at least 1")
        self.num_nodes = num_nodes
        self.patch = min(patch, num_nodes)
        self.hops = hops
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """Keep the drawn nodes and their halo.

        Raises:
            ValueError: the graph has no edges.
        """
        if data.get("edge_index") is None:
            raise ValueError("the graph has no `edge_index`; RandomNodes draws nodes without edges")
        num_nodes = len(data.pos)
        if num_nodes <= self.num_nodes:
            data.halo = torch.zeros(num_nodes, dtype=torch.bool, device=data.pos.device)
            return data
        drawn = self.choose(Neighbourhoods(data.pos, data.edge_index))
        data = with_rows(data, drawn.nodes.to(data.pos.device))
        data.edge_index = drawn.edge_index.to(data.pos.device)
        data.halo = drawn.halo.to(data.pos.device)
        if "edge_attr" in data:
            del data.edge_attr
        return scaled(data, drawn.share)

    def choose(self, mesh: Neighbourhoods) -> Drawn:
        """Nodes and edges of a mesh of more than n nodes."""
        count = mesh.num_nodes // self.patch  # patches side by side, after a random node
        first = torch.randint(mesh.num_nodes, (), generator=self.generator)
        runs = torch.randperm(count, generator=self.generator)[: self.num_nodes // self.patch]
        places = first + self.patch * runs[:, None] + torch.arange(self.patch)
        drawn = mesh.order[(places % mesh.num_nodes).reshape(-1).numpy()]
        inside = np.zeros(mesh.num_nodes, dtype=bool)
        inside[drawn] = True
        found, ring = [drawn], drawn
        for _ in range(self.hops):
            near = np.unique(mesh.received(ring)[0])
            ring = near[~inside[near]]
            inside[ring] = True
            found.append(ring)
        reached = np.sort(np.concatenate(found[:-1]))
        nodes = np.sort(np.concatenate(found))
        sources, counts = mesh.received(reached)
        targets = np.repeat(np.searchsorted(nodes, reached), counts)
        edge_index = np.stack([np.searchsorted(nodes, sources), targets])
        return Drawn(
            torch.from_numpy(nodes).long(),
            torch.from_numpy(np.isin(nodes, drawn, invert=True)),
            torch.from_numpy(edge_index),
            mesh.num_nodes / len(drawn),
        )

    def __repr__(self) -> str:
        return f"RandomPatches({self.num_nodes}, patch={self.patch}, hops={self.hops})"
