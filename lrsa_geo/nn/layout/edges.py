"""EdgeLayout: the edges of a batch in the order that sums over neighbours need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lrsa_geo.nn.layout.across import Across

# Bytes of messages that are worked on at a time: on a CPU they stay in its cache.
CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 28}


class EdgeLayout:
    """The edges of a batch, sorted by target, worked out once for all layers.

    Edges from nodes of measure 0 are left out: such nodes receive and never send, whatever the
    convolution. :meth:`at` gives the same edges at other positions.

    Attributes:
        edge_index: ``[2, E]`` sorted by target.
        pos: ``[N, D]`` where the nodes are.
        offset: ``[E, D]`` p_j - p_i of each edge from j to i.
        length: ``[E]`` |p_j - p_i|.
        weight: ``[E]`` share of each edge in the mean of its target; they add up to 1 or 0.
        alike: whether the edges that reach a node weigh alike: there is no measure.
        ptr: ``[N + 1]`` edges ``ptr[i]:ptr[i + 1]`` reach node i.
        across: where the nodes are that edges come from, if other processes have them.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import EdgeLayout
        >>> pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> edges = EdgeLayout(torch.tensor([[1, 2, 0], [0, 0, 1]]), pos)
        >>> edges.length, edges.weight
        (tensor([1., 2., 1.]), tensor([0.5000, 0.5000, 1.0000]))
    """

    def __init__(
        self,
        edge_index: Tensor,
        pos: Tensor,
        measure: Tensor | None = None,
        graph: Tensor | None = None,
        across: Across | None = None,
    ) -> None:
        """Args:
        edge_index: ``[2, E]`` from node ``edge_index[0]`` to node ``edge_index[1]``, any order.
        pos: ``[N, D]``.
        measure: ``[N]`` weight of the messages from a node; 1 by default.
        graph: ``[N]`` graph of each node: no edge may join two.
        across: edges may come from nodes N, N + 1, ... that it extends rows by.

        Raises:
            ValueError: an edge points at no node, or from one graph to another.
        """
        self.across = across
        self.alike = measure is None
        num_nodes = len(pos)
        check_edges(edge_index, num_nodes + (across.num_halo if across else 0), graph)
        measure = None if measure is None else self.reach(measure)
        if measure is not None and bool((measure == 0).any()):
            edge_index = edge_index[:, measure[edge_index[0]] > 0]
        source, target = edge_index
        if bool((target[1:] < target[:-1]).any()):
            order = torch.argsort(target, stable=True)
            source, target = source[order], target[order]
        self.edge_index = torch.stack([source, target])
        self.ptr = F.pad(torch.bincount(target, minlength=num_nodes).cumsum(0), (1, 0))
        # A copy: a loader's worker moves the tensor to memory that is shared.
        self._starts: np.ndarray = self.ptr.cpu().numpy().copy()
        share = torch.ones(len(source), dtype=pos.dtype, device=pos.device)
        if measure is not None:
            share = measure[source]
        total = share.new_zeros(num_nodes).index_add(0, target, share)
        self.weight = share / total[target]
        self._place(pos)

    def _place(self, pos: Tensor) -> None:
        source, target = self.edge_index
        self.pos = pos
        self.offset = self.reach(pos)[source] - pos[target]
        # Of an edge without length (from a node to itself) all derivatives are 0, not NaN.
        square = self.offset.square().sum(1)
        self.length = square.masked_fill(square == 0, 1).sqrt().masked_fill(square == 0, 0)

    def reach(self, rows: Tensor) -> Tensor:
        """Rows of the nodes, and of the halo that edges come from as well, if there is one."""
        return rows if self.across is None else self.across.extend(rows)

    def at(self, pos: Tensor) -> EdgeLayout:
        """The same edges where the nodes are at ``pos [N, D]``; gradients reach these positions."""
        moved = copy.copy(self)
        moved._place(pos)
        return moved

    @property
    def edge_attr(self) -> Tensor:
        """``[E, D + 1]`` (p_j - p_i, |p_j - p_i|), for convolutions that take edge features."""
        return torch.cat([self.offset, self.length[:, None]], dim=1)

    def chunks(self, channels: int) -> Iterator[EdgeChunk]:
        """Groups of neighbouring nodes with the edges that reach them."""
        limit = max(1, CHUNK_BYTES.get(self.ptr.device.type, 1 << 28) // (4 * channels))
        starts, first, num_nodes = self._starts, 0, len(self._starts) - 1
        while first < num_nodes:
            last = int(np.searchsorted(starts, starts[first] + limit, side="right")) - 1
            last = max(last, first + 1)
            ptr = self.ptr[first : last + 1] - int(starts[first])
            yield EdgeChunk(slice(first, last), slice(int(starts[first]), int(starts[last])), ptr)
            first = last

    def to(self, device: torch.device | str | None = None, **options: Any) -> EdgeLayout:
        """The layout on another device; ``options`` are those of ``Tensor.to``."""
        return self._map(lambda tensor: tensor.to(device=device, **options))

    def pin_memory(self) -> EdgeLayout:
        """The layout in page-locked memory, for a loader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> EdgeLayout:
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, change(value))
        return moved


class EdgeChunk(NamedTuple):
    """Neighbouring nodes, and the edges that reach them.

    Attributes:
        nodes: which nodes.
        edges: which edges.
        ptr: edges of each node within the chunk.
    """

    nodes: slice
    edges: slice
    ptr: Tensor


def sum_by_node(rows: Tensor, ptr: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sums of rows ``ptr[i]`` to ``ptr[i + 1]``, each times its weight: ``[E, C]`` -> ``[N, C]``.

    A bag of embeddings is this sum. On a CPU its kernel takes about a fifth of the time of PyTorch
    Geometric's ``segment`` (``tests/benchmarks/test_local_cost.py`` prints both).
    """
    number = torch.arange(len(rows), device=rows.device)
    weight = None if weight is None else weight.to(rows.dtype)
    return F.embedding_bag(
        number, rows, ptr, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def check_edges(edge_index: Tensor, num_nodes: int, graph: Tensor | None = None) -> None:
    """Refuse edges that point at no node, or from one graph to another.

    Raises:
        ValueError: naming the nodes.
    """
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
        raise ValueError(
            f"`edge_index` has shape {list(edge_index.shape)} and type {edge_index.dtype}, expected"
            " [2, E] integers"
        )
    if not edge_index.numel():
        return
    low, high = int(edge_index.min()), int(edge_index.max())
    if low < 0 or high >= num_nodes:
        raise ValueError(
            f"`edge_index` points at nodes {low} to {high}, expected 0 to {num_nodes - 1}"
        )
    if graph is not None and bool((graph[edge_index[0]] != graph[edge_index[1]]).any()):
        edge = int((graph[edge_index[0]] != graph[edge_index[1]]).nonzero()[0])
        raise ValueError(
            f"`edge_index` joins nodes of two graphs: edge {edge} goes from node"
            f" {int(edge_index[0, edge])} to node {int(edge_index[1, edge])}"
        )
