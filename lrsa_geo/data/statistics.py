"""What a training must know of its graphs before it begins, gathered in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.data.cases import MAX_CASES, Cases, describe_case
from lrsa_geo.data.store import MeshStore
from lrsa_geo.mesh.fields import Fields


class Moments:
    """Mean and variance of columns whose rows come in portions; NaN does not count. float64.

    Sums are merged as in Chan, Golub, LeVeque 1983.

    Attributes:
        count: ``[K]`` rows so far.
        mean: ``[K]``; 0 where there is no row.
    """

    def __init__(self) -> None:
        self.count = self.mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Count ``[R, K]`` more rows."""
        rows = rows.double()
        known = ~rows.isnan()
        count = known.sum(0)
        mean = rows.nan_to_num(0, torch.inf, -torch.inf).sum(0) / count.clamp(min=1)
        squares = torch.where(known, rows - mean, 0).square().sum(0)
        total = self.count + count
        off = mean - self.mean
        self._squares = self._squares + squares + off.square() * self.count * count / total.clamp(1)
        self.mean = self.mean + off * count / total.clamp(min=1)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """``[K]`` mean square distance from the mean."""
        return self._squares / self.count.clamp(min=1)


class Ends:
    """Lowest and highest of columns whose rows come in portions; NaN counts as 0. float64.

    Attributes:
        low: ``[K]``; empty so far where there was no row.
        high: ``[K]``.
    """

    def __init__(self) -> None:
        self.low = self.high = torch.empty(0, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Count ``[R, K]`` more rows."""
        if not len(rows):
            return
        rows = rows.double().nan_to_num(0, torch.inf, -torch.inf)
        low, high = rows.amin(0), rows.amax(0)
        self.low = low.minimum(self.low) if len(self.low) else low
        self.high = high.maximum(self.high) if len(self.high) else high

    def pairs(self) -> list[tuple[float, float]]:
        """Lowest and highest of each column."""
        return list(zip(self.low.tolist(), self.high.tolist(), strict=True))


class Statistics:
    """Moments, ends and descriptions of graphs, one after the other.

    Args:
        fields: columns of ``x``, ``y`` and ``cond``.
        relative_positions: each graph counts from its own mean position.

    Attributes:
        moments: of each array of ``fields``.
        ends: of ``pos``, ``x`` and ``cond``.
        size: ends of the largest side of the meshes.
        num_nodes: ends of the number of nodes.
    """

    def __init__(self, fields: Mapping[str, Fields], *, relative_positions: bool = False) -> None:
        self.fields = fields
        self.relative_positions = relative_positions
        self.moments = {array: Moments() for array in fields}
        self.ends = {array: Ends() for array in ("pos", "x", "cond") if array in ("pos", *fields)}
        self.size, self.num_nodes = Ends(), Ends()
        self._graphs: list[int] = []
        self._descriptions: list[Tensor] = []

    @classmethod
    def of_store(
        cls,
        store: MeshStore,
        indices: Iterable[int],
        fields: Mapping[str, Fields],
        *,
        relative_positions: bool = False,
    ) -> Statistics:
        """Those of the graphs ``indices`` of a store; no other graph is read, and each once.

        Raises:
            ValueError: there is no graph, or none with a node.
        """
        statistics = cls(fields, relative_positions=relative_positions)
        graphs = np.fromiter(indices, np.int64)
        described = _described(store, graphs)
        for number, index in enumerate(graphs.tolist()):
            arrays = store.arrays_of(index, ["pos", *fields])
            statistics.add(index, arrays, described=number in described)
        if not statistics._graphs:
            raise ValueError(f"{store.path}: no graph with a node to take statistics of")
        return statistics

    def add(self, index: int, graph: Mapping[str, Tensor], *, described: bool = True) -> None:
        """Count one more graph, by its number and its arrays, and perhaps keep what it is like."""
        pos = graph["pos"].double()
        for array, moments in self.moments.items():
            moments.add(graph[array])
        if not len(pos):
            return
        if self.relative_positions:
            pos = pos - pos.mean(0)
        for array, ends in self.ends.items():
            ends.add(pos if array == "pos" else graph[array])
        self.size.add((pos.amax(0) - pos.amin(0)).amax()[None, None])
        self.num_nodes.add(torch.tensor([[len(pos)]]))
        if not described:
            return
        self._graphs.append(index)
        told = {"pos": pos, **{a: graph[a] for a in ("x", "cond") if a in self.fields}}
        self._descriptions.append(describe_case(told))

    @property
    def cases(self) -> Cases:
        """What the graphs are like that were described."""
        relative = self.relative_positions
        return Cases.of(self._graphs, self._descriptions, relative_positions=relative)


def _described(store: MeshStore, graphs: np.ndarray) -> set[int]:
    """Which of some graphs are kept as cases: at most ``MAX_CASES``, evenly chosen.

    The steps of a series are alike: how far cases are apart is told by the first of each.
    """
    meshes = np.fromiter(map(store.mesh_number, graphs.tolist()), np.int64, len(graphs))
    first = np.sort(np.unique(meshes, return_index=True)[1])
    first = first[store.num_nodes[graphs[first]] > 0]
    step = max(1, -(-len(first) // MAX_CASES))
    return {*first[::step].tolist()}
