"""Low-Rank Spatial Attention with one set of weights there and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrsa_geo.nn.mixers.lrsa import LatentBlocks
from lrsa_geo.nn.mixers.tied import TiedAttention
from lrsa_geo.nn.pointwise import Linear, RMSNorm, reset_children


class DirectSymmetricLRSA(TiedAttention):
    r"""LRSA with tied logits whose nodes read the latents themselves.

    .. math::
        a_{mi} = \mathrm{Norm}(Q_m) \cdot \mathrm{Norm}(k(x_i)) / \sqrt d, \qquad
        Z = \mathrm{softmax}_i(a + \log w) \, v(x), \qquad
        Z \leftarrow \mathrm{process}(Z), \qquad
        y = O_2 \, \mathrm{softmax}_m(a) \, Z

    It is :class:`SymmetricLRSA` as :class:`~lrsa_geo.nn.DirectLRSA` is :class:`~lrsa_geo.nn.LRSA`:
    no projection and no norm between what latents gather and what nodes read, so that without
    latent blocks it is linear in the values. In the template :math:`K \approx U G V^T`, U is V
    normalised the other way. :class:`~lrsa_geo.nn.FLARE` with linear keys and values is this
    without latent blocks and without the norms of queries and keys.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.
        latent_depth: Transformer blocks on the latents.
        ffn_ratio: width of the feed-forward layers on the latents over C.
        sharpness, latent_start, latent_attention: see :class:`~lrsa_geo.nn.LRSA`.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import DirectSymmetricLRSA
        >>> layer = DirectSymmetricLRSA(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        num_latents: int = 64,
        latent_depth: int = 1,
        ffn_ratio: float = 2.0,
        sharpness: float = 2.0,
        latent_start: float = 0.2,
        latent_attention: bool = True,
    ) -> None:
        super().__init__(channels, heads, num_latents)
        width = self.head_width
        self.latents = nn.Parameter(torch.empty(num_latents, heads, width))
        self.latent_norm = RMSNorm(width, gain=sharpness)
        self.to_keys_values = Linear(channels, 2 * channels, bias=False, parts=2)
        self.node_key_norm = RMSNorm(width)
        self._add_projections()
        self.latent_blocks = LatentBlocks(
            channels, heads, ffn_ratio, latent_depth, latent_start, latent_attention
        )
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def _add_projections(self) -> None:
        """Layers between the latents' means and what nodes read: none."""

    def reset_parameters(self) -> None:
        """Draw new weights, as those of :class:`~lrsa_geo.nn.LRSA`."""
        nn.init.normal_(self.latents)
        reset_children(self)

    def prepare(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised keys, and values, ``[R, H, d]``."""
        keys, values = self.to_keys_values(rows).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return self.node_key_norm(keys), values

    def latent_queries(self) -> Tensor:
        """The normalised latents ``[M, H, d]``."""
        return self.latent_norm(self.latents)

    def process(self, z: Tensor) -> Tensor:
        """The blocks on the latents, ``latent_depth`` of them: ``[B, M, C]`` -> ``[B, M, C]``."""
        return self.latent_blocks(z)


class SymmetricLRSA(DirectSymmetricLRSA):
    r"""LRSA whose compress and reconstruct are tied: the paper's symmetric ablation.

    .. math::
        a_{mi} = \mathrm{Norm}(Q_m) \cdot \mathrm{Norm}(k(x_i)) / \sqrt d, \qquad
        Z = O_1 \, \mathrm{softmax}_i(a + \log w) \, v(x), \qquad
        Z \leftarrow \mathrm{process}(Z), \qquad
        y = O_2 \, \mathrm{softmax}_m(a) \, v'(\mathrm{Norm}(Z))

    (arXiv 2604.03582, Figure 5; see :class:`~lrsa_geo.nn.mixers.tied.TiedAttention`.) In the
    template :math:`K \approx U G V^T`, U is V normalised the other way. It saves the projections
    of the nodes' queries and of the latents' keys, N C^2 + M C^2 multiply-adds.

    Args:
        channels, heads, num_latents, latent_depth, ffn_ratio, sharpness, latent_start,
            latent_attention: see :class:`DirectSymmetricLRSA`.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import SymmetricLRSA
        >>> layer = SymmetricLRSA(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def _add_projections(self) -> None:
        """O_1, and the norm in front of v'."""
        self.compress_out = Linear(self.channels, self.channels)
        self.processed_norm = RMSNorm(self.channels)
        self.to_latent_values = Linear(self.channels, self.channels, bias=False)

    def from_means(self, means: Tensor) -> Tensor:
        """The output projection of compress."""
        return self.compress_out(means)

    def latent_values(self, z: Tensor) -> Tensor:
        """Linear in the normalised latents."""
        return self.to_latent_values(self.processed_norm(z))
