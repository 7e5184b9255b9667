"""GeometryOperator: from nodes with positions and features to fields at the nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.lrsa import EPS, LRSABlock
from lrsa_geo.nn.ragged import NodeLayout


class GeometryOperator(nn.Module):
    r"""Lift, ``depth`` blocks of Low-Rank Spatial Attention, project.

    .. math::
        h^0_i = \mathrm{MLP}\big(x_i, \mathrm{Fourier}(p_i)\big) + \mathrm{MLP}(c_g), \qquad
        h^{l+1} = \mathrm{LRSABlock}_l(h^l), \qquad
        y_i = W \, \mathrm{Norm}(h^L_i) + b

    with :math:`c_g` the condition of node i's graph (arXiv 2604.03582, section 3).

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

    Shapes:
        - **x** ``(R, F)`` or None if F = 0, **pos** ``(R, D)`` (about -1 to 1),
          **batch** ``(R,)``, **cond** ``(B, P)``, **measure** ``(R,)``
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
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pos_dim = pos_dim
        self.cond_channels = cond_channels
        self.encode = FourierEncoding(pos_dim, fourier_octaves)
        self.lift = _mlp(in_channels + self.encode.out_channels, channels)
        self.lift_cond = _mlp(cond_channels, channels) if cond_channels else None
        self.blocks = nn.ModuleList(
            LRSABlock(channels, heads, num_latents, latent_depth, ffn_ratio) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(channels, EPS)
        self.project = nn.Linear(channels, out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; what a block adds to the residual stream starts at 1/sqrt(2 depth)."""
        for mlp in (self.lift, self.lift_cond):
            if mlp is not None:
                mlp[0].reset_parameters()
                mlp[2].reset_parameters()
        for block in self.blocks:
            block.reset_parameters()
            with torch.no_grad():
                for layer in (block.mixer.reconstruct_out, block.ffn[2]):
                    layer.weight.mul_((2 * len(self.blocks)) ** -0.5)
        self.norm.reset_parameters()
        self.project.reset_parameters()

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
            edge_index: mesh edges; the global blocks do not use them.
            cond: parameters of each graph.
            measure: quadrature weight of each node, see :class:`LRSA`.
        """
        self._check(x, pos)
        layout = NodeLayout.of(pos, batch, measure=measure)
        features = self.encode(pos)
        if x is not None:
            features = torch.cat([x, features], dim=1)
        h = self.lift(layout.pack(features))
        if self.lift_cond is not None:
            self._check_cond(cond, layout)
            h = h + self.lift_cond(cond)[layout.graph_of_row(pos.device)]
        for block in self.blocks:
            h = block.mix(h, layout)
        return layout.unpack(self.project(self.norm(h)))

    def _check(self, x: Tensor | None, pos: Tensor) -> None:
        if pos.dim() != 2 or pos.shape[1] != self.pos_dim:
            raise ValueError(f"`pos` has shape {list(pos.shape)}, expected [nodes, {self.pos_dim}]")
        if x is None and self.in_channels:
            raise ValueError(f"`x` is None, expected [{len(pos)}, {self.in_channels}]")
        if x is not None and x.shape != (len(pos), self.in_channels):
            raise ValueError(
                f"`x` has shape {list(x.shape)}, expected [{len(pos)}, {self.in_channels}]"
            )

    def _check_cond(self, cond: Tensor | None, layout: NodeLayout) -> None:
        expected = (layout.num_graphs, self.cond_channels)
        if cond is None or cond.shape != expected:
            found = "None" if cond is None else f"of shape {list(cond.shape)}"
            raise ValueError(f"`cond` is {found}, expected {list(expected)}, one row per graph")


def _mlp(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, channels), nn.GELU(), nn.Linear(channels, channels))
