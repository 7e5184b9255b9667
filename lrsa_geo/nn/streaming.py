"""Streaming: a model on one mesh of any size, chunk by chunk, in little memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrsa_geo.nn.chunks import (
    CHUNK,
    Halo,
    Nodes,
    check_streamed,
    lift,
    modulations_of,
    new_features,
    passes,
    project,
)
from lrsa_geo.nn.layout import EdgeLayout
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
    modulations = modulations_of(model, cond)
    centre = nodes.centre(chunk) if model.relative_positions else None
    h = new_features(model, len(nodes), buffer)
    for rows in nodes.chunks(chunk):
        h[rows] = lift(model, nodes[rows], centre)
    halo = Halo(edge_index, nodes, chunk) if model.needs_edges and edge_index is not None else None
    spare = h if halo is None else new_features(model, len(nodes), buffer)
    for step in passes(model):
        if step.local:
            assert halo is not None
            for rows, near, edges in halo:
                layout = EdgeLayout(edges, pos[near], nodes[near].measure)
                spare[rows] = step.apply_local(h[near], layout, rows.stop - rows.start)
            h, spare = spare, h
            continue
        read = spare if step.reads_first else h  # the local layer went from one to the other
        modulation = modulations[step.number]
        gathered = step.gather(nodes, read, chunk)
        z = None if gathered is None else step.latents(gathered, modulation)
        for rows in nodes.chunks(chunk):
            h[rows] = step.apply(nodes[rows], h[rows], read[rows], z, modulation)
            if progress is not None and step.feed:
                progress(rows.stop - rows.start)
    y = h.new_empty(len(nodes), model.out_channels)
    for rows in nodes.chunks(chunk):
        y[rows] = project(model, h[rows], modulations[-1])
    return y
