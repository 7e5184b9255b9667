"""GeometryOperator: from nodes with positions and features to fields at the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn.block import MixerBlock, Order
from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.local import EdgeLayout, LocalLayer, check_edges
from lrsa_geo.nn.lrsa import LRSA
from lrsa_geo.nn.mixers import PhysicsAttention
from lrsa_geo.nn.pointwise import FeedForward, Linear, RMSNorm, modulate, reset_children
from lrsa_geo.nn.ragged import NodeLayout

Mixer = Literal["lrsa", "transolver", "none"]


class GeometryOperator(nn.Module):
    r"""Lift, ``depth`` blocks of Low-Rank Spatial Attention, project.

    .. math::
        h^0_i = \mathrm{MLP}\big(x_i, \mathrm{Fourier}(p_i)\big), \qquad
        h^{l+1} = \mathrm{Block}_l(h^l), \qquad
        y_i = W \, \mathrm{Norm}(h^L_i) + b

    (arXiv 2604.03582, section 3). Conditions of a graph modulate the latents of every block and the
    last norm, see :class:`Condition`.

    Args:
        in_channels: F, node features besides the position; may be 0.
        out_channels: K, fields to predict.
        pos_dim: D.
        channels: C.
        depth: number of blocks.
        heads: H.
        num_latents: M.
        cond_channels: P, graph-level parameters; may be 0.
        fourier_octaves: scales of the position encoding, see :class:`FourierEncoding`.
        latent_depth: Transformer blocks on the latents of each block.
        ffn_ratio: width of the feed-forward layers over C.
        local: message passing in the blocks, see :class:`LocalLayer`; None for none.
        local_blocks: numbers of the blocks that have it, such as (0, -1) for the first and the
            last; None for all. It is not read without ``local``. What it saves, and what it costs:
            ``datasets/elasticity/README.md``.
        order: of the local and the global layer, see :class:`~lrsa_geo.nn.MixerBlock`.
        mixer: the global layer of the blocks: "lrsa"; "transolver", the peer
            :class:`~lrsa_geo.nn.PhysicsAttention`; or "none", for message passing alone.
        relative_positions: positions count from the centre of mass of their graph, so that the
            answer does not depend on where the origin is.

    Shapes:
        - **x** ``(R, F)`` or None if F = 0, **pos** ``(R, D)`` (about -1 to 1),
          **batch** ``(R,)``, **edge_index** ``(2, E)``, **cond** ``(B, P)``, **measure** ``(R,)``
        - **output** ``(R, K)``

    Raises:
        ValueError: an argument's shape or value does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pos_dim: int,
        channels: int = 128,
        depth: int = 8,
        heads: int = 8,
        num_latents: int = 64,
        cond_channels: int = 0,
        fourier_octaves: int = 5,
        latent_depth: int = 1,
        ffn_ratio: float = 2.0,
        local: str | nn.Module | None = None,
        local_blocks: Sequence[int] | None = None,
        order: Order = "local-first",
        mixer: Mixer = "lrsa",
        relative_positions: bool = False,
    ) -> None:
        super().__init__()
        with_local = set() if local is None else _block_numbers(local_blocks, depth)
        if mixer == "none" and len(with_local) < depth:
            raise ValueError(
                "`mixer` is 'none', and in blocks without `local` nothing would mix the nodes"
            )
        self.relative_positions = relative_positions
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pos_dim = pos_dim
        self.cond_channels = cond_channels
        self.encode = FourierEncoding(pos_dim, fourier_octaves)
        self.lift = FeedForward(in_channels + self.encode.out_channels, channels, channels)
        self.condition = Condition(cond_channels, channels, depth) if cond_channels else None
        self.blocks = nn.ModuleList(
            MixerBlock(
                channels,
                _make_mixer(mixer, channels, heads, num_latents, latent_depth, ffn_ratio),
                ffn_ratio,
                None
                if local is None or number not in with_local
                else LocalLayer(local, channels, pos_dim),
                order,
            )
            for number in range(depth)
        )
        self.has_local = bool(with_local)
        self.norm = RMSNorm(channels)
        self.project = Linear(channels, out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; what a block adds to the residual stream starts at 1/sqrt(2 depth)."""
        reset_children(self)
        scale = (2 * len(self.blocks)) ** -0.5
        for block in self.blocks:
            assert isinstance(block, MixerBlock)
            block.scale_residuals(scale)

    def forward(
        self,
        x: Tensor | None,
        pos: Tensor,
        batch: Tensor | NodeLayout | None = None,
        *,
        edge_index: Tensor | None = None,
        cond: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> Tensor:
        """Predict the fields of all graphs of a batch.

        Args:
            x: node features.
            pos: node positions.
            batch: graph of each node, sorted or not; None for one graph.
            edge_index: mesh edges, from ``edge_index[0]`` to ``edge_index[1]``; needed with
                ``local`` and not used without.
            cond: parameters of each graph.
            measure: quadrature weight of each node, see :class:`LRSA`.
        """
        self._check(x, pos)
        layout = NodeLayout.of(pos, batch, measure=measure)
        if self.relative_positions:
            pos = self._from_centre(pos, layout)
        features = self.encode(pos)
        if x is not None:
            features = torch.cat([x, features], dim=1)
        h = self.lift(layout.pack(features))
        edges = self._edges(edge_index, layout, pos, measure)
        packed_pos = layout.pack(pos)
        modulations: Sequence[Tensor | None] = [None] * (len(self.blocks) + 1)
        if self.condition is not None:
            modulations = self.condition(self._checked_cond(cond, layout))
        elif cond is not None:
            raise ValueError("`cond` is given, but the model was built with cond_channels=0")
        for block, modulation in zip(self.blocks, modulations, strict=False):
            assert isinstance(block, MixerBlock)
            h = block.mix(h, layout, modulation, packed_pos, edges)
        h = self.norm(h)
        if modulations[-1] is not None:
            h = modulate(h, modulations[-1][layout.graph_of_row(h.device)])
        return layout.unpack(self.project(h))

    def _check(self, x: Tensor | None, pos: Tensor) -> None:
        if pos.dim() != 2 or pos.shape[1] != self.pos_dim:
            raise ValueError(f"`pos` has shape {list(pos.shape)}, expected [nodes, {self.pos_dim}]")
        if x is None and self.in_channels:
            raise ValueError(f"`x` is None, expected [{len(pos)}, {self.in_channels}]")
        if x is not None and x.shape != (len(pos), self.in_channels):
            raise ValueError(
                f"`x` has shape {list(x.shape)}, expected [{len(pos)}, {self.in_channels}]"
            )

    def _from_centre(self, pos: Tensor, layout: NodeLayout) -> Tensor:
        """p_i - sum_j w_j p_j / sum_j w_j, over the nodes of each graph."""
        rows, graph = layout.pack(pos), layout.graph_of_row(pos.device)
        weight = torch.ones_like(rows[:, :1]) if layout.share is None else layout.share[:, None]
        weight = weight.to(rows.dtype)
        zeros = rows.new_zeros(layout.num_graphs, self.pos_dim + 1)
        sums = zeros.index_add(0, graph, torch.cat([weight * rows, weight], dim=1))
        centre = sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny)
        return layout.unpack(rows - centre[graph])

    def _edges(
        self, edge_index: Tensor | None, layout: NodeLayout, pos: Tensor, measure: Tensor | None
    ) -> EdgeLayout | None:
        if not self.has_local:
            return None
        if edge_index is None:
            raise ValueError(
                "`edge_index` is None, but the model has local layers; make edges with CellsToEdges"
                " (meshes) or KNNEdges (point clouds) of lrsa_geo.mesh"
            )
        if layout.inverse is not None:
            check_edges(edge_index, len(pos))  # before it is an index
            edge_index = layout.inverse[edge_index]
        weights = None if measure is None else layout.pack(measure[:, None]).squeeze(1)
        return EdgeLayout(edge_index, layout.pack(pos), weights, layout.graph_of_row(pos.device))

    def _checked_cond(self, cond: Tensor | None, layout: NodeLayout) -> Tensor:
        expected = (layout.num_graphs, self.cond_channels)
        if cond is None or cond.shape != expected:
            found = "None" if cond is None else f"of shape {list(cond.shape)}"
            raise ValueError(f"`cond` is {found}, expected {list(expected)}, one row per graph")
        return cond


def _block_numbers(local_blocks: Sequence[int] | None, depth: int) -> set[int]:
    """The blocks with message passing, counted from the front."""
    if local_blocks is None:
        return set(range(depth))
    if not local_blocks:
        raise ValueError("`local_blocks` names no block; `local` is None for none")
    for number in local_blocks:
        if not -depth <= number < depth:
            raise ValueError(f"`local_blocks` names block {number} of {depth}")
    return {number % depth for number in local_blocks}


def _make_mixer(
    mixer: Mixer,
    channels: int,
    heads: int,
    num_latents: int,
    latent_depth: int,
    ffn_ratio: float,
) -> LRSA | PhysicsAttention | None:
    if mixer == "lrsa":
        return LRSA(channels, heads, num_latents, latent_depth, ffn_ratio)
    if mixer == "transolver":
        return PhysicsAttention(channels, heads, num_latents)
    if mixer == "none":
        return None
    raise ValueError(f"`mixer` is '{mixer}', expected one of {get_args(Mixer)}")


class Condition(nn.Module):
    r"""Graph-level parameters for every block and for the output.

    .. math::
        (\gamma_l, \sigma_l) = W_l \, \mathrm{MLP}(c), \quad l = 0, \dots, L

    Block l works on latents :math:`(1 + \gamma_l) Z + \sigma_l`, the output on
    :math:`(1 + \gamma_L) \mathrm{Norm}(h) + \sigma_L`. A load that scales a field does not survive
    the normalisations of a deep network otherwise. The W start at zero.

    Args:
        cond_channels: P.
        channels: C.
        depth: L.
    """

    def __init__(self, cond_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.embed = FeedForward(cond_channels, channels, channels)
        self.to_modulations = Linear(channels, (depth + 1) * 2 * channels)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        self.embed.reset_parameters()
        nn.init.zeros_(self.to_modulations.weight)
        nn.init.zeros_(self.to_modulations.bias)

    def forward(self, cond: Tensor) -> tuple[Tensor, ...]:
        """``[B, P]`` -> L + 1 times ``[B, 2 C]``."""
        return self.to_modulations(F.gelu(self.embed(cond))).chunk(self.depth + 1, dim=1)
