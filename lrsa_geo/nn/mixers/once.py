"""One compress and one reconstruct for the whole network: latent neural operators."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import LowRankMixer, Summary
from lrsa_geo.nn.mixers.lrsa import LatentBlocks
from lrsa_geo.nn.pointwise import reset_children


class CompressOnce(LowRankMixer):
    r"""A mixer of low rank with a deep network on its latents (LNO, arXiv 2406.03923).

    .. math::
        Z = \mathrm{compress}(x), \qquad
        Z \leftarrow B_L(\dots B_1(\mathrm{process}(Z))), \qquad
        y = \mathrm{reconstruct}(x, Z)

    with Transformer blocks :math:`B_l` (:class:`~lrsa_geo.nn.LatentBlock`). In the template
    :math:`K \approx U G V^T` all depth is in G: a network needs one such layer, and its cost on the
    nodes does not grow with L. :class:`~lrsa_geo.nn.OperatorConfig` makes networks of it with
    ``compress_once``.

    Args:
        mixer: compresses and reconstructs.
        heads: of the blocks' attention.
        depth: L.
        ffn_ratio: width of the blocks' feed-forward layers over C.
        start: what the blocks add at the start, as a share of what fresh weights would.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FLARE, CompressOnce
        >>> layer = CompressOnce(FLARE(channels=16, heads=2, num_latents=4), heads=2, depth=3)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        mixer: LowRankMixer,
        heads: int,
        depth: int,
        ffn_ratio: float = 2.0,
        start: float = 0.2,
    ) -> None:
        super().__init__(mixer.channels)
        self.mixer = mixer
        self.blocks = LatentBlocks(mixer.channels, heads, ffn_ratio, depth, start)
        self.blocks.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def prepare(self, rows: Tensor) -> Any:
        """As the mixer does."""
        return self.mixer.prepare(rows)

    def to_compress(self, rows: Tensor) -> Any:
        """As the mixer does."""
        return self.mixer.to_compress(rows)

    def to_reconstruct(self, rows: Tensor) -> Any:
        """As the mixer does."""
        return self.mixer.to_reconstruct(rows)

    def compress(self, nodes: Any, layout: NodeLayout) -> Tensor:
        """As the mixer does."""
        return self.mixer.compress(nodes, layout)

    def summarize(self, nodes: Any, layout: NodeLayout) -> Summary:
        """As the mixer does."""
        return self.mixer.summarize(nodes, layout)

    def latents_of(self, summary: Any) -> Tensor:
        """As the mixer does."""
        return self.mixer.latents_of(summary)

    def process(self, z: Tensor) -> Tensor:
        """As the mixer does, and then the blocks: ``[B, M, C]`` -> ``[B, M, C]``."""
        processed: Tensor = self.blocks(self.mixer.process(z))
        return processed

    def reconstruct(self, nodes: Any, z: Tensor, layout: NodeLayout) -> Tensor:
        """As the mixer does."""
        return self.mixer.reconstruct(nodes, z, layout)

    def scale_output(self, factor: float) -> None:
        """Multiply what the mixer gives."""
        self.mixer.scale_output(factor)
