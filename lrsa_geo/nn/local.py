"""Message passing over mesh edges: what the global blocks, a low-pass filter, do not see."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
import torch_geometric.nn
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch_geometric.nn import MessagePassing

from lrsa_geo.nn.pointwise import Linear, RMSNorm, reset_children

# Bytes of messages that are worked on at a time: on a CPU they stay in its cache.
_CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 28}


class EdgeLayout:
    """The edges of a batch in the order that sums need, worked out once for all layers.

    Attributes:
        edge_index: ``[2, E]`` sorted by target.
        edge_attr: ``[E, D + 1]`` (p_j - p_i, |p_j - p_i|) of each edge from j to i.
        length: ``[E]`` the last column of that.
        weight: ``[E]`` share of each edge in the mean of its target; they add up to 1 or 0.
        ptr: ``[N + 1]`` edges ``ptr[i]:ptr[i + 1]`` reach node i.
    """

    def __init__(
        self,
        edge_index: Tensor,
        pos: Tensor,
        measure: Tensor | None = None,
        graph: Tensor | None = None,
    ) -> None:
        """Args:
        edge_index: ``[2, E]`` from node ``edge_index[0]`` to node ``edge_index[1]``, any order.
        pos: ``[N, D]``.
        measure: ``[N]`` weight of the messages from a node; 1 by default.
        graph: ``[N]`` graph of each node: no edge may join two.

        Raises:
            ValueError: an edge points at no node, or from one graph to another.
        """
        num_nodes = len(pos)
        check_edges(edge_index, num_nodes, graph)
        source, target = edge_index
        if bool((target[1:] < target[:-1]).any()):
            order = torch.argsort(target, stable=True)
            source, target = source[order], target[order]
        offset = pos[source] - pos[target]
        self.edge_index = torch.stack([source, target])
        self.length = offset.norm(dim=1)
        self.edge_attr = torch.cat([offset, self.length[:, None]], dim=1)
        self.ptr = F.pad(torch.bincount(target, minlength=num_nodes).cumsum(0), (1, 0))
        self._starts = self.ptr.tolist()
        share = torch.ones_like(self.length) if measure is None else measure[source]
        total = sum_by_node(share[:, None], self.ptr).squeeze(1)[target]
        self.weight = torch.where(total > 0, share / total, 0)

    def chunks(self, channels: int) -> Iterator[EdgeChunk]:
        """Groups of neighbouring nodes with the edges that reach them."""
        device = self.ptr.device.type
        limit = max(1, _CHUNK_BYTES.get(device, 1 << 28) // (4 * channels))
        starts, first = self._starts, 0
        source, target = self.edge_index
        while first < len(starts) - 1:
            last = first + 1
            while last < len(starts) - 1 and starts[last + 1] - starts[first] <= limit:
                last += 1
            edges = slice(starts[first], starts[last])
            ptr = self.ptr[first : last + 1] - starts[first]
            yield EdgeChunk(
                slice(first, last),
                source[edges],
                target[edges],
                self.length[edges],
                self.weight[edges],
                ptr,
            )
            first = last


class EdgeChunk(NamedTuple):
    """Edges that reach neighbouring nodes; fields as in :class:`EdgeLayout`."""

    nodes: slice
    source: Tensor
    target: Tensor
    length: Tensor
    weight: Tensor
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


class MeshConv(nn.Module):
    r"""Messages along mesh edges, averaged at the node that they reach.

    .. math::
        m_{ij} = \mathrm{relu}\big(A h_i + B h_j + R (p_j - p_i) + r |p_j - p_i| + b\big), \qquad
        y_i = O \, \frac{\sum_{j} w_j \, m_{ij}}{\sum_{j} w_j}

    over the edges from j to i, w being the measure of the nodes or 1. Messages see both ends and
    the relative position: shifting the graph changes nothing. A node without incoming edges gets
    O 0. All matrix products are on nodes (:math:`R (p_j - p_i)` is a difference of two of them);
    what remains on edges is a sum and the activation, recomputed in the backward pass, so that
    nothing of size E x C is kept.

    Args:
        channels: C.
        pos_dim: D.

    Shapes:
        - **x** ``(N, C)``, **pos** ``(N, D)``, **edges** made of ``edge_index`` ``(2, E)``
        - **output** ``(N, C)``
    """

    def __init__(self, channels: int, pos_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.pos_dim = pos_dim
        self.ends = Linear(channels, 2 * channels)
        self.offset = Linear(pos_dim, channels, bias=False)
        self.length = nn.Parameter(torch.empty(channels))
        self.out = Linear(channels, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)
        nn.init.normal_(self.length, std=0.02)

    def forward(self, x: Tensor, pos: Tensor, edges: Tensor | EdgeLayout) -> Tensor:
        """Mix neighbours.

        Args:
            x: node features.
            pos: positions.
            edges: ``edge_index``, or a ready :class:`EdgeLayout`, worth building once when several
                layers see the same batch.
        """
        layout = edges if isinstance(edges, EdgeLayout) else EdgeLayout(edges, pos)
        at_target, at_source = self.ends(x).chunk(2, dim=1)
        offset = self.offset(pos)
        means = _mean_of_messages(at_target - offset, at_source + offset, self.length, layout)
        return self.out(means)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels}, pos_dim={self.pos_dim})"


def _mean_of_messages(a: Tensor, b: Tensor, r: Tensor, layout: EdgeLayout) -> Tensor:
    """mean_j relu(a_i + b_j + r |p_j - p_i|), ``[N, C]``."""
    return _MeanOfMessages.apply(a, b, r, layout)


class _MeanOfMessages(torch.autograd.Function):
    """Forward and backward walk through chunks of edges; only the nodes' features are kept."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, r: Tensor, layout: EdgeLayout) -> Tensor:
        ctx.save_for_backward(a, b, r)
        ctx.layout = layout
        means = torch.empty_like(a)
        for edges in layout.chunks(a.shape[1]):
            message = _before_relu(a, b, r, edges).relu_()
            means[edges.nodes] = sum_by_node(message, edges.ptr, edges.weight)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        a, b, r = ctx.saved_tensors
        layout: EdgeLayout = ctx.layout
        grad_a, grad_b, grad_r = torch.empty_like(a), torch.zeros_like(b), torch.zeros_like(r)
        for edges in layout.chunks(a.shape[1]):
            passed = _before_relu(a, b, r, edges) > 0
            message = grad.index_select(0, edges.target)
            message *= edges.weight[:, None]
            message *= passed
            grad_a[edges.nodes] = sum_by_node(message, edges.ptr)
            grad_b.index_add_(0, edges.source, message)
            grad_r += edges.length.to(message.dtype) @ message
        return grad_a, grad_b, grad_r, None


