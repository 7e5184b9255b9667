"""Transolver's mixer: nodes belong to slices, softly, and the slices attend to each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrsa_geo.nn.attention import attend
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import LowRankMixer, WeightedSums, head_width, joined, product
from lrsa_geo.nn.pointwise import Linear, reset_children

_EMPTY_SLICE = 1e-5  # as in the paper's code: a slice that no node is in


class PhysicsAttention(LowRankMixer):
    r"""Physics-Attention of Transolver (arXiv 2402.02366, section 3.2), on graphs of any sizes.

    .. math::
        s_{im} = \mathrm{softmax}_m\big(S \, k(x_i) / \tau\big), \qquad
        Z_m = \frac{\sum_{i \in g} w_i s_{im} v(x_i)}{\sum_{i \in g} w_i s_{im}}, \qquad
        Z \leftarrow \mathrm{SelfAttention}(Z), \qquad
        y_i = O \sum_m s_{im} Z_m

    per head, the maps :math:`S` and those of the attention being shared by the heads, :math:`\tau`
    being learned for each. Compress and reconstruct use the same weights, where
    :class:`~lrsa_geo.nn.LRSA` has two sets; the softmax is over the slices, not over the nodes; and
    the weights are held in memory, N H M numbers. In the template :math:`K \approx U G V^T`, V
    and U are these weights and G the self-attention. A step costs 3 N C^2 + 3 N M C multiply-adds.
    The measures :math:`w_i` are ours. PhysicsNeMo's form of the layer differs: it adds 1e-2 to the
    sums of the weights, where the paper's code and this one add 1e-5, and keeps :math:`\tau`
    between 0.5 and 5.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M, the paper's slices.
        slices_start: weights of S at the start: "orthogonal", or "small", truncated normal of
            standard deviation 0.02, with which the paper's model overwrites them.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import PhysicsAttention
        >>> layer = PhysicsAttention(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        num_latents: int = 64,
        slices_start: str = "orthogonal",
    ) -> None:
        super().__init__(channels)
        if slices_start not in ("orthogonal", "small"):
            raise ValueError(f"`slices_start` is '{slices_start}', expected orthogonal or small")
        self.heads = heads
        self.slices_start = slices_start
        width = head_width(channels, heads, num_latents)
        self.to_keys_values = Linear(channels, 2 * channels, parts=2)
        self.to_slices = Linear(width, num_latents)
        self.temperature = nn.Parameter(torch.empty(heads))
        self.to_qkv = Linear(width, 3 * width, bias=False, parts=3)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)
        if self.slices_start == "orthogonal":
            nn.init.orthogonal_(self.to_slices.weight)
        else:
            nn.init.trunc_normal_(self.to_slices.weight, std=0.02, a=-2, b=2)
        nn.init.constant_(self.temperature, 0.5)

    def prepare(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Slice weights ``[R, H, M]`` and values ``[R, H, d]`` of the nodes ``[R, C]``."""
        keys, values = self.to_keys_values(rows).unflatten(-1, (2, self.heads, -1)).unbind(1)
        # Divided by the temperature are the weights of S, not the R H M logits; the heads are
        # outermost in memory, as the products over nodes want them.
        per_head = self.temperature[:, None, None]
        s, bias = self.to_slices.weight.mT / per_head, self.to_slices.bias / per_head
        logits = torch.baddbmm(bias, keys.transpose(0, 1), s)
        exact = torch.promote_types(logits.dtype, torch.float32)
        return logits.softmax(-1, dtype=exact).transpose(0, 1), values

    def summarize(self, nodes: tuple[Tensor, Tensor], layout: NodeLayout) -> WeightedSums:
        """Sums of the values in each slice, and of the weights."""
        return WeightedSums.over(*nodes, layout)

    def latents_of(self, summary: WeightedSums) -> Tensor:
        """Weighted means over each slice as latents ``[B, M, C]``."""
        mean_measure = summary.measure / summary.heard.clamp(min=1)
        empty = (_EMPTY_SLICE * mean_measure).view(-1, 1, 1)
        empty = empty.masked_fill(empty == 0, 1)  # a graph without mass: its sums are 0
        z = (summary.values / (summary.weights + empty)[..., None]).to(summary.values.dtype)
        return z.transpose(1, 2).flatten(2)

    def process(self, z: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V over the slices of each graph and head, ``[B, M, C]``."""
        per_head = z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = self.to_qkv(per_head).chunk(3, dim=-1)
        return attend(q, k, v).transpose(1, 2).flatten(2)

    def reconstruct(self, nodes: tuple[Tensor, Tensor], z: Tensor, layout: NodeLayout) -> Tensor:
        """Nodes read the slices that they are in: ``[B, M, C]`` -> ``[R, C]``."""
        per_head = z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        parts = zip(
            layout.groups, layout.split(nodes[0]), layout.split_graphs(per_head), strict=True
        )
        rows = [
            group.unpad(product(group.pad(weights), slices)) for group, weights, slices in parts
        ]
        return self.reconstruct_out(joined(rows).flatten(1))
