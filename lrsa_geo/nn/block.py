"""A block of an operator: message passing, global mixing, feed-forward, each with its residual."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from lrsa_geo.nn.config import Order
from lrsa_geo.nn.layout import EdgeLayout, NodeLayout
from lrsa_geo.nn.local import LocalLayer
from lrsa_geo.nn.mixers import LRSA, Mixer
from lrsa_geo.nn.module import NodeModule
from lrsa_geo.nn.pointwise import FeedForward, RMSNorm, modulate, reset_children


class MixerBlock(NodeModule):
    r"""Pre-normed residual block: mixing of nodes, then a pointwise feed-forward layer.

    .. math::
        h \leftarrow h + \mathrm{Local}(h), \qquad
        h \leftarrow h + \mathrm{Mixer}(\mathrm{Norm}(h)), \qquad
        h \leftarrow h + \mathrm{FFN}(\mathrm{Norm}(h))

    The local and the global step come in the given order, or both from the same h; either may be
    left out.

    Args:
        channels: C.
        mixer: global mixing, see :class:`~lrsa_geo.nn.Mixer`; None for none, and then a
            condition modulates what the feed-forward layer reads.
        ffn_ratio: width of the feed-forward layer over C.
        local: message passing over edges, which :meth:`mix` takes.
        order: "local-first", "global-first" or "parallel".

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import MixerBlock, PhysicsAttention
        >>> block = MixerBlock(16, PhysicsAttention(16, heads=2, num_latents=4))
        >>> block(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        channels: int,
        mixer: Mixer | None,
        ffn_ratio: float = 2.0,
        local: LocalLayer | None = None,
        order: Order = "local-first",
    ) -> None:
        super().__init__(channels)
        if order not in get_args(Order):
            raise ValueError(f"`order` is '{order}', expected one of {get_args(Order)}")
        self.mixer_norm = RMSNorm(channels)
        self.mixer = mixer
        self.local = local
        self.order = order
        self.ffn_norm = RMSNorm(channels)
        self.ffn = FeedForward(channels, round(channels * ffn_ratio), channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    @torch.no_grad()
    def scale_residuals(self, factor: float) -> None:
        """Multiply what the block adds to its input; deep stacks start with less of it."""
        self.ffn.out.weight.mul_(factor)
        if self.mixer is not None:
            self.mixer.scale_output(factor)
        if self.local is not None:
            self.local.scale_output(factor)

    def mix(
        self,
        rows: Tensor,
        layout: NodeLayout,
        modulation: Tensor | None = None,
        pos: Tensor | None = None,
        edges: EdgeLayout | None = None,
    ) -> Tensor:
        """The block on packed rows, ``[R, C]`` -> ``[R, C]``.

        Args:
            rows: node features.
            layout: the graphs.
            modulation: as in :meth:`Mixer.mix`.
            pos: ``[R, D]`` packed positions, for the local layer.
            edges: between packed rows, for the local layer.

        Raises:
            ValueError: there is a local layer, but no edges.
        """
        if layout.across is not None:
            layout.across.check(self)
        before = rows
        if self.local is not None and self.order != "global-first":
            rows = rows + self.local(rows, pos, edges, layout)
        if self.mixer is not None:
            seen = before if self.order == "parallel" else rows
            rows = rows + self.mixer.mix(self.mixer_norm(seen), layout, modulation)
        if self.local is not None and self.order == "global-first":
            rows = rows + self.local(rows, pos, edges, layout)
        read = self.ffn_norm(rows)
        if self.mixer is None and modulation is not None:
            read = modulate(read, modulation[layout.graph])
        return rows + self.ffn(read)


class LRSABlock(MixerBlock):
    """:class:`MixerBlock` around :class:`~lrsa_geo.nn.LRSA`.

    Args:
        channels, heads, num_latents, latent_depth, ffn_ratio: see :class:`~lrsa_geo.nn.LRSA`;
            ``ffn_ratio`` holds for the nodes' feed-forward layer too.
        local, order: see :class:`MixerBlock`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LRSABlock
        >>> LRSABlock(16, heads=2, num_latents=4)(torch.randn(2, 7, 16)).shape
        torch.Size([2, 7, 16])
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        num_latents: int = 64,
        latent_depth: int = 1,
        ffn_ratio: float = 2.0,
        local: LocalLayer | None = None,
        order: Order = "local-first",
    ) -> None:
        mixer = LRSA(channels, heads, num_latents, latent_depth, ffn_ratio)
        super().__init__(channels, mixer, ffn_ratio, local, order)
