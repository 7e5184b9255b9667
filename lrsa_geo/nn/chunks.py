"""A mesh chunk by chunk: its nodes, the edges that reach them, and what a block does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from lrsa_geo.nn.block import MixerBlock
from lrsa_geo.nn.layout import EdgeLayout, NodeLayout
from lrsa_geo.nn.layout.edges import check_edges
from lrsa_geo.nn.layout.rows import check_measure, check_weights
from lrsa_geo.nn.mixers import LowRankMixer, Mixer, Summary
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.parts import needs_whole_mesh
from lrsa_geo.nn.pointwise import modulate

CHUNK = 8192
"""Nodes that are worked on at a time, by measurement: with twice as many a node took half as long
again, for its weights over the latents no longer stay in the cache of the processor."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes of one mesh, all of them or a chunk.

    Attributes:
        x: ``[N, F]``, or None.
        pos: ``[N, D]``.
        measure: ``[N]``, or None.
    """

    x: Tensor | None
    pos: Tensor
    measure: Tensor | None

    def __len__(self) -> int:
        return len(self.pos)

    def __getitem__(self, rows: slice | Tensor) -> Nodes:
        x = None if self.x is None else self.x[rows]
        measure = None if self.measure is None else self.measure[rows]
        return Nodes(x, self.pos[rows], measure)

    def chunks(self, size: int) -> Iterator[slice]:
        """Rows of each chunk."""
        for first in range(0, len(self), size):
            yield slice(first, min(first + size, len(self)))

    @property
    def layout(self) -> NodeLayout:
        """The nodes as a graph."""
        return NodeLayout.of(self.pos, None, measure=self.measure)

    def centre(self, chunk: int) -> Tensor:
        """sum_i w_i p_i / sum_i w_i, as a model has it; with equal weights if all are 0."""
        measure = self.measure if self.measure is not None and bool(self.measure.any()) else None
        if measure is not None:  # a passive node has no gradient, as in a NodeLayout
            measure = measure.masked_fill(measure == 0, 0)
        total = self.pos.new_zeros(self.pos.shape[1] + 1, dtype=torch.float64)
        for rows in self.chunks(chunk):
            pos = self.pos[rows].double()
            weight = pos.new_ones(len(pos)) if measure is None else measure[rows].to(pos)
            weight = weight[:, None]
            total = total + torch.cat([weight * pos, weight], dim=1).sum(0)
        return (total[:-1] / total[-1]).to(self.pos)


def lift(model: GeometryOperator, nodes: Nodes, centre: Tensor | None) -> Tensor:
    """Features that the first block reads."""
    pos = nodes.pos if centre is None else nodes.pos - centre
    lifted: Tensor = model.lift(model.features(nodes.x, pos))
    return lifted


def project(model: GeometryOperator, rows: Tensor, modulation: Tensor | None) -> Tensor:
    """Fields of what the last block gives."""
    last = model.norm(rows)
    projected: Tensor = model.project(last if modulation is None else modulate(last, modulation))
    return projected


def modulations_of(model: GeometryOperator, cond: Tensor | None) -> Sequence[Tensor | None]:
    """Of each block and the last norm; None where the model has no condition."""
    if model.condition is None:
        return [None] * (len(model.blocks) + 1)
    modulations: Sequence[Tensor | None] = model.condition(cond)
    return modulations


@dataclass(frozen=True, eq=False)
class Pass:
    """A part of a block that goes over the features once: it reads them, and gives the next ones.

    Attributes:
        block: whose part it is.
        number: of the block.
        local: the local layer; the rest is off then.
        mixer: the mixer, if the block has one.
        feed: the feed-forward layer, after the mixer.
        reads_first: the mixer reads what the block was given, not what the last pass gave.
    """

    block: MixerBlock
    number: int
    local: bool = False
    mixer: bool = False
    feed: bool = False
    reads_first: bool = False

    @property
    def _low_rank(self) -> LowRankMixer:
        assert isinstance(self.block.mixer, LowRankMixer)
        return self.block.mixer

    def summarize(self, nodes: Nodes, rows: Tensor) -> Summary:
        """What the mixer gathers of a chunk."""
        prepared = self._low_rank.to_compress(self.block.mixer_norm(rows))
        return self._low_rank.summarize(prepared, nodes.layout)

    def latents(self, total: Summary, modulation: Tensor | None) -> Tensor:
        """What the mixer gathered of all chunks, processed."""
        z = self._low_rank.conditioned(self._low_rank.latents_of(total), modulation)
        return self._low_rank.process(z)

    def apply(
        self,
        nodes: Nodes,
        rows: Tensor,
        read: Tensor,
        z: Tensor | None,
        modulation: Tensor | None,
    ) -> Tensor:
        """Features of a chunk after the mixer, which reads ``read``, and the feed-forward layer."""
        if z is not None:
            prepared = self._low_rank.to_reconstruct(self.block.mixer_norm(read))
            rows = rows + self._low_rank.reconstruct(prepared, z, nodes.layout)
        if not self.feed:
            return rows
        seen = self.block.ffn_norm(rows)
        if self.block.mixer is None and modulation is not None:
            seen = modulate(seen, modulation)
        return rows + self.block.ffn(seen)

    def gather(self, nodes: Nodes, read: Tensor, chunk: int) -> Summary | None:
        """What the mixer gathers of all chunks."""
        if not self.mixer:
            return None
        of_chunks = (self.summarize(nodes[rows], read[rows]) for rows in nodes.chunks(chunk))
        return reduce(add, of_chunks)

    def apply_local(self, nodes: Nodes, rows: Tensor, edge_index: Tensor, count: int) -> Tensor:
        """Features of a chunk, the first rows of those given, after the local layer."""
        assert self.block.local is not None
        layout = EdgeLayout(edge_index, nodes.pos, nodes.measure)
        return rows[:count] + self.block.local(rows, layout.pos, layout)[:count]


def passes(model: GeometryOperator) -> Iterator[Pass]:
    """All that the blocks of a model do, in order."""
    for number, block in enumerate(model.blocks):
        assert isinstance(block, MixerBlock)
        mixer = block.mixer is not None
        if block.local is None:
            yield Pass(block, number, mixer=mixer, feed=True)
        elif block.order == "global-first":
            if mixer:
                yield Pass(block, number, mixer=True)
            yield Pass(block, number, local=True)
            yield Pass(block, number, feed=True)
        else:
            parallel = block.order == "parallel"
            yield Pass(block, number, local=True)
            yield Pass(block, number, mixer=mixer, feed=True, reads_first=parallel and mixer)


class Halo:
    """The edges that reach each chunk, with the nodes that they come from.

    Args:
        edge_index: ``[2, E]``.
        nodes: of the mesh.
        chunk: nodes of a chunk.
    """

    def __init__(self, edge_index: Tensor, nodes: Nodes, chunk: int) -> None:
        source, target = edge_index
        if bool((target[1:] < target[:-1]).any()):
            order = torch.argsort(target, stable=True)
            source, target = source[order], target[order]
        self.source, self.target = source, target
        ends = torch.arange(0, len(nodes) + chunk, chunk, device=target.device)
        starts = torch.searchsorted(target.contiguous(), ends).tolist()
        self.chunks = list(zip(nodes.chunks(chunk), starts[:-1], starts[1:], strict=False))

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows of each chunk; its nodes, and then all that send to them; edges between these."""
        for rows, first, last in self.chunks:
            outside, places = self.source[first:last].unique(return_inverse=True)
            here = torch.arange(rows.start, rows.stop, device=outside.device)
            edge_index = torch.stack([places + len(here), self.target[first:last] - rows.start])
            yield rows, torch.cat([here, outside]), edge_index


