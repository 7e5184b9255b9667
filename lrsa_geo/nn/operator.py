"""GeometryOperator: from nodes with positions and features to fields at the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lrsa_geo.nn.attention import with_second_derivatives
from lrsa_geo.nn.block import MixerBlock
from lrsa_geo.nn.condition import Condition
from lrsa_geo.nn.config import OperatorConfig
from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.layout import GraphLayout, NodeLayout
from lrsa_geo.nn.local import LocalLayer
from lrsa_geo.nn.mesh_conv import MeshConv
from lrsa_geo.nn.mixers import MIXERS, CompressOnce, LowRankMixer, Mixer
from lrsa_geo.nn.pointwise import FeedForward, Linear, RMSNorm, modulate, reset_children
from lrsa_geo.nn.registry import build


class GeometryOperator(nn.Module):
    r"""Neural operator on meshes and point clouds: lift, blocks of global mixing, project.

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
        cond_channels: P, graph-level parameters; may be 0.
        config: sizes and parts; the defaults of :class:`OperatorConfig` if None.
        changes: values of ``config`` by name, such as ``channels=64, local="MeshConv"``.

    Shapes:
        - **x** ``(R, F)`` or None if F = 0, **pos** ``(R, D)`` (about -1 to 1),
          **batch** ``(R,)``, **edge_index** ``(2, E)``, **cond** ``(B, P)``, **measure** ``(R,)``
        - **output** ``(R, K)``

    Raises:
        ValueError: an argument's shape or value does not fit.
        TypeError: ``changes`` names something that :class:`OperatorConfig` has not.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GeometryOperator
        >>> model = GeometryOperator(in_channels=3, out_channels=1, pos_dim=2, channels=64, depth=2)
        >>> batch = torch.tensor([0] * 40 + [1] * 60)
        >>> model(torch.randn(100, 3), torch.rand(100, 2), batch).shape
        torch.Size([100, 1])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pos_dim: int,
        *,
        cond_channels: int = 0,
        config: OperatorConfig | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        config = replace(config or OperatorConfig(), **changes)
        channels, depth = config.channels, config.num_blocks
        with_local = config.blocks_with_local()
        if config.mixer == "none" and len(with_local) < depth:
            raise ValueError(
                "`mixer` is 'none', and in blocks without `local` nothing would mix the nodes"
            )
        if config.fourier_octaves == "auto":
            raise ValueError(
                "`fourier_octaves` is 'auto', which only a training on meshes works out; expected a"
                " number"
            )
        self.config = config
        self.relative_positions = config.relative_positions
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pos_dim = pos_dim
        self.cond_channels = cond_channels
        self.encode = FourierEncoding(pos_dim, config.fourier_octaves)
        self.lift = FeedForward(in_channels + self.encode.out_channels, channels, channels)
        self.condition = Condition(cond_channels, channels, depth) if cond_channels else None
        self.blocks = nn.ModuleList(
            MixerBlock(
                channels,
                _make_mixer(config),
                config.ffn_ratio,
                LocalLayer(config.local, channels, pos_dim, config.local_options)
                if config.local is not None and number in with_local
                else None,
                config.order,
            )
            for number in range(depth)
        )
        self.needs_edges = any(
            layer.needs_edges for layer in self.modules() if isinstance(layer, LocalLayer)
        )
        self.norm = RMSNorm(channels)
        self.project = Linear(channels, out_channels)
        self.reset_parameters()

    @property
    def hops(self) -> int:
        """Edges between a node and the farthest one whose features its messages bring; 0 of none.

        Layers other than :class:`MeshConv` may look at the degrees of the nodes that send, such as
        GCNConv: then the edges of one hop more count.
        """
        layers = [m for m in self.modules() if isinstance(m, LocalLayer) and m.needs_edges]
        more = any(not isinstance(layer.conv, MeshConv) for layer in layers)
        return sum(layer.hops for layer in layers) + more

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
        batch: Tensor | NodeLayout | GraphLayout | None = None,
        *,
        ptr: Tensor | None = None,
        batch_size: int | None = None,
        edge_index: Tensor | None = None,
        cond: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> Tensor:
        """Predict the fields of all graphs of a batch.

        Args:
            x: node features.
            pos: node positions.
            batch: graph of each node, sorted or not, None for one graph; or a ready
                :class:`GraphLayout` or :class:`NodeLayout`.
            ptr, batch_size: see :meth:`NodeLayout.of`.
            edge_index: mesh edges, from ``edge_index[0]`` to ``edge_index[1]``; needed with
                ``local`` and not used without.
            cond: parameters of each graph.
            measure: quadrature weight of each node, see :class:`LRSA`.
        """
        self._check(x, pos)
        if cond is not None and isinstance(batch, Tensor) and ptr is None and batch_size is None:
            batch_size = len(cond)  # the last graphs may have no nodes
        layout = GraphLayout.of(
            pos,
            batch,
            edge_index=self._edge_index(edge_index, batch),
            ptr=ptr,
            batch_size=batch_size,
            measure=measure,
        )
        inputs = (x, pos, cond, layout.nodes.measure)
        return with_second_derivatives(inputs, self._predict, x, pos, layout, cond)

    def _predict(
        self, x: Tensor | None, pos: Tensor, layout: GraphLayout, cond: Tensor | None
    ) -> Tensor:
        nodes, edges = layout.nodes, layout.edges
        if self.relative_positions:
            pos = self._from_centre(pos, nodes)
        h = self.lift(nodes.pack(self.features(x, pos)))
        packed_pos = nodes.pack(pos)
        edges = edges.at(packed_pos) if self.needs_edges and edges is not None else None
        modulations: Sequence[Tensor | None] = [None] * (len(self.blocks) + 1)
        if self.condition is not None:
            modulations = self.condition(self._checked_cond(cond, nodes))
        elif cond is not None:
            raise ValueError("`cond` is given, but the model was built with cond_channels=0")
        for block, modulation in zip(self.blocks, modulations, strict=False):
            assert isinstance(block, MixerBlock)
            h = self._mixed(block, h, nodes, modulation, packed_pos, edges)
        h = self.norm(h)
        if modulations[-1] is not None:
            h = modulate(h, modulations[-1][nodes.graph])
        return nodes.unpack(self.project(h))

    def _mixed(self, block: MixerBlock, h: Tensor, *others: Any) -> Tensor:
        """A block's output; the inside is worked out again in the backward pass if asked for."""
        if not (self.config.checkpoint and torch.is_grad_enabled()):
            return block.mix(h, *others)

        # The others are no arguments of the checkpoint, which would hand on copies: layers know
        # positions by identity. The context says whether there is a second derivative; a compiled
        # graph ends here, and blocks are compiled one by one.
        context = copy_context()

        def mix(rows: Tensor) -> Tensor:
            return block.mix(rows, *others)

        def in_context(rows: Tensor) -> Tensor:
            return context.run(mix, rows)

        function = mix if torch.compiler.is_compiling() else in_context
        mixed: Tensor = checkpoint(function, h, use_reentrant=False)
        return mixed

    def features(self, x: Tensor | None, pos: Tensor) -> Tensor:
        """What the first layer reads of each node, ``[R, F + encoding]``."""
        encoded: Tensor = self.encode(pos)
        return encoded if x is None else torch.cat([x, encoded], dim=1)

    def _check(self, x: Tensor | None, pos: Tensor) -> None:
        if pos.dim() != 2 or pos.shape[1] != self.pos_dim:
            raise ValueError(f"`pos` has shape {list(pos.shape)}, expected [nodes, {self.pos_dim}]")
        if x is None and self.in_channels:
            raise ValueError(f"`x` is None, expected [{len(pos)}, {self.in_channels}]")
        if x is not None and x.shape != (len(pos), self.in_channels):
            raise ValueError(
                f"`x` has shape {list(x.shape)}, expected [{len(pos)}, {self.in_channels}]"
            )
        found = pos.dtype if x is None else torch.promote_types(x.dtype, pos.dtype)
        expected = next(self.lift.parameters()).dtype
        cast = torch.is_autocast_enabled(pos.device.type) and found != torch.float64
        if found.is_floating_point and found != expected and not cast:
            of_x = "" if x is None else f"`x` is of {x.dtype} and "
            raise ValueError(
                f"{of_x}`pos` of {pos.dtype}, but the weights are of {expected}; convert the inputs"
                f" by .to({expected}), or the model"
            )

    def _edge_index(
        self, edge_index: Tensor | None, batch: Tensor | NodeLayout | GraphLayout | None
    ) -> Tensor | None:
        """The edges if they are needed."""
        if not self.needs_edges:
            return None
        ready = isinstance(batch, GraphLayout) and batch.edges is not None
        if edge_index is None and not ready:
            raise ValueError(
                "`edge_index` is None, but the model has local layers; make edges with CellsToEdges"
                " (meshes) or KNNEdges (point clouds) of lrsa_geo.mesh"
            )
        return edge_index

    def _from_centre(self, pos: Tensor, nodes: NodeLayout) -> Tensor:
        """p_i - sum_j w_j p_j / sum_j w_j, over the nodes of each graph."""
        rows, graph = nodes.pack(pos), nodes.graph
        one = torch.ones_like(rows[:, :1])
        weight = one if nodes.share is None else nodes.share[:, None].to(rows.dtype)
        if nodes.across is not None and nodes.measure is not None:
            weight = nodes.measure[:, None].to(rows.dtype)  # a share is of this process alone
        zeros = rows.new_zeros(nodes.num_graphs, self.pos_dim + 1)
        sums = zeros.index_add(0, graph, torch.cat([weight * rows, weight], dim=1))
        if nodes.across is not None:
            equal = zeros.index_add(0, graph, torch.cat([rows, one], dim=1))
            sums, equal = nodes.across.sum(sums, equal)
            sums = torch.where(sums[:, -1:] > 0, sums, equal)  # as in a graph without mass
        centre = sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny)
        return nodes.unpack(rows - centre[graph])

    def _checked_cond(self, cond: Tensor | None, nodes: NodeLayout) -> Tensor:
        expected = (nodes.num_graphs, self.cond_channels)
        if cond is None or cond.shape != expected:
            found = "None" if cond is None else f"of shape {list(cond.shape)}"
            raise ValueError(f"`cond` is {found}, expected {list(expected)}, one row per graph")
        return cond


def _make_mixer(config: OperatorConfig) -> Mixer | None:
    kind = config.mixer
    if isinstance(kind, str):
        if kind == "none" and config.compress_once:
            raise ValueError("`compress_once` compresses by a mixer, and `mixer` is 'none'")
        if kind == "none":
            return None
        if kind not in MIXERS:
            raise ValueError(f"`mixer` is '{kind}', expected one of {[*MIXERS, 'none']}")
        kind = MIXERS[kind]
    given = ("channels", "heads", "num_latents", "latent_depth", "ffn_ratio")
    sizes = {name: getattr(config, name) for name in given}
    mixer = build(kind, sizes, "mixer", config.mixer_options)
    if not isinstance(mixer, Mixer):
        raise ValueError(f"`mixer` makes a {type(mixer).__name__}, expected a Mixer")
    if not config.compress_once:
        return mixer
    if not isinstance(mixer, LowRankMixer):
        raise ValueError(
            f"`compress_once` works on latents, and {type(mixer).__name__} is no LowRankMixer;"
            " choose another `mixer`"
        )
    return CompressOnce(mixer, config.heads, config.depth, config.ffn_ratio)
