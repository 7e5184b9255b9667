"""Transolver's mixer: nodes belong to slices, softly, and the slices attend to each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn.pointwise import Linear, modulate, reset_children
from lrsa_geo.nn.ragged import NodeLayout, NodeModule

_EMPTY_SLICE = 1e-5  # as in the paper's code: a slice that no node is in


class PhysicsAttention(NodeModule):
    r"""Physics-Attention of Transolver (arXiv 2402.02366, section 3.2), on graphs of any sizes.

    .. math::
        s_{im} = \mathrm{softmax}_m\big(S \, k(x_i) / \tau\big), \qquad
        Z_m = \frac{\sum_{i \in g} w_i s_{im} v(x_i)}{\sum_{i \in g} w_i s_{im}}, \qquad
        Z \leftarrow \mathrm{SelfAttention}(Z), \qquad
        y_i = O \sum_m s_{im} Z_m

    per head, the maps :math:`S` and those of the attention being shared by the heads, :math:`\tau`
    being learned for each. Compress and reconstruct use the same weights, where
    :class:`~lrsa_geo.nn.LRSA` has two sets; the softmax is over the slices, not over the nodes; and
    the weights are held in memory, N H M numbers. The measures :math:`w_i` are ours.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M, the paper's slices.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.
    """

    def __init__(self, channels: int, heads: int = 8, num_latents: int = 64) -> None:
        super().__init__(channels)
        if channels % heads:
            raise ValueError(f"`channels` is {channels}, expected a multiple of `heads` = {heads}")
        self.heads = heads
        width = channels // heads
        self.to_keys_values = Linear(channels, 2 * channels)
        self.to_slices = Linear(width, num_latents)
        self.temperature = nn.Parameter(torch.empty(heads))
        self.to_qkv = Linear(width, 3 * width, bias=False)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; slices start orthogonal, as in the paper's code."""
        reset_children(self)
        nn.init.orthogonal_(self.to_slices.weight)
        nn.init.constant_(self.temperature, 0.5)

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The mixer on packed rows, ``[R, C]`` -> ``[R, C]``; ``modulation`` as in LRSA."""
        keys, values = self.to_keys_values(rows).unflatten(-1, (2, self.heads, -1)).unbind(1)
        logits = self.to_slices(keys) / self.temperature[:, None]
        weights = logits.softmax(-1).transpose(0, 1)  # [H, R, M]
        z = self.compress(weights, values.transpose(0, 1), layout)
        if modulation is not None:
            tokens = modulate(z.transpose(1, 2).flatten(2), modulation[:, None])
            z = tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.reconstruct(weights, self.process(z), layout)

    def compress(self, weights: Tensor, values: Tensor, layout: NodeLayout) -> Tensor:
        """Weighted means of the values over each graph: ``[H, R, d]`` -> ``[B, H, M, d]``."""
        if layout.share is not None:
            weights = weights * layout.share[:, None].to(weights.dtype)
        sizes = list(layout.sizes)
        tokens = [
            w.transpose(1, 2) @ v / (w.sum(1).unsqueeze(-1) + _EMPTY_SLICE)
            for w, v in zip(weights.split(sizes, 1), values.split(sizes, 1), strict=True)
        ]
        z = torch.stack(tokens)
        return z if layout.massless is None else z.masked_fill(layout.massless.view(-1, 1, 1, 1), 0)

    def process(self, z: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V over the slices of each graph and head."""
        return F.scaled_dot_product_attention(*self.to_qkv(z).chunk(3, dim=-1))

    def reconstruct(self, weights: Tensor, z: Tensor, layout: NodeLayout) -> Tensor:
        """Nodes read the slices that they are in: ``[B, H, M, d]`` -> ``[R, C]``."""
        parts = zip(weights.split(list(layout.sizes), 1), z, strict=True)
        rows = torch.cat([w @ tokens for w, tokens in parts], dim=1)
        return self.reconstruct_out(rows.transpose(0, 1).flatten(1))