def new_features(
    model: GeometryOperator, rows: int, make: Callable[[int, int], Tensor] | None
) -> Tensor:
    """``[N, C]`` of the type and on the device of the model.

    Raises:
        ValueError: ``make`` gives something else.
    """
    shape, weight = (rows, model.config.channels), model.project.weight
    if make is None:
        return weight.new_empty(shape)
    buffer = make(*shape)
    if (buffer.shape, buffer.dtype, buffer.device) != (shape, weight.dtype, weight.device):
        raise ValueError(
            f"`buffer` gives {list(buffer.shape)} of {buffer.dtype} on {buffer.device}, expected"
            f" {list(shape)} of {weight.dtype} on {weight.device}, as the model has it"
        )
    return buffer


def check_streamed(
    model: GeometryOperator,
    nodes: Nodes,
    edge_index: Tensor | None,
    cond: Tensor | None,
    chunk: int,
) -> None:
    """Refuse what cannot be worked on chunk by chunk, and inputs that do not fit.

    Raises:
        ValueError: naming it.
    """
    if chunk < 1:
        raise ValueError(f"`chunk` is {chunk}, expected 1 or more nodes")
    if reason := why_not(model):
        raise ValueError(f"{reason}; use the model itself")
    if not len(nodes):
        raise ValueError("`pos` has no node, so there is nothing to predict")
    model._check(nodes.x, nodes.pos)
    if model.needs_edges:
        if edge_index is None:
            raise ValueError("`edge_index` is None, but the model has local layers")
        check_edges(edge_index, len(nodes))
    expected = (1, model.cond_channels)
    if (cond is None) == bool(model.cond_channels) or (cond is not None and cond.shape != expected):
        found = "None" if cond is None else f"of shape {list(cond.shape)}"
        raise ValueError(f"`cond` is {found}, expected {list(expected) if expected[1] else None}")
    if nodes.measure is not None:
        check_measure(nodes.measure, torch.Size([len(nodes)]))
        check_weights(nodes.measure)


def why_not(model: GeometryOperator) -> str:
    """Why a model cannot be streamed; nothing if it can."""
    for number, block in enumerate(model.blocks):
        found = needs_whole_mesh(block)
        if isinstance(found, Mixer):
            return (
                f"block {number} mixes by {type(found).__name__}, which gathers no summary that can"
                " be added, so it cannot be streamed"
            )
        if found is not None:
            return (
                f"block {number} has the local layer {type(found).__name__}, and only MeshConv is"
                " known to read no more than a node's neighbours"
            )
    return ""
