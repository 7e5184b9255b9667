"""Low-Rank Spatial Attention: the layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn import attention
from lrsa_geo.nn.attention import SoftmaxSummary
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import LowRankMixer, head_width
from lrsa_geo.nn.pointwise import (
    FeedForward,
    Linear,
    RMSNorm,
    reset_children,
    rms_normalized,
)


class LatentBlock(nn.Module):
    r"""One Transformer block on the latents, every step pre-normed.

    .. math::
        Z \leftarrow Z + \mathrm{FFN}(\mathrm{Norm}(Z)), \quad
        Z \leftarrow Z + \mathrm{SelfAttention}(\mathrm{Norm}(Z)), \quad
        Z \leftarrow Z + \mathrm{FFN}(\mathrm{Norm}(Z))

    Args:
        channels: C.
        heads: H.
        ffn_ratio: width of the feed-forward layers over C.
        attention: with the last two steps; without them the latents do not see each other.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LatentBlock
        >>> LatentBlock(channels=16, heads=2, ffn_ratio=2.0)(torch.randn(3, 8, 16)).shape
        torch.Size([3, 8, 16])
    """

    def __init__(self, channels: int, heads: int, ffn_ratio: float, attention: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.norms = nn.ModuleList(RMSNorm(channels) for _ in range(3 if attention else 1))
        self.ffn_before = FeedForward(channels, round(channels * ffn_ratio), channels)
        if not attention:
            return
        self.to_qkv = Linear(channels, 3 * channels, bias=False, parts=3)
        self.query_norm = RMSNorm(channels // heads, gain=1)  # keys have none
        self.attention_out = Linear(channels, channels)
        self.ffn_after = FeedForward(channels, round(channels * ffn_ratio), channels)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    @torch.no_grad()
    def scale_residuals(self, factor: float) -> None:
        """Multiply what the block adds to its input."""
        self.ffn_before.out.weight.mul_(factor)
        if self.attention:
            self.attention_out.weight.mul_(factor)
            self.ffn_after.out.weight.mul_(factor)

    def forward(self, z: Tensor) -> Tensor:
        """``[B, M, C]`` -> ``[B, M, C]``."""
        z = z + self.ffn_before(self.norms[0](z))
        if not self.attention:
            return z
        z = z + self.self_attention(self.norms[1](z))
        return z + self.ffn_after(self.norms[2](z))

    def self_attention(self, z: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V over the latents of each graph."""
        qk, v = self.to_qkv(z).unflatten(-1, (3, self.heads, -1)).split([2, 1], dim=2)
        q, k = rms_normalized(qk).unbind(2)
        q = self.query_norm.amplified(q)
        attended = attention.attend(
            q.transpose(1, 2), k.transpose(1, 2), v.squeeze(2).transpose(1, 2)
        )
        return self.attention_out(attended.transpose(1, 2).flatten(2))


