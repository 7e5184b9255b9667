"""MeshConv: messages along mesh edges, averaged at the node that they reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lrsa_geo.nn.layout import EdgeLayout
from lrsa_geo.nn.layout.edges import sum_by_node
from lrsa_geo.nn.pointwise import Linear, reset_children


class MeshConv(nn.Module):
    r"""Message passing along mesh edges: a learned message from each neighbour, averaged.

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

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import MeshConv
        >>> conv = MeshConv(channels=8, pos_dim=2)
        >>> conv(torch.randn(4, 8), torch.rand(4, 2), torch.tensor([[0, 1, 2], [1, 0, 3]])).shape
        torch.Size([4, 8])
    """

    def __init__(self, channels: int, pos_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.pos_dim = pos_dim
        self.ends = Linear(channels, 2 * channels, parts=2)
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
        if not isinstance(edges, EdgeLayout):
            edges = EdgeLayout(edges, pos)
        elif edges.pos is not pos:
            edges = edges.at(pos)
        at_target, at_source = self.ends(x).chunk(2, dim=1)
        offset = self.offset(pos)
        sent = edges.reach(at_source + offset)
        means = _mean_of_messages(at_target - offset, sent, self.length, edges)
        return self.out(means)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels}, pos_dim={self.pos_dim})"


def _mean_of_messages(a: Tensor, b: Tensor, r: Tensor, edges: EdgeLayout) -> Tensor:
    """sum_j w_ij relu(a_i + b_j + r l_ij), ``[N, C]``; l, w are lengths and weights of edges.

    b has the rows of a halo after those of the nodes, where there is one.
    """
    return _MeanOfMessages.apply(a, b, r, edges.length, edges.weight, edges)


class _MeanOfMessages(torch.autograd.Function):
    """Forward and backward walk through chunks of edges; only the nodes' features are kept."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, r: Tensor, length: Tensor, weight: Tensor, edges: EdgeLayout
    ) -> Tensor:
        ctx.save_for_backward(a, b, r)
        ctx.edges = edges  # which holds length and weight
        means = torch.empty_like(a)
        for nodes, of_chunk, ptr in edges.chunks(a.shape[1]):
            message = _before_relu(a, b, r, edges, of_chunk).relu_()
            means[nodes] = sum_by_node(message, ptr, weight[of_chunk])
        return means

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, r = ctx.saved_tensors
        edges: EdgeLayout = ctx.edges
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_written_out(a, b, r, edges, grad, ctx.needs_input_grad[:5]), None
        (source, target), wants = edges.edge_index, ctx.needs_input_grad
        grad_a, grad_b, grad_r = torch.empty_like(a), torch.zeros_like(b), torch.zeros_like(r)
        grad_length = torch.empty_like(edges.length) if wants[3] else None
        grad_weight = torch.empty_like(edges.weight) if wants[4] else None
        if edges.alike:  # weights are then of nodes, of which there are fewer than edges
            grad = grad / edges.ptr.diff().clamp(min=1)[:, None]
        for nodes, of_chunk, ptr in edges.chunks(a.shape[1]):
            before = _before_relu(a, b, r, edges, of_chunk)
            message = grad.index_select(0, target[of_chunk])
            if grad_weight is not None:
                grad_weight[of_chunk] = (before.relu() * message).sum(1).to(grad_weight.dtype)
            if not edges.alike:
                message *= edges.weight[of_chunk][:, None]
            # Where a message was positive; a product with a mask takes five times as long.
            message = torch.ops.aten.threshold_backward(message, before, 0)
            grad_a[nodes] = sum_by_node(message, ptr)
            grad_b.index_add_(0, source[of_chunk], message)
            grad_r += edges.length[of_chunk].to(message.dtype) @ message
            if grad_length is not None:
                grad_length[of_chunk] = (message @ r.to(message.dtype)).to(grad_length.dtype)
        return grad_a, grad_b, grad_r, grad_length, grad_weight, None


def _before_relu(a: Tensor, b: Tensor, r: Tensor, edges: EdgeLayout, of_chunk: slice) -> Tensor:
    source, target = edges.edge_index
    z = b.index_select(0, source[of_chunk])
    z += a.index_select(0, target[of_chunk])
    return z.addcmul_(edges.length[of_chunk][:, None], r)


def _written_out(
    a: Tensor, b: Tensor, r: Tensor, edges: EdgeLayout, grad: Tensor, wants: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients as functions that can be differentiated again; holds all messages at once."""
    source, target = edges.edge_index
    message = (a[target] + b[source] + edges.length[:, None] * r).relu()
    means = torch.zeros_like(a).index_add(0, target, edges.weight[:, None] * message)
    everything = (a, b, r, edges.length, edges.weight)
    inputs = [tensor for tensor, want in zip(everything, wants, strict=True) if want]
    found = iter(torch.autograd.grad(means, inputs, grad, create_graph=True))
    return [next(found) if want else None for want in wants]
