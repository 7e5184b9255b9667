"""Cross-attention there and back with the same logits: U and V of the template are tied."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from lrsa_geo.nn import attention
from lrsa_geo.nn.attention import SoftmaxSummary
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import LowRankMixer, head_width


class TiedAttention(LowRankMixer):
    r"""What mixers have in common whose compress and reconstruct share their logits.

    .. math::
        Z_m = \sum_{i \in g} \frac{w_i e^{a_{mi}}}{\sum_j w_j e^{a_{mj}}} v_i, \qquad
        y_i = \sum_m \frac{e^{a_{mi}}}{\sum_n e^{a_{ni}}} v'(Z)_m, \qquad
        a_{mi} = q_m \cdot k_i / \sqrt d

    One matrix of logits is normalised over the nodes to gather and over the latents to give back:
    in the template :math:`K \approx U G V^T`, U and V are the same but for that.
    :class:`~lrsa_geo.nn.LRSA` has one for each.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.
    """

    def __init__(self, channels: int, heads: int, num_latents: int) -> None:
        super().__init__(channels)
        self.heads = heads
        self.num_latents = num_latents
        self.head_width = head_width(channels, heads, num_latents)

    @abstractmethod
    def prepare(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[R, H, d]`` of the nodes ``[R, C]``."""

    @abstractmethod
    def latent_queries(self) -> Tensor:
        """Queries ``[M, H, d]`` of the latents, for logits over sqrt(d)."""

    def compress(self, nodes: tuple[Tensor, Tensor], layout: NodeLayout) -> Tensor:
        """Latents ``[B, M, C]``, by a fused kernel."""
        keys, values = nodes
        queries = self.latent_queries().to(values.dtype)
        return self.from_means(attention.compress(queries, keys, values, layout).flatten(2))

    def summarize(self, nodes: tuple[Tensor, Tensor], layout: NodeLayout) -> SoftmaxSummary:
        """What :meth:`compress` gathers, as log-sum-exp and mean, which can be added."""
        keys, values = nodes
        return attention.summarize(self.latent_queries().to(values.dtype), keys, values, layout)

    def latents_of(self, summary: SoftmaxSummary) -> Tensor:
        """Latents ``[B, M, C]`` from a summary of all nodes."""
        return self.from_means(summary.mean.flatten(2))

    def from_means(self, means: Tensor) -> Tensor:
        """Latents from the weighted means of the values, ``[B, M, C]``; these themselves."""
        return means

    def latent_values(self, z: Tensor) -> Tensor:
        """What nodes read of the latents, ``[B, M, C]``; these themselves."""
        return z

    def reconstruct(self, nodes: tuple[Tensor, Tensor], z: Tensor, layout: NodeLayout) -> Tensor:
        """Nodes read the latents ``[B, M, C]`` of their graph -> ``[R, C]``."""
        keys, _ = nodes
        values = self.latent_values(z).unflatten(-1, (self.heads, -1))
        queries = self.latent_queries().to(values.dtype).expand(len(z), -1, -1, -1)
        y = attention.reconstruct(keys, queries, values, layout)
        return self.reconstruct_out(y.flatten(1))
