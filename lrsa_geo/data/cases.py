"""Training cases in a few numbers each, and how far a new case is from the nearest of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from lrsa_geo.data.store import MeshStore
from lrsa_geo.mesh.fields import Fields

MAX_CASES = 512  # that are kept with a model, evenly chosen
MIN_CASES = 8  # fewer tell nothing of the distances among them
FAR = 1.5  # times the largest distance between neighbours
LEAST_APART = 0.01  # by which cases count as apart, in standard deviations, or sizes
_SAME = 1e-4  # of a number's size: by which other units and rounding may change it
_CONSTANT = 1e-6  # spread over size, below which a number counts as the same in all cases


def describe_case(graph: Mapping[str, Tensor], *, relative_positions: bool = False) -> Tensor:
    """Where a graph lies, how large it is, what it is told: a row of numbers.

    Of each column of the positions and of ``x`` the least, the largest, the mean and the standard
    deviation over the nodes; then the conditions. NaN counts as 0.

    Args:
        graph: ``pos`` ``[N, D]`` with N > 0, and if it has them ``x`` ``[N, F]``, ``cond``
            ``[1, P]``.
        relative_positions: count positions from their mean.

    Returns:
        ``[4 (D + F) + P]`` in float64.

    Examples:
        >>> import torch
        >>> describe_case({"pos": torch.tensor([[0.0], [2.0]]), "cond": torch.tensor([[7.0]])})
        tensor([0., 2., 1., 1., 7.], dtype=torch.float64)
    """
    pos = graph["pos"].double()
    if relative_positions:
        pos = pos - pos.mean(0)
    parts = []
    for values in (pos, graph.get("x")):
        if values is not None:
            values = values.double().nan_to_num()
            ends = values.amin(0), values.amax(0)
            parts += [*ends, values.mean(0), values.std(0, correction=0)]
    cond = graph.get("cond")
    if cond is not None:
        parts.append(cond[0].double().nan_to_num())
    return torch.cat(parts)


@dataclass(frozen=True)
class Cases:
    r"""Descriptions of cases, and distances between them.

    .. math:: d(a, b) = \Big(\sum_j (a_j - b_j)^2 / s_j^2\Big)^{1/2}

    where :math:`s_j` is the standard deviation of number j over the cases, or its size where it is
    the same in all of them.

    Attributes:
        graphs: their numbers in the store.
        rows: what :func:`describe_case` says of each.
        relative_positions: positions were counted from their mean.
    """

    graphs: tuple[int, ...]
    rows: tuple[tuple[float, ...], ...]
    relative_positions: bool = False

    @classmethod
    def of(
        cls, graphs: Sequence[int], descriptions: Sequence[Tensor], *, relative_positions: bool
    ) -> Cases:
        """Those of some graphs, as :func:`describe_case` gives them."""
        rows = tuple(tuple(row.tolist()) for row in descriptions)
        return cls(tuple(graphs), rows, relative_positions)

    def some(self, most: int = MAX_CASES) -> Cases:
        """At most so many of them, evenly chosen, rounded to nine digits: to be kept."""
        step = max(1, math.ceil(len(self.graphs) / most))
        rows = (tuple(float(f"{value:.9g}") for value in row) for row in self.rows[::step])
        return Cases(self.graphs[::step], tuple(rows), self.relative_positions)

    @cached_property
    def _values(self) -> Tensor:
        return torch.tensor(self.rows, dtype=torch.float64)

    @cached_property
    def _size(self) -> Tensor:
        """Largest size of each number; 1 where it is 0."""
        size = self._values.abs().amax(0)
        return torch.where(size > 0, size, 1.0)

    @cached_property
    def _scale(self) -> Tensor:
        values = self._values
        spread = values.std(0, correction=0)
        return torch.where(spread > _CONSTANT * self._size, spread, self._size)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree((self._values / self._scale).numpy())

    @cached_property
    def apart(self) -> float:
        """The largest distance of a case from its nearest neighbour; 0 where there is none."""
        if len(self.rows) < 2:
            return 0.0
        distances, _ = self._tree.query(self._tree.data, k=2)
        return float(distances[:, 1].max())

    def nearest(self, description: Tensor) -> tuple[int, float]:
        """Number of the case that is most like a description, and the distance to it."""
        distance, row = self._tree.query((description / self._scale).numpy())
        return self.graphs[int(row)], float(distance)

    def how_far(self, description: Tensor) -> str:
        """A clause where a case is farther from all others than they are apart, else nothing."""
        if len(self.rows) < MIN_CASES:
            return ""
        graph, distance = self.nearest(description)
        times = distance / max(self.apart, LEAST_APART)
        if times <= FAR:
            return ""
        return (
            "each of its numbers is known, but not together: the nearest training case, graph"
            f" {graph}, is {times:.3g} times as far as any training case from its own nearest"
        )

    def first_unlike(self, store: MeshStore, fields: Mapping[str, Fields]) -> int | None:
        """Number of the first of these graphs that is another one in a store; None if none is.

        Args:
            store: it has a graph of each number.
            fields: columns of ``x`` and ``cond`` that were described, as the store has them.
        """
        arrays = ["pos", *(array for array in ("x", "cond") if array in fields)]
        for graph, row in zip(self.graphs, self._values, strict=True):
            read = store.arrays_of(graph, arrays)
            if not len(read["pos"]):
                return graph
            here = describe_case(read, relative_positions=self.relative_positions)
            if len(here) != len(row) or ((here - row).abs() > _SAME * self._size).any():
                return graph
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return {
            "graphs": list(self.graphs),
            "rows": [list(row) for row in self.rows],
            "relative_positions": self.relative_positions,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cases:
        """The inverse of :meth:`to_dict`."""
        rows = tuple(tuple(row) for row in values["rows"])
        return cls(tuple(values["graphs"]), rows, values["relative_positions"])