class LatentBlocks(nn.Sequential):
    """Several :class:`LatentBlock`, which start by adding little to their input.

    Args:
        channels: C.
        heads: H.
        ffn_ratio: width of the feed-forward layers over C.
        depth: number of blocks.
        start: what they add at the start, as a share of what fresh weights would.
        attention: see :class:`LatentBlock`.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_ratio: float,
        depth: int,
        start: float,
        attention: bool = True,
    ) -> None:
        super().__init__(
            *(LatentBlock(channels, heads, ffn_ratio, attention) for _ in range(depth))
        )
        self.start = start

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)
        for block in self:
            assert isinstance(block, LatentBlock)
            block.scale_residuals(self.start)


class NodeVectors(NamedTuple):
    """What the nodes give to the attention, ``[R, H, d]`` each: queries and keys normalised.

    Attributes:
        keys: that compress asks for; None where only reconstruct follows.
        values: that compress gathers; None where only reconstruct follows.
        queries: of reconstruct; None where only compress follows.
    """

    keys: Tensor | None
    values: Tensor | None
    queries: Tensor | None


class LRSA(LowRankMixer):
    r"""Low-Rank Spatial Attention (arXiv 2604.03582): global mixing of N nodes at O(N M) cost.

    .. math::
        Z = \mathrm{compress}(x) = O_1 \, \mathrm{softmax}_{i \in g}
            \big(Q k(x_i)^T / \sqrt d + \log w_i\big) \, v(x_i), \qquad
        Z \leftarrow \mathrm{process}(Z), \qquad
        y_i = O_2 \, \mathrm{softmax}_m\big(q(x_i) k'(Z_m)^T / \sqrt d\big) \, v'(Z_m)

    M learned latents :math:`Q` attend to the nodes of one graph (never to another's), a standard
    Transformer block works on the latents, and the nodes attend to the latents. Queries and keys
    are RMS-normalised per head. With :math:`w_i` the measure of the nodes the softmax is a
    quadrature of an integral over the domain; a node with :math:`w_i = 0` reads the field without
    influencing it.

    The layer has no residual and no norm of its input: :class:`~lrsa_geo.nn.LRSABlock` adds them.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.
        latent_depth: Transformer blocks on the latents; 0 leaves the latents unprocessed.
        ffn_ratio: width of the feed-forward layers on the latents over C.
        sharpness: how peaked both softmaxes are at the start: the gain of the normalised latents,
            as queries and as keys, from which it is learned. Small ones let all latents see nearly
            the same mean.
        latent_start: what the blocks on the latents add to their input at the start, as a share of
            what fresh weights would give.
        latent_attention: with self-attention and a second feed-forward layer on the latents;
            without is an ablation of the paper.
        aligned_start: at the start nodes read those latents that hear of them: q has the weights
            of k, :math:`O_1 v` is the identity, so that latents are means of nodes (in each head
            by its weights), and :math:`k'` has those of k too, so that the key of a latent is that
            of the nodes it hears. Without, all weights are drawn on their own, and at the start
            every node reads nearly the same mixture of latents.

    Shapes:
        - **x**: packed ``(R, C)`` with **batch** ``(R,)``, or dense ``(B, N, C)`` with **mask**
          ``(B, N)``; the same answer from both. R is the number of nodes of all graphs.
        - **measure**: ``(R,)`` or ``(B, N)``.
        - **output**: the shape of x.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LRSA
        >>> layer = LRSA(channels=16, heads=2, num_latents=4)
        >>> batch = torch.tensor([0, 0, 0, 1, 1])
        >>> layer(torch.randn(5, 16), batch).shape
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
        aligned_start: bool = True,
    ) -> None:
        super().__init__(channels)
        width = head_width(channels, heads, num_latents)
        self.heads = heads
        self.num_latents = num_latents
        self.aligned_start = aligned_start

        self.latents = nn.Parameter(torch.empty(num_latents, heads, width))
        self.to_keys_values = Linear(channels, 2 * channels, bias=False, parts=2)
        self.latent_norm = RMSNorm(width, gain=sharpness)
        self.node_norm = RMSNorm(width)  # of keys and queries
        self.compress_out = self._make_compress_out()

        self.latent_blocks = LatentBlocks(
            channels, heads, ffn_ratio, latent_depth, latent_start, latent_attention
        )

        self.processed_norm = RMSNorm(channels)
        self.to_queries = Linear(channels, channels, bias=False)
        self._make_latent_keys_and_values()
        self.latent_key_norm = RMSNorm(width, gain=sharpness)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def _make_compress_out(self) -> nn.Module:
        """O_1."""
        return Linear(self.channels, self.channels)

    def _make_latent_keys_and_values(self) -> None:
        """Weights of k' and v'."""
        self.to_latent_keys_values = Linear(self.channels, 2 * self.channels, bias=False, parts=2)

    def reset_parameters(self) -> None:
        """Draw new weights. The latents start distinct: as queries of unit variance."""
        self._draw()
        if self.aligned_start:
            self._align()

    def _draw(self) -> None:
        nn.init.normal_(self.latents)
        reset_children(self)

    @torch.no_grad()
    def _align(self) -> None:
        """Start with q = k; v is a rotation, about as large as the others."""
        of_keys, of_values = self.to_keys_values.weight.chunk(2)
        nn.init.orthogonal_(of_values)
        self.to_queries.weight.copy_(of_keys)
        self._align_latents(of_keys, of_values)

    def _align_latents(self, of_keys: Tensor, of_values: Tensor) -> None:
        """Start with O_1 v = 1 and k' = k."""
        assert isinstance(self.compress_out, Linear)
        self.compress_out.weight.copy_(of_values.T)
        self.to_latent_keys_values.weight.chunk(2)[0].copy_(of_keys)

    def prepare(self, rows: Tensor) -> NodeVectors:
        """Keys, values and queries of the nodes ``[R, C]``.

        Keys and queries come from one product and norm. The values have a product of their own:
        as a part of that one they would keep all of it in memory until the backward pass.
        """
        of_keys, of_values = self.to_keys_values.weight.chunk(2)
        both = F.linear(rows, torch.cat([of_keys, self.to_queries.weight]))
        keys, queries = self.node_norm(both.unflatten(-1, (2, self.heads, -1))).unbind(1)
        return NodeVectors(keys, F.linear(rows, of_values).unflatten(-1, (self.heads, -1)), queries)

    def to_compress(self, rows: Tensor) -> NodeVectors:
        """Keys and values alone."""
        keys, values = self.to_keys_values(rows).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return NodeVectors(self.node_norm(keys), values, None)

    def to_reconstruct(self, rows: Tensor) -> NodeVectors:
        """Queries alone."""
        queries = self.to_queries(rows).unflatten(-1, (self.heads, -1))
        return NodeVectors(None, None, self.node_norm(queries))

    def compress(self, nodes: NodeVectors, layout: NodeLayout) -> Tensor:
        """Latents ``[B, M, C]``, by a fused kernel."""
        z = attention.compress(*self._queries_keys_values(nodes), layout)
        return self.compress_out(z.flatten(2))

    def summarize(self, nodes: NodeVectors, layout: NodeLayout) -> SoftmaxSummary:
        """What :meth:`compress` gathers, as log-sum-exp and mean, which can be added."""
        return attention.summarize(*self._queries_keys_values(nodes), layout)

    def latents_of(self, summary: SoftmaxSummary) -> Tensor:
        """Latents ``[B, M, C]`` from a summary of all nodes."""
        return self.compress_out(summary.mean.flatten(2))

    def _queries_keys_values(self, nodes: NodeVectors) -> tuple[Tensor, Tensor, Tensor]:
        assert nodes.keys is not None
        assert nodes.values is not None
        return self.latent_norm(self.latents).to(nodes.values.dtype), nodes.keys, nodes.values

    def process(self, z: Tensor) -> Tensor:
        """A standard Transformer block, ``latent_depth`` times: ``[B, M, C]`` -> ``[B, M, C]``."""
        return self.latent_blocks(z)

    def reconstruct(self, nodes: NodeVectors, z: Tensor, layout: NodeLayout) -> Tensor:
        """Nodes read their graph's latents ``[B, M, C]`` -> ``[R, C]``."""
        assert nodes.queries is not None
        keys, values = self._latent_keys_and_values(z)
        y = attention.reconstruct(nodes.queries, self.latent_key_norm(keys), values, layout)
        return self.reconstruct_out(y.flatten(1))

    def _latent_keys_and_values(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, M, H, d]`` each."""
        normed = self.processed_norm(z)
        keys, values = (
            self.to_latent_keys_values(normed).unflatten(-1, (2, self.heads, -1)).unbind(2)
        )
        return keys, values

    def extra_repr(self) -> str:
        """What the printed module shows."""
        return f"{self.channels}, heads={self.heads}, num_latents={self.num_latents}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()}, latent_depth={len(self.latent_blocks)})"