def _before_relu(a: Tensor, b: Tensor, r: Tensor, edges: EdgeChunk) -> Tensor:
    z = b.index_select(0, edges.source)
    z += a.index_select(0, edges.target)
    return z.addcmul_(edges.length[:, None], r)


class LocalLayer(nn.Module):
    r"""A convolution over mesh edges behind a norm: :math:`\mathrm{Conv}(\mathrm{Norm}(h))`.

    Args:
        conv: "MeshConv"; the name of a convolution of ``torch_geometric.nn``, built with
            ``edge_dim`` where it takes one; or an instance, of which this layer takes a copy with
            new weights.
        channels: C, of its input and its output.
        pos_dim: D.

    Raises:
        ValueError: there is no such convolution, or it does not map C to C channels.
    """

    def __init__(self, conv: str | nn.Module, channels: int, pos_dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)
        self.conv = _make_conv(conv, channels, pos_dim)
        self._takes_attr = "edge_attr" in inspect.signature(self.conv.forward).parameters

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def forward(self, rows: Tensor, pos: Tensor, edges: EdgeLayout) -> Tensor:
        """``[N, C]`` -> ``[N, C]``."""
        rows = self.norm(rows)
        if isinstance(self.conv, MeshConv):
            return self.conv(rows, pos, edges)
        if self._takes_attr:
            return self.conv(rows, edges.edge_index, edge_attr=edges.edge_attr)
        return self.conv(rows, edges.edge_index)


def _make_conv(conv: str | nn.Module, channels: int, pos_dim: int) -> nn.Module:
    if isinstance(conv, str):
        if conv == "MeshConv":
            return MeshConv(channels, pos_dim)
        kind = getattr(torch_geometric.nn, conv, None)
        if not (inspect.isclass(kind) and issubclass(kind, MessagePassing)):
            raise ValueError(
                f"`local` is '{conv}', expected 'MeshConv' or a convolution of torch_geometric.nn,"
                " such as 'SAGEConv' or 'GATv2Conv'"
            )
        takes_edges = "edge_dim" in inspect.signature(kind).parameters
        options = {"edge_dim": pos_dim + 1} if takes_edges else {}
        build = cast(Callable[..., nn.Module], kind)
        try:
            return build(channels, channels, **options)
        except TypeError as error:
            raise ValueError(
                f"`local` is '{conv}', which needs more than channels ({error}); give an instance"
            ) from error
    made = copy.deepcopy(conv)
    sizes = [getattr(made, f"{side}_channels", channels) for side in ("in", "out")]
    if sizes != [channels, channels]:
        raise ValueError(
            f"`local` maps {sizes[0]} channels to {sizes[1]}, expected {channels} each"
        )
    return made
