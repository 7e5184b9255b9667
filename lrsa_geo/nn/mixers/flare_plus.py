"""FLARE++: low-rank attention whose queries have looked at the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn import attention
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import Mixer, head_width
from lrsa_geo.nn.pointwise import Linear, modulate, reset_children


class FLAREPlus(Mixer):
    r"""FLARE++ (arXiv 2608.11519): a first cross-attention moves the learned queries.

    .. math::
        q_m = \mathrm{LN}(Q_m) + \sigma(g) \, \mathrm{softmax}_{i \in g}
            \big(\mathrm{LN}(Q^0_m) \cdot k^0_i / \sqrt d + \log w_i\big) \, k^0_i, \qquad
        k^0_i = \mathrm{LN}(W_0 x_i)

        Z = \mathrm{softmax}_{i \in g}\big(q k_i^T / \sqrt d + \log w_i\big) \, v(x_i), \qquad
        y_i = O \, \mathrm{softmax}_m\big(k_i q^T / \sqrt d\big) \, Z, \qquad
        k_i = \mathrm{LN}(k(x_i))

    per head, with a gate g for each. In the template :math:`K \approx U G V^T`, U and V are tied
    and G is the identity, as in :class:`~lrsa_geo.nn.FLARE`; but V depends on all nodes, so what
    compress gathers from parts of a mesh cannot be added in one pass: no
    :class:`~lrsa_geo.nn.LowRankMixer`. A step costs 4 N C^2 + 6 N M C multiply-adds. The measures
    :math:`w_i` are ours, 1 in the paper.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FLAREPlus
        >>> layer = FLAREPlus(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(self, channels: int, heads: int = 8, num_latents: int = 64) -> None:
        super().__init__(channels)
        self.heads = heads
        self.width = head_width(channels, heads, num_latents)
        self.latents = nn.Parameter(torch.empty(num_latents, heads, self.width))
        self.first_latents = nn.Parameter(torch.empty(num_latents, heads, self.width))
        self.first_latent_norm = nn.LayerNorm(self.width)
        self.key_norm = nn.LayerNorm(self.width)
        self.gate = nn.Parameter(torch.empty(heads))
        self.to_first_keys = Linear(channels, channels)
        self.to_keys = Linear(channels, channels)
        self.to_values = Linear(channels, channels)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights as the authors do: projections near the identity, gates at 0.25."""
        reset_children(self)
        nn.init.normal_(self.latents, std=0.02)
        nn.init.normal_(self.first_latents, std=0.02)
        nn.init.constant_(self.gate, 0.25)
        for projection in (self.to_first_keys, self.to_keys, self.to_values):
            nn.init.trunc_normal_(projection.weight, std=0.02, a=-2.0, b=2.0)
            projection.weight.diagonal().add_(1)
            nn.init.zeros_(projection.bias)

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows; ``modulation`` scales and shifts the latents Z."""
        queries = self.queries(rows, layout)
        keys = self.key_norm(self._per_head(self.to_keys(rows)))
        values = self._per_head(self.to_values(rows))
        queries, keys = queries.to(values.dtype), keys.to(values.dtype)
        z = attention.compress(queries, keys, values, layout)
        if modulation is not None:
            z = self._per_head(modulate(z.flatten(2), modulation[:, None]))
        y = attention.reconstruct(keys, queries.to(z.dtype), z, layout)
        return self.reconstruct_out(y.flatten(1))

    def queries(self, rows: Tensor, layout: NodeLayout) -> Tensor:
        """Queries ``[B, M, H, d]`` of each graph, moved by what its nodes are."""
        keys = F.layer_norm(self._per_head(self.to_first_keys(rows)), (self.width,))
        first = self.first_latent_norm(self.first_latents).to(keys.dtype)
        moved = attention.compress(first, keys, keys, layout)
        return F.layer_norm(self.latents, (self.width,)) + self.gate.sigmoid()[:, None] * moved

    def _per_head(self, channels: Tensor) -> Tensor:
        return channels.unflatten(-1, (self.heads, self.width))
