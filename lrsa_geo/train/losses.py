"""Losses: how far a prediction is from the truth, for each field on each graph.

To add one, write a function of a :class:`Comparison` and name it in :data:`LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from lrsa_geo.mesh import Fields, column_slices

NEGLIGIBLE = 1e-6  # a field smaller than this share of its size in training counts as zero


@dataclass(frozen=True)
class Comparison:
    """A prediction beside the truth, as losses see it, for F fields.

    Each field is multiplied by a power of two that brings its size in training to [1/2, 1): no
    square overflows or vanishes, and no digit changes.

    Attributes:
        difference: ``[R, K]`` prediction minus truth, 0 where the truth is unknown (NaN).
        truth: ``[R, K]``, 0 where it is unknown.
        known: ``[R, K]`` whether the truth is known.
        weight: ``[R]`` of the nodes in every sum; None for 1.
        graph: ``[R]`` graph of each node.
        num_graphs: B.
        columns: columns of each field.
        rms: ``[F]`` root mean square of each field in training.
        std: ``[K]`` standard deviation of each column in training.
        data: the batch, for losses that need more.
    """

    difference: Tensor
    truth: Tensor
    known: Tensor
    weight: Tensor | None
    graph: Tensor
    num_graphs: int
    columns: tuple[slice, ...]
    rms: Tensor
    std: Tensor
    data: Any = None

    @classmethod
    def of(
        cls,
        prediction: Tensor,
        truth: Tensor,
        graph: Tensor,
        num_graphs: int,
        fields: Fields,
        *,
        measure: Tensor | None = None,
        rms: Tensor | None = None,
        std: Tensor | None = None,
        data: Any = None,
    ) -> Comparison:
        """Compare; without ``rms`` and ``std`` the size of a field is that of the truth given."""
        columns = tuple(column_slices(fields).values())
        if not truth.is_floating_point():  # its type is that of the errors
            truth = truth.to(prediction.dtype)
        known = ~truth.isnan()
        truth = truth.nan_to_num(0, torch.inf, -torch.inf)
        if rms is None:
            rms = _root_mean_square(truth, known, columns)
        factor = torch.ldexp(torch.ones_like(rms), -torch.frexp(rms).exponent.clamp(-126, 126))
        by_column = _per_column(factor, columns).to(truth.dtype)
        std = _per_column(rms, columns) if std is None else std
        if measure is not None and len(measure):
            measure = measure / measure.amax().clamp(min=torch.finfo(measure.dtype).tiny)
        return cls(
            torch.where(known, prediction - truth, 0) * by_column,
            truth * by_column,
            known,
            measure,
            graph,
            num_graphs,
            columns,
            (rms * factor).to(truth.dtype),
            (std * by_column).to(truth.dtype),
            data,
        )

    def sum(self, values: Tensor) -> Tensor:
        """Weighted sum of ``[R, K]`` over nodes and components: ``[B, F]``."""
        return self.sum_rows(values, self.graph, self.weight)

    def sum_rows(self, values: Tensor, graph: Tensor, weight: Tensor | None) -> Tensor:
        """The same for any rows, such as edges: ``[rows, K]`` to ``[B, F]``."""
        by_field = torch.stack([values[:, columns].sum(1) for columns in self.columns], dim=1)
        if weight is not None:
            by_field = by_field * weight[:, None]
        return by_field.new_zeros(self.num_graphs, len(self.columns)).index_add(0, graph, by_field)

    @cached_property
    def count(self) -> Tensor:
        """``[B, F]`` weighted number of values that are known, over that of components."""
        widths = [columns.stop - columns.start for columns in self.columns]
        return scaled(self.sum(self.known.to(self.truth.dtype)), [1 / width for width in widths])

    def relative(self, missed: Tensor, size: Tensor, scale: Tensor, count: Tensor) -> Tensor:
        """The root of ``missed / size``, sums of squares ``[B, F]``.

        Where ``size`` is that of a field that is zero, ``scale`` (its root mean square) replaces
        it: the root of ``missed / (count scale^2)``.
        """
        usual = count * scale.square()
        size = torch.where(size < NEGLIGIBLE**2 * usual, usual, size)
        smallest = torch.finfo(size.dtype).tiny
        return (missed / size.clamp(min=smallest)).clamp(min=smallest).sqrt()


def scaled(of_fields: Tensor, factors: Sequence[float]) -> Tensor:
    """``[..., F]`` times a number for each field; no number is copied to the device for that."""
    columns = zip(of_fields.unbind(-1), factors, strict=True)
    return torch.stack([column * factor for column, factor in columns], dim=-1)


def _per_column(of_field: Tensor, columns: tuple[slice, ...]) -> Tensor:
    """``[F]`` -> ``[K]``."""
    parts = [of_field[i].expand(c.stop - c.start) for i, c in enumerate(columns)]
    return torch.cat(parts)


def _root_mean_square(truth: Tensor, known: Tensor, columns: tuple[slice, ...]) -> Tensor:
    """``[F]`` over nodes; 1 where it is 0."""
    result = []
    for of_field in columns:
        values = truth[:, of_field]
        largest = values.abs().amax() if values.numel() else values.new_zeros(())
        largest = torch.where(largest > 0, largest, 1.0)
        mean = (values / largest).square().sum() / known[:, of_field].any(1).sum().clamp(min=1)
        result.append(torch.where(mean > 0, largest * mean.sqrt(), 1.0))
    return torch.stack(result)


def relative_l2(c: Comparison) -> Tensor:
    """Relative L2 error: the norm of the difference over that of the truth."""
    size = c.sum(c.truth.square())
    return c.relative(c.sum(c.difference.square()), size, c.rms, c.count)


def mse(c: Comparison) -> Tensor:
    """Mean square error of the normalised targets, over nodes and components."""
    return _mean(c, (c.difference / c.std).square())


def l1(c: Comparison) -> Tensor:
    """Mean absolute error of the normalised targets, over nodes and components."""
    return _mean(c, (c.difference / c.std).abs())


def huber(c: Comparison) -> Tensor:
    """Huber loss of the normalised targets: e^2 / 2 up to an error of 1, beyond that |e| - 1/2."""
    error = (c.difference / c.std).abs()
    return _mean(c, torch.where(error < 1, error.square() / 2, error - 0.5))


def _mean(c: Comparison, values: Tensor) -> Tensor:
    smallest = torch.finfo(values.dtype).tiny
    return c.sum(values) / c.sum(c.known.to(values.dtype)).clamp(min=smallest)


def gradient_on_grid(c: Comparison) -> Tensor:
    """Relative L2 error of the gradient on a regular grid, by central differences.

    Nodes are in rows of equal length, as on the published Darcy files; one-sided differences at the
    ends. (The script behind many tables pads with zeros there and adds the errors of both
    derivatives.)

    Raises:
        ValueError: a graph is not a regular grid in the plane.
    """
    missed: list[Tensor] = []
    size: list[Tensor] = []
    valid: list[Tensor] = []
    scale: list[Tensor] = []
    first = 0
    for rows, columns, spacing in c.data.get("grids") or grids_of(c.data):
        last = first + rows * columns
        unknown = torch.where(c.known, 0.0, torch.nan)
        for squares, values in ((missed, c.difference), (size, c.truth), (valid, unknown)):
            grid = values[first:last].reshape(rows, columns, -1)
            down, along = torch.gradient(grid, spacing=spacing, dim=(0, 1))
            squares.append((down.square() + along.square()).reshape(last - first, -1))
        scale.append(c.rms / max(rows * spacing[0], columns * spacing[1]))
        first = last
    known = ~torch.cat(valid).isnan()
    return c.relative(
        c.sum(torch.where(known, torch.cat(missed), 0)),
        c.sum(torch.where(known, torch.cat(size), 0)),
        torch.stack(scale),
        c.sum(known.to(c.truth.dtype)),
    )


Grid = tuple[int, int, tuple[float, float]]
"""Rows, columns, and the spacings of either."""


def keep_grids(batch: Batch) -> None:
    """Put the grids of a batch into it, where its loader makes it: no step looks at positions.

    Raises:
        ValueError: a graph is not a regular grid in the plane.
    """
    batch.grids = grids_of(batch)


def grids_of(batch: Batch) -> tuple[Grid, ...]:
    """Those of all graphs.

    Raises:
        ValueError: one is not a regular grid in the plane.
    """
    pairs = enumerate(pairwise(batch.ptr.tolist()))
    return tuple(grid_of(batch.pos[first:last], graph) for graph, (first, last) in pairs)


def grid_of(pos: Tensor, graph: int = 0) -> Grid:
    """Rows, columns and spacings of nodes that are a regular grid, rows one after the other.

    Raises:
        ValueError: they are not.
    """
    error = ValueError(
        f"graph {graph} of the batch is no regular grid of rows and columns, which the loss"
        " 'relative_l2_gradient' needs; 'relative_l2_edges' takes the differences along the edges"
        " of any mesh instead"
    )
    pos = pos.detach().cpu().double()
    if len(pos) < 4 or pos.shape[1] != 2:
        raise error
    steps = pos.diff(dim=0)
    far = float(steps[0].norm())
    turns = ((steps - steps[0]).norm(dim=1) > 1e-2 * far).nonzero()
    columns = int(turns[0]) + 1 if len(turns) else len(pos)
    rows = len(pos) // columns
    if min(rows, columns) < 2 or rows * columns != len(pos) or not far:
        raise error
    grid = pos.reshape(rows, columns, 2)
    down, along = grid[1, 0] - grid[0, 0], steps[0]
    expected = (
        grid[0, 0]
        + torch.arange(rows)[:, None, None] * down
        + torch.arange(columns)[None, :, None] * along
    )
    # A tenth of the spacing is lost to rounding only far from the origin.
    if (grid - expected).norm(dim=2).max() > 0.1 * far or abs(down @ along) > 1e-2 * far * far:
        raise error
    spacing = [
        float((grid.select(axis, -1) - grid.select(axis, 0)).norm(dim=1).mean()) / (number - 1)
        for axis, number in ((0, rows), (1, columns))
    ]
    return rows, columns, (spacing[0], spacing[1])


def slopes_on_edges(c: Comparison) -> Tensor:
    """Relative L2 error of the slopes along the edges of the mesh, all edges alike."""
    i, j = c.data.edge_index
    length = (c.data.pos[i] - c.data.pos[j]).norm(dim=1).to(c.truth.dtype)
    far = length.mean().clamp(min=torch.finfo(length.dtype).tiny)
    inverse = torch.where(length > 0, far / length, 0)[:, None]  # in mean edges: of order one
    weight = None if c.weight is None else (c.weight[i] + c.weight[j]) / 2
    valid = c.known[i] & c.known[j]
    sums = [
        c.sum_rows(torch.where(valid, ((v[i] - v[j]) * inverse).square(), 0), c.graph[i], weight)
        for v in (c.difference, c.truth)
    ]
    count = c.sum_rows(valid.to(c.truth.dtype), c.graph[i], weight)
    one = torch.ones_like(c.graph)
    nodes = one.new_zeros(c.num_graphs).index_add(0, c.graph, one).clamp(min=1)
    across = nodes.to(c.truth.dtype).pow(1 / c.data.pos.shape[1])[:, None]  # edges through a mesh
    return c.relative(sums[0], sums[1], c.rms / across, count)


@dataclass(frozen=True)
class Loss:
    """A loss by name.

    Attributes:
        terms: functions whose values add up; the second is multiplied by ``gradient_weight``.
        arrays: arrays of the graphs that it reads besides ``y``.
        prepare: puts into a batch what depends on values, where the loader makes it.
    """

    terms: tuple[Callable[[Comparison], Tensor], ...]
    arrays: tuple[str, ...] = ()
    prepare: Callable[[Batch], None] | None = None

    def __call__(self, comparison: Comparison, gradient_weight: float) -> Tensor:
        """``[B, F]``."""
        values: Iterator[Tensor] = (term(comparison) for term in self.terms)
        first = next(values)
        return sum((gradient_weight * more for more in values), first)


LOSSES = {
    "relative_l2": Loss((relative_l2,)),
    "mse": Loss((mse,)),
    "l1": Loss((l1,)),
    "huber": Loss((huber,)),
    "relative_l2_gradient": Loss((relative_l2, gradient_on_grid), ("pos",), keep_grids),
    "relative_l2_edges": Loss((relative_l2, slopes_on_edges), ("pos", "edge_index")),
}
"""The losses by the names that a configuration uses."""
