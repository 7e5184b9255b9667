"""Linear attention: the nodes are gathered without any softmax."""

from __future__ import annotations

from torch import Tensor, nn

from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import LowRankMixer, WeightedSums, head_width, joined, product
from lrsa_geo.nn.pointwise import Linear, reset_children


class LinearAttention(LowRankMixer):
    r"""Galerkin-type linear attention (arXiv 2105.14995, section 3), on graphs of any sizes.

    .. math::
        Z = \frac{\sum_{i \in g} w_i \, \mathrm{Norm}(k(x_i))^T \, \mathrm{Norm}(v(x_i))}
                 {\sum_{i \in g} w_i}, \qquad
        y_i = O \, q(x_i) Z

    per head, with layer norms of their own for keys and values. In the template
    :math:`K \approx U G V^T` the keys are V, the queries U, and G is the identity: nothing works
    on the latents. Their number is the width of a head, C / H, and cannot be chosen. A step costs
    4 N C^2 + 2 N C^2 / H multiply-adds. The measures :math:`w_i` are ours, 1 in the paper.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LinearAttention
        >>> layer = LinearAttention(channels=16, heads=2)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__(channels)
        width = head_width(channels, heads)
        self.heads = heads
        self.to_qkv = Linear(channels, 3 * channels, parts=3)
        self.key_norm = nn.LayerNorm(width)
        self.value_norm = nn.LayerNorm(width)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def prepare(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[R, H, d]`` of the nodes ``[R, C]``."""
        q, k, v = self.to_qkv(rows).unflatten(-1, (3, self.heads, -1)).unbind(1)
        return q, self.key_norm(k), self.value_norm(v)

    def summarize(self, nodes: tuple[Tensor, Tensor, Tensor], layout: NodeLayout) -> WeightedSums:
        """The products of keys and values, summed over each graph."""
        _, keys, values = nodes
        return WeightedSums.over(keys, values, layout)

    def latents_of(self, summary: WeightedSums) -> Tensor:
        """The mean product of each graph, with its keys' entries as latents ``[B, d, C]``."""
        measure = summary.measure.masked_fill(summary.measure == 0, 1)  # its sums are 0
        z = (summary.values / measure.view(-1, 1, 1, 1)).to(summary.values.dtype)
        return z.transpose(1, 2).flatten(2)

    def process(self, z: Tensor) -> Tensor:
        """The latents as they are."""
        return z

    def reconstruct(
        self, nodes: tuple[Tensor, Tensor, Tensor], z: Tensor, layout: NodeLayout
    ) -> Tensor:
        """Queries times the latents ``[B, d, C]`` of their graph -> ``[R, C]``."""
        per_head = z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        parts = zip(
            layout.groups, layout.split(nodes[0]), layout.split_graphs(per_head), strict=True
        )
        rows = [
            group.unpad(product(group.pad(queries), latents)) for group, queries, latents in parts
        ]
        return self.reconstruct_out(joined(rows).flatten(1))
