"""Streaming: a model on one mesh of any size, chunk by chunk, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from lrsa_geo.nn.block import MixerBlock
from lrsa_geo.nn.layout import EdgeLayout, NodeLayout
from lrsa_geo.nn.local import LocalLayer
from lrsa_geo.nn.mixers import LowRankMixer, Mixer
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.parts import needs_whole_mesh
from lrsa_geo.nn.pointwise import modulate

CHUNK = 16_384
"""Nodes that are worked on at a time."""


@torch.no_grad()
def stream(
    model: GeometryOperator,
    x: Tensor | None,
    pos: Tensor,
    *,
    edge_index: Tensor | None = None,
    cond: Tensor | None = None,
    measure: Tensor | None = None,
    chunk: int = CHUNK,
    buffer: Callable[[int, int], Tensor] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    r"""What a model gives on one mesh, in memory that beyond the features does not grow with N.

    .. math:: S = \sum_k \mathrm{summarize}(h_{C_k}), \qquad
              h_{C_k} \leftarrow h_{C_k} + \mathrm{reconstruct}(h_{C_k}, \mathrm{process}(S))

    for chunks :math:`C_k` of the nodes, layer by layer: what compress gathers adds up (arXiv
    2604.03582, section 3), so the answer is that of ``model(x, pos, ...)`` up to rounding. Message
    passing reads the neighbours of a chunk as well. A block reads the features twice, which costs
    the key and value projections of the mixer once more than the plain forward.

    Args:
        model: whose mixers are of low rank, with ``MeshConv`` or no local layers.
        x: ``[N, F]`` node features, None if F = 0; it may be mapped from a file.
        pos: ``[N, D]``.
        edge_index: ``[2, E]``, if the model has local layers.
        cond: ``[1, P]``.
        measure: ``[N]``.
        chunk: nodes that are worked on at a time.
        buffer: rows and channels -> the tensor that holds the features, of the model's type, such
            as one that is mapped from a file; in memory by default. With local layers there are two
            of them.
        progress: called with the nodes that were worked on, N times the number of blocks in all.

    Returns:
        ``[N, K]``.

    Raises:
        ValueError: a chunk has no node; shapes or types do not fit; a part of the model cannot be
            streamed.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GeometryOperator, stream
        >>> model = GeometryOperator(0, 1, 2, channels=16, depth=2, heads=2, num_latents=4)
        >>> pos = torch.rand(100, 2)
        >>> torch.allclose(stream(model, None, pos, chunk=30), model(None, pos), atol=1e-5)
        True
    """
    if chunk < 1:
        raise ValueError(f"`chunk` is {chunk}, expected 1 or more nodes")
    _check(model, x, pos, edge_index, cond, measure)
    mesh = _Mesh(model, x, pos, measure, chunk)
    modulations = _modulations(model, cond)
    h = _features(model, len(pos), buffer)
    for rows in mesh.chunks():
        h[rows] = mesh.lifted(rows)
    halo = None
    spare = h
    if model.needs_edges and edge_index is not None:
        halo = _Halo(edge_index, mesh)
        spare = _features(model, len(pos), buffer)
    for block, modulation in zip(model.blocks, modulations, strict=False):
        assert isinstance(block, MixerBlock)
        step = _Step(block, mesh, modulation, progress or _nobody)
        if block.local is None:
            step.mix(h, h)
            continue
        assert halo is not None
        if block.order == "global-first":
            step.mix(h, h, feed=False)
        halo.add_local(block.local, h, spare)
        if block.order == "global-first":
            step.feed(spare)
        else:
            step.mix(h if block.order == "parallel" else spare, spare)
        h, spare = spare, h
    y = h.new_empty(len(pos), model.out_channels)
    for rows in mesh.chunks():
        last = model.norm(h[rows])
        if modulations[-1] is not None:
            last = modulate(last, modulations[-1])
        y[rows] = model.project(last)
    return y


class _Mesh:
    """The nodes, chunk by chunk."""

    def __init__(
        self,
        model: GeometryOperator,
        x: Tensor | None,
        pos: Tensor,
        measure: Tensor | None,
        chunk: int,
    ) -> None:
        self.model = model
        self.x = x
        self.pos = pos
        self.measure = measure
        self.chunk = chunk
        self.centre = self._centre() if model.relative_positions else None

    def chunks(self) -> Iterator[slice]:
        """Rows of each chunk."""
        for first in range(0, len(self.pos), self.chunk):
            yield slice(first, min(first + self.chunk, len(self.pos)))

    def layout(self, rows: slice) -> NodeLayout:
        """A chunk as a graph."""
        measure = None if self.measure is None else self.measure[rows]
        return NodeLayout.of(self.pos[rows], None, measure=measure)

    def lifted(self, rows: slice) -> Tensor:
        """Features of a chunk that the first block reads."""
        pos = self.pos[rows]
        pos = pos if self.centre is None else pos - self.centre
        x = None if self.x is None else self.x[rows]
        lifted: Tensor = self.model.lift(self.model.features(x, pos))
        return lifted

    def _centre(self) -> Tensor:
        """sum_i w_i p_i / sum_i w_i, as the model has it; with equal weights if all are 0."""
        measure = self.measure if self.measure is not None and bool(self.measure.any()) else None
        total = self.pos.new_zeros(self.pos.shape[1] + 1, dtype=torch.float64)
        for rows in self.chunks():
            pos = self.pos[rows].double()
            weight = torch.ones(len(pos)) if measure is None else measure[rows]
            weight = weight.to(pos)[:, None]
            total += torch.cat([weight * pos, weight], dim=1).sum(0)
        return (total[:-1] / total[-1]).to(self.pos)


class _Halo:
    """The edges that reach each chunk, with the nodes that they come from."""

    def __init__(self, edge_index: Tensor, mesh: _Mesh) -> None:
        source, target = edge_index
        if bool((target[1:] < target[:-1]).any()):
            order = torch.argsort(target, stable=True)
            source, target = source[order], target[order]
        self.source, self.target, self.mesh = source, target, mesh
        ends = torch.arange(0, len(mesh.pos) + mesh.chunk, mesh.chunk, device=target.device)
        self.starts = torch.searchsorted(target.contiguous(), ends).tolist()

    def add_local(self, local: LocalLayer, h: Tensor, out: Tensor) -> None:
        """``out <- h + Local(h)``, for edges from chunks and into chunks alike."""
        for number, rows in enumerate(self.mesh.chunks()):
            edges = slice(self.starts[number], self.starts[number + 1])
            outside, places = self.source[edges].unique(return_inverse=True)
            count = rows.stop - rows.start
            # The nodes of the chunk first, then all that send to them.
            near = torch.cat([torch.arange(rows.start, rows.stop, device=h.device), outside])
            edge_index = torch.stack([places + count, self.target[edges] - rows.start])
            pos = self.mesh.pos[near]
            measure = None if self.mesh.measure is None else self.mesh.measure[near]
            layout = EdgeLayout(edge_index, pos, measure)
            out[rows] = h[rows] + local(h[near], layout.pos, layout)[:count]


class _Step:
    """One block, applied in place to features that are worked on chunk by chunk."""

    def __init__(
        self,
        block: MixerBlock,
        mesh: _Mesh,
        modulation: Tensor | None,
        progress: Callable[[int], None],
    ) -> None:
        self.block = block
        self.mesh = mesh
        self.modulation = modulation
        self.progress = progress

    def mix(self, read: Tensor, h: Tensor, *, feed: bool = True) -> None:
        """``h <- h + Mixer(Norm(read))``, and then the feed-forward layer."""
        block, z = self.block, self._latents(read)
        for rows in self.mesh.chunks():
            here = h[rows]
            if z is not None:
                assert isinstance(block.mixer, LowRankMixer)
                nodes = block.mixer.prepare(block.mixer_norm(read[rows]))
                here = here + block.mixer.reconstruct(nodes, z, self.mesh.layout(rows))
            h[rows] = self._fed(here) if feed else here

    def feed(self, h: Tensor) -> None:
        """The feed-forward layer alone."""
        for rows in self.mesh.chunks():
            h[rows] = self._fed(h[rows])

    def _fed(self, rows: Tensor) -> Tensor:
        seen = self.block.ffn_norm(rows)
        if self.block.mixer is None and self.modulation is not None:
            seen = modulate(seen, self.modulation)
        self.progress(len(rows))
        return rows + self.block.ffn(seen)

    def _latents(self, read: Tensor) -> Tensor | None:
        """What compress gathers of all chunks, processed."""
        mixer, norm = self.block.mixer, self.block.mixer_norm
        if mixer is None:
            return None
        assert isinstance(mixer, LowRankMixer)
        summaries = (
            mixer.summarize(mixer.prepare(norm(read[rows])), self.mesh.layout(rows))
            for rows in self.mesh.chunks()
        )
        z = mixer.latents_of(reduce(add, summaries))
        return mixer.process(mixer.conditioned(z, self.modulation))


def _nobody(rows: int) -> None:
    """Nobody watches the progress."""


def _features(
    model: GeometryOperator, rows: int, make: Callable[[int, int], Tensor] | None
) -> Tensor:
    """``[N, C]`` of the type and on the device of the model."""
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


def _modulations(model: GeometryOperator, cond: Tensor | None) -> Sequence[Tensor | None]:
    if model.condition is None:
        return [None] * (len(model.blocks) + 1)
    modulations: Sequence[Tensor | None] = model.condition(cond)
    return modulations


def _check(
    model: GeometryOperator,
    x: Tensor | None,
    pos: Tensor,
    edge_index: Tensor | None,
    cond: Tensor | None,
    measure: Tensor | None,
) -> None:
    """Refuse what cannot be streamed, and inputs that do not fit."""
    if reason := why_not(model):
        raise ValueError(f"{reason}; use the model itself")
    if not len(pos):
        raise ValueError("`pos` has no node, so there is nothing to predict")
    model._check(x, pos)
    if model.needs_edges and edge_index is None:
        raise ValueError("`edge_index` is None, but the model has local layers")
    expected = (1, model.cond_channels)
    if (cond is None) == bool(model.cond_channels) or (cond is not None and cond.shape != expected):
        found = "None" if cond is None else f"of shape {list(cond.shape)}"
        raise ValueError(f"`cond` is {found}, expected {list(expected) if expected[1] else None}")
    if measure is not None and measure.shape != (len(pos),):
        raise ValueError(f"`measure` has shape {list(measure.shape)}, expected [{len(pos)}]")


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
