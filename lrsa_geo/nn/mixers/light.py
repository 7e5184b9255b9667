"""Low-Rank Spatial Attention without attention among the latents: not the paper's layer."""

from __future__ import annotations

from lrsa_geo.nn.mixers.symmetric import DirectSymmetricLRSA


class LightLRSA(DirectSymmetricLRSA):
    r"""LRSA with tied logits, nodes that read the latents themselves, and no attention among these.

    .. math::
        a_{mi} = \mathrm{Norm}(Q_m) \cdot \mathrm{Norm}(k(x_i)) / \sqrt d, \qquad
        Z = \mathrm{softmax}_i(a + \log w) \, v(x), \qquad
        Z \leftarrow Z + \mathrm{FFN}(\mathrm{Norm}(Z)), \qquad
        y = O_2 \, \mathrm{softmax}_m(a) \, Z

    It is :class:`DirectSymmetricLRSA` whose latents go through one feed-forward layer each, as in
    the paper's ablation without latent attention (arXiv 2604.03582, Figure 5). In the template
    :math:`K \approx U G V^T`, U is V normalised the other way, and G works on each latent alone.
    A step costs 3 N C^2 + 4 N M C + 2 L r M C^2 multiply-adds, with L feed-forward layers of ratio
    r. Where a step sees few nodes, small operations on the latents are a good part of what LRSA
    takes; after the same time on Elasticity this has a sixth less error than with attention among
    the latents, and less than without any layer on them in the displacement: datasets/RESULTS.md,
    "What stands between LRSA and FLARE". ``compress_once`` puts Transformer blocks of its own on
    the latents of any mixer, this one as well.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.
        latent_depth: feed-forward layers on the latents, one after the other.
        ffn_ratio: their width over C.
        sharpness, latent_start: see :class:`~lrsa_geo.nn.LRSA`.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LightLRSA
        >>> layer = LightLRSA(channels=16, heads=2, num_latents=4)
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
    ) -> None:
        super().__init__(
            channels,
            heads,
            num_latents,
            latent_depth,
            ffn_ratio,
            sharpness,
            latent_start,
            latent_attention=False,
        )
