"""Streaming: a model on one mesh of any size, chunk by chunk, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lrsa_geo.nn.chunks import (
    CHUNK,
    Halo,
    Nodes,
    Pass,
    check_streamed,
    lift,
    modulations_of,
    new_features,
    passes,
    project,
)
from lrsa_geo.nn.mixers import Summary
from lrsa_geo.nn.operator import GeometryOperator


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
    nodes = Nodes(x, pos, measure)
    check_streamed(model, nodes, edge_index, cond, chunk)
    return ForwardPass(model, edge_index, chunk, buffer, progress=progress)(nodes, cond)


class ForwardPass:
    """A model on one mesh, chunk by chunk, and what it leaves for a backward pass.

    Args:
        model, edge_index, chunk, buffer, progress: as in :func:`stream`.
        keep: keep the features that each pass reads. They are changed in place otherwise.

    Attributes:
        states: features that each pass reads, and after them those that the last one gives.
        gathered: what the mixer of each pass gathered.
    """

    def __init__(
        self,
        model: GeometryOperator,
        edge_index: Tensor | None,
        chunk: int,
        buffer: Callable[[int, int], Tensor] | None,
        *,
        keep: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.model = model
        self.edge_index = edge_index if model.needs_edges else None
        self.chunk = chunk
        self.buffer = buffer
        self.keep = keep
        self.progress = progress
        self.passes = list(passes(model))
        self.states: list[Tensor] = []
        self.gathered: list[Summary | None] = []
        self._spare: Tensor | None = None

    def __call__(self, nodes: Nodes, cond: Tensor | None) -> Tensor:
        """``[N, K]``."""
        model, chunk = self.model, self.chunk
        modulations = modulations_of(model, cond)
        centre = nodes.centre(chunk) if model.relative_positions else None
        self.states.append(self.features(nodes))
        for rows in nodes.chunks(chunk):
            self.states[0][rows] = lift(model, nodes[rows], centre)
        halo = self.halo(nodes)
        for number, step in enumerate(self.passes):
            h, read, after = self.states[number], self.read_by(number), self._after(step, nodes)
            gathered, modulation = step.gather(nodes, read, chunk), modulations[step.number]
            if step.local:
                for rows, near, edges in halo:
                    count = rows.stop - rows.start
                    after[rows] = step.apply_local(nodes[near], h[near], edges, count)
            else:
                z = None if gathered is None else step.latents(gathered, modulation)
                for rows in nodes.chunks(chunk):
                    after[rows] = step.apply(nodes[rows], h[rows], read[rows], z, modulation)
                    if self.progress is not None and step.feed:
                        self.progress(rows.stop - rows.start)
            self.states.append(after)
            self.gathered.append(gathered)
        y = nodes.pos.new_empty(len(nodes), model.out_channels)
        for rows in nodes.chunks(chunk):
            y[rows] = project(model, self.states[-1][rows], modulations[-1])
        return y

    def _after(self, step: Pass, nodes: Nodes) -> Tensor:
        """Where a pass puts the features that it gives."""
        if self.keep:
            return self.features(nodes)
        if not step.local:
            return self.states[-1]
        after = self.features(nodes) if self._spare is None else self._spare
        self._spare = self.states[-1]
        return after

    def read_by(self, number: int) -> Tensor:
        """Features that the mixer of a pass reads."""
        return self.states[number - 1 if self.passes[number].reads_first else number]

    def features(self, nodes: Nodes) -> Tensor:
        """``[N, C]`` whose values do not matter."""
        return new_features(self.model, len(nodes), self.buffer)

    def halo(self, nodes: Nodes) -> Iterable[tuple[slice, Tensor, Tensor]]:
        """Of the edges, if there are some."""
        return () if self.edge_index is None else Halo(self.edge_index, nodes, self.chunk)
