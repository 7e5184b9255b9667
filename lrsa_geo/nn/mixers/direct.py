"""Low-Rank Spatial Attention whose nodes read the latents themselves: not the paper's layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrsa_geo.nn.mixers.lrsa import LRSA
from lrsa_geo.nn.pointwise import Linear


class DirectLRSA(LRSA):
    r"""LRSA whose nodes read the latents themselves, without O_1, v' and the norm before it.

    .. math::
        Z = \mathrm{softmax}_{i \in g}
            \big(Q k(x_i)^T / \sqrt d + \log w_i\big) \, v(x_i), \qquad
        Z \leftarrow \mathrm{process}(Z), \qquad
        y_i = O_2 \, \mathrm{softmax}_m\big(q(x_i) (k'(Z_m) + Q'_m)^T / \sqrt d\big) \, Z_m

    Against :class:`~lrsa_geo.nn.LRSA` it has no :math:`O_1` and no :math:`v'`, so no norm on the
    way of the values: how large a latent is reaches the nodes, and without latent blocks twice the
    values give twice the result. Each latent has a learned key :math:`Q'_m` besides what it
    gathered. In the template :math:`K \approx U G V^T` nothing but process is in G. It costs a
    little less, and has less error after the same time: datasets/RESULTS.md, "What stands between
    LRSA and FLARE".

    Args:
        channels, heads, num_latents, latent_depth, ffn_ratio, sharpness, latent_start,
            latent_attention: see :class:`~lrsa_geo.nn.LRSA`.
        aligned_start: q starts with the weights of k, :math:`Q' = Q` and :math:`k' = 0`, so that
            both softmaxes are of the same logits, and v is a rotation.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import DirectLRSA
        >>> layer = DirectLRSA(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def _make_compress_out(self) -> nn.Module:
        return nn.Identity()

    def _make_latent_keys_and_values(self) -> None:
        self.latent_keys = nn.Parameter(torch.empty_like(self.latents))
        self.to_latent_keys = Linear(self.channels, self.channels, bias=False)

    def _draw(self) -> None:
        super()._draw()
        nn.init.normal_(self.latent_keys)

    def _align_latents(self, of_keys: Tensor, of_values: Tensor) -> None:
        self.latent_keys.copy_(self.latents)
        nn.init.zeros_(self.to_latent_keys.weight)

    def _latent_keys_and_values(self, z: Tensor) -> tuple[Tensor, Tensor]:
        heads = (self.heads, -1)
        keys = self.to_latent_keys(self.processed_norm(z)).unflatten(-1, heads)
        return keys + self.latent_keys, z.unflatten(-1, heads)
