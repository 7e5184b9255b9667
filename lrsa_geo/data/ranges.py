"""What the training graphs spanned, and what of a new case lies outside of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.cases import Cases, describe_case
from lrsa_geo.data.statistics import Statistics
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
        cases: what the graphs, or some of them, are like; None in older models.
    """

    size: Range
    pos: tuple[Range, ...]
    num_nodes: tuple[int, int]
    x: dict[str, Range] = field(default_factory=dict)
    cond: dict[str, Range] = field(default_factory=dict)
    cases: Cases | None = None

    @classmethod
    def of(cls, statistics: Statistics) -> Ranges:
        """Those that were gathered over some graphs."""
        relative = statistics.relative_positions
        ends = {array: of_array.pairs() for array, of_array in statistics.ends.items()}
        ((fewest, most),) = statistics.num_nodes.pairs()
        x, cond = (
            dict(zip(_columns(statistics.fields.get(array, ())), ends.get(array, []), strict=True))
            for array in ("x", "cond")
        )
        return cls(
            statistics.size.pairs()[0],
            () if relative else tuple(ends["pos"]),
            (int(fewest), int(most)),
            x,
            cond,
            statistics.cases.some(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        cases = {} if self.cases is None else {"cases": self.cases.to_dict()}
        return {**asdict(replace(self, cases=None)), **cases}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ranges:
        """The inverse of :meth:`to_dict`."""
        nodes, cases = values["num_nodes"], values.get("cases")
        x, cond = (
            {name: _pair(ends) for name, ends in values[array].items()} for array in ("x", "cond")
        )
        return cls(
            _pair(values["size"]),
            tuple(_pair(ends) for ends in values["pos"]),
            (int(nodes[0]), int(nodes[1])),
            x,
            cond,
            None if cases is None else Cases.from_dict(cases),
        )

    def outside(self, data: Data) -> list[str]:
        """What lies outside of the training, a clause with its numbers for each; empty if nothing.

        Conditions count to rounding; sizes, places and features may pass the ends by a tenth, the
        number of nodes by half. Where each number on its own lies inside, the case as a whole may
        still be far from every training case (:class:`~lrsa_geo.data.cases.Cases`).

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
        if not found and self.cases is not None:
            told = {"pos": pos, **{a: data[a] for a in ("x", "cond") if getattr(self, a)}}
            clause = self.cases.how_far(
                describe_case(told, relative_positions=self.cases.relative_positions)
            )
            found += [clause] if clause else []
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
