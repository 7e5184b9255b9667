"""Full attention between the nodes of each graph: what low rank is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from lrsa_geo.nn import attention
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import Mixer, head_width
from lrsa_geo.nn.pointwise import Linear, RMSNorm, modulate, reset_children


class FullAttention(Mixer):
    r"""Softmax attention of every node to every node of its graph (arXiv 1706.03762, section 3.2).

    .. math::
        y_i = O \sum_{j \in g} \frac{w_j e^{a_{ij}}}{\sum_k w_k e^{a_{ik}}} v(x_j), \qquad
        a_{ij} = \mathrm{Norm}(q(x_i)) \cdot \mathrm{Norm}(k(x_j)) / \sqrt d

    per head, with queries and keys RMS-normalised as in :class:`~lrsa_geo.nn.LRSA`, so that the two
    differ in the rank alone. The kernel K has any rank up to N: no latents, hence no
    :class:`~lrsa_geo.nn.mixers.LowRankMixer`, and no way to stream or share a mesh. A step costs
    4 N C^2 + 2 N^2 C multiply-adds. The measures :math:`w_j` are ours, 1 in the paper.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        sharpness: gain of the normalised keys at the start, as in :class:`~lrsa_geo.nn.LRSA`.
        max_nodes: largest graph that is taken; the cost grows with its square.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: a graph is too large, or an argument's shape or value does not fit, see
            :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FullAttention
        >>> layer = FullAttention(channels=16, heads=2)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self, channels: int, heads: int = 8, sharpness: float = 2.0, max_nodes: int = 4096
    ) -> None:
        super().__init__(channels)
        width = head_width(channels, heads)
        self.heads = heads
        self.max_nodes = max_nodes
        self.to_qkv = Linear(channels, 3 * channels, bias=False, parts=3)
        self.query_norm = RMSNorm(width)
        self.key_norm = RMSNorm(width, gain=sharpness)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows ``[R, C]``; ``modulation`` scales and shifts the values."""
        largest = max([0, *(group.width for group in layout.groups)])
        if largest > self.max_nodes:
            raise ValueError(
                f"a graph has {largest:,} nodes, and full attention takes at most"
                f" {self.max_nodes:,}: its cost grows with their square; raise `max_nodes`, or take"
                " a mixer of low rank such as lrsa"
            )
        q, k, v = self.to_qkv(rows).unflatten(-1, (3, self.heads, -1)).unbind(1)
        if modulation is not None:
            v = modulate(v.flatten(1), modulation[layout.graph]).view_as(v)
        q, k = self.query_norm(q), self.key_norm(k)
        attended = []
        parts = zip(layout.groups, *map(layout.split, (q, k, v)), strict=True)
        for group, queries, keys, values in parts:
            bias = None if group.bias is None else group.bias.to(values.dtype)
            y = attention.attend(group.pad(queries), group.pad(keys), group.pad(values), bias)
            attended.append(group.unpad(y))
        y = torch.cat(attended).flatten(1)
        if layout.massless is not None:
            y = y.masked_fill(layout.massless[layout.graph][:, None], 0)
        return self.reconstruct_out(y)
