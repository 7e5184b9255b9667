"""What the training graphs spanned, and what of a new case lies outside of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.store import MeshStore
from lrsa_geo.mesh.fields import Fields

Range = tuple[float, float]

SLACK = 0.1  # by which sizes, places and features may pass the ends
NODES = 1.5  # times as many, or as few, nodes


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest of every number in the training graphs.

    Attributes:
        size: largest side of a mesh's bounding box.
        pos: of the coordinates of the nodes along each axis; empty where only positions relative to
            the middle of the mesh count.
        num_nodes: of a graph.
        x: of each column of ``x``, by its name.
        cond: of each column of ``cond``.
    """

    size: Range
    pos: tuple[Range, ...]
    num_nodes: tuple[int, int]
    x: dict[str, Range] = field(default_factory=dict)
    cond: dict[str, Range] = field(default_factory=dict)

    @classmethod
    def of_store(
        cls,
        store: MeshStore,
        graphs: Iterable[int],
        fields: Mapping[str, Fields],
        *,
        relative_positions: bool = False,
    ) -> Ranges:
        """Those of some graphs of a store, read one after the other.

        Raises:
            ValueError: there is no graph, or none with a node.
        """
        arrays = [array for array in ("x", "cond") if array in fields]
        ends: dict[str, list[Tensor]] = {}
        for index in graphs:
            graph = store.arrays_of(index, ["pos", *arrays])
            if len(graph["pos"]):
                pos = graph["pos"].double()
                graph["size"] = _size(pos)[None, None]
                graph["num_nodes"] = torch.tensor([[len(pos)]])
                for name, values in graph.items():
                    low_high = _widened(ends.get(name), values.double())
                    ends[name] = low_high
        if not ends:
            raise ValueError(f"{store.path}: no graph with a node to take ranges of")
        spans = {
            name: [(float(low), float(high)) for low, high in zip(*of_array, strict=True)]
            for name, of_array in ends.items()
        }
        nodes = spans["num_nodes"][0]
        return cls(
            spans["size"][0],
            () if relative_positions else tuple(spans["pos"]),
            (int(nodes[0]), int(nodes[1])),
            *(
                dict(zip(_columns(fields.get(array, ())), spans.get(array, []), strict=True))
                for array in ("x", "cond")
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ranges:
        """The inverse of :meth:`to_dict`."""
        nodes = values["num_nodes"]
        return cls(
            _pair(values["size"]),
            tuple(_pair(ends) for ends in values["pos"]),
            (int(nodes[0]), int(nodes[1])),
            *({n: _pair(ends) for n, ends in values[array].items()} for array in ("x", "cond")),
        )

    def outside(self, data: Data) -> list[str]:
        """What lies outside of the training, a clause with its numbers for each; empty if nothing.

        Conditions count to rounding; sizes, places and features may pass the ends by a tenth, the
        number of nodes by half.

        Args:
            data: one graph with ``pos``, and ``x`` and ``cond`` as in training.
        """
        found: list[str] = []
        if not len(data.pos):
            return found
        pos = data.pos.double()
        found += self._of_positions(pos)
        low, high = self.num_nodes
        if not low / NODES <= len(pos) <= high * NODES:
            found.append(f"it has {len(pos):,} nodes, those of the training {low:,} to {high:,}")
        for array, known, slack in (("cond", self.cond, 0.0), ("x", self.x, SLACK)):
            values = data.get(array)
            if values is None or not known or not len(values):
                continue
            ends = zip(known.items(), values.double().T, strict=True)
            for (name, of_training), column in ends:
                here = (float(column.amin()), float(column.amax()))
                if _passes(here, of_training, slack):
                    found.append(f"{name} is {_span(here)}, in training {_span(of_training)}")
        return found

    def _of_positions(self, pos: Tensor) -> list[str]:
        size = float(_size(pos))
        low, high = self.size
        if size > (1 + SLACK) * high or size < (1 - SLACK) * low:
            times = size / (high if size > high else low) if low > 0 else float("inf")
            unit = "; are the positions in another unit (mm for m)?"
            return [
                f"its size is {size:.4g}, that of the training meshes {_span(self.size)}"
                + (f", {times:.3g} times as large{unit}" if not 0.1 <= times <= 10 else "")
            ]
        slack = SLACK * high
        found = []
        for axis, ends, column in zip("xyz", self.pos, pos.T, strict=False):
            here = (float(column.amin()), float(column.amax()))
            if here[0] < ends[0] - slack or here[1] > ends[1] + slack:
                found.append(f"{axis} is {_span(here)}, in training {_span(ends)}")
        return found


def _size(pos: Tensor) -> Tensor:
    return (pos.amax(0) - pos.amin(0)).amax()


def _widened(ends: list[Tensor] | None, values: Tensor) -> list[Tensor]:
    """Lowest and highest of each column, with those known so far."""
    values = values.nan_to_num(0, torch.inf, -torch.inf) if values.isnan().any() else values
    low, high = values.amin(0), values.amax(0)
    return [low, high] if ends is None else [ends[0].minimum(low), ends[1].maximum(high)]


def _passes(here: Range, known: Range, slack: float) -> bool:
    rounding = 1e-6 * max(abs(known[0]), abs(known[1]))
    room = slack * (known[1] - known[0]) + rounding
    return here[0] < known[0] - room or here[1] > known[1] + room


def _columns(fields: Fields) -> list[str]:
    return [column for f in fields for column in f.columns]


def _pair(ends: Iterable[float]) -> Range:
    low, high = ends
    return (float(low), float(high))


def _span(ends: Range) -> str:
    low, high = (f"{end:.4g}" for end in ends)
    return low if low == high else f"{low} to {high}"
