"""What may be wrong with a field, seen over all graphs: offsets, constants, sizes, outliers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lrsa_geo.data.check.findings import Findings, Kind

NOT_FINITE = Kind(
    "values that are NaN or infinite",
    "error",
    "one of them makes every weight of a network NaN: repair the field, or leave the graph out",
)
NO_TARGET = Kind(
    "nodes without a target (NaN)",
    "warning",
    "they are not trained on and not measured; good if the value is unknown there, else repair it",
)
OFFSET = Kind(
    "offset that dwarfs the variation",
    "warning",
    "errors relative to the field hide how wrong its variation is: judge the model by R² or by the"
    " error over the field's variation, or store the difference to a reference value (gauge"
    " pressure, degrees above ambient)",
)
CONSTANT = Kind(
    "constant field",
    "warning",
    "there is nothing to learn from it, and a model cannot answer when it changes: leave it out,"
    " or add cases in which it varies",
)
ZERO = Kind(
    "field that is zero on some graphs",
    "warning",
    "a relative error has no meaning there (it is measured against the field's size in training):"
    " check that these cases are meant, such as an unloaded part",
)
CONSTANT_ON_SOME = Kind(
    "field that is constant on some graphs",
    "warning",
    "check that these cases are meant, and not a step before the solver started",
)
UNLIKE = Kind(
    "graphs of very unlike magnitude",
    "warning",
    "with one loss the large ones count alone, and one normalisation flattens the small ones: check"
    " the units, divide by the load of each case, or take logarithms",
)
OUTLIER = Kind(
    "values far beyond those of the other graphs",
    "warning",
    "check the units and the convergence of these cases, or leave them out",
)
UNLIKE_EXTENT = Kind(
    "meshes far larger or smaller than most",
    "warning",
    "check the units of their positions, such as mm among m; all are normalised together, so that"
    " the smaller ones become a point",
)

LARGE_OFFSET = 20.0
"""Size of a field over its variation, from which an error relative to the size says little."""
UNLIKE_SIZES = 1e3
"""Size of a field in the largest graph over that in the smallest, from which they are unlike."""
_UNLIKE_EXTENT = 20.0  # inches among millimetres are 25 times as many
_OUTLIER = 12.0  # robust standard deviations; a normal distribution has none in 10^30
_ROUNDING = 1e-6  # of a field's size: less variation than that is none (float32 keeps 6e-8)


def _numbers() -> array[float]:
    """Numbers that take eight bytes each: a store may have a million graphs."""
    return array("d")


@dataclass
class _Field:
    """Of each graph, for a field of ``[N, C]``: its name, and moments of the known values."""

    where: list[str] = field(default_factory=list)
    largest: array[float] = field(default_factory=_numbers)
    spread: array[float] = field(default_factory=_numbers)
    count: array[float] = field(default_factory=_numbers)
    mean: array[float] = field(default_factory=_numbers)  # C of each graph
    variance: array[float] = field(default_factory=_numbers)
    widths: set[int] = field(default_factory=set)  # C, which may differ among files


@dataclass
class FieldStatistics:
    """Sizes of the fields of all graphs, gathered one graph at a time.

    Args:
        findings: where to put what is wrong.
    """

    findings: Findings
    fields: dict[str, _Field] = field(default_factory=dict)
    roles: dict[str, bool] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    extents: array[float] = field(default_factory=_numbers)  # of the mesh at each place

    def add_extent(self, where: str, pos: np.ndarray) -> None:
        """Take the positions ``[N, D]`` of a graph."""
        if len(pos) and (extent := float(np.ptp(pos.astype(np.float64), axis=0).max())) > 0:
            self.places.append(where)
            self.extents.append(extent)

    def add(self, where: str, name: str, values: np.ndarray, judged: bool = True) -> None:
        """Take the values ``[N, C]`` of a field of a graph.

        Args:
            where: the graph's name.
            name: of the field.
            values: its values; NaN and infinite ones are left out.
            judged: the field is, or may be, a target: its errors are relative to its size.
        """
        known = values[np.isfinite(values).all(1)].astype(np.float64)
        if not len(known):
            return
        self.roles[name] = self.roles.get(name, False) or judged
        about = self.fields.setdefault(name, _Field())
        size = float(np.abs(known).max())
        scaled = known / (size or 1.0)  # fields of 1e200 have moments too
        about.where.append(where)
        about.largest.append(size)
        about.spread.append(float(np.ptp(known, axis=0).max()))
        about.count.append(len(known))
        about.mean.extend(scaled.mean(0) * size)
        about.widths.add(scaled.shape[1])
        about.variance.append(float(scaled.var(0).sum()))

    def judge(self) -> None:
        """Put what is wrong with the fields into the findings."""
        extents = np.array(self.extents)
        usual = float(np.median(extents)) if len(extents) else 0.0
        usually = (extents >= usual / _UNLIKE_EXTENT) & (extents <= usual * _UNLIKE_EXTENT)
        for graph in np.flatnonzero(~usually).tolist():
            what = f"is {extents[graph]:.3g} long, most are about {usual:.3g}"
            self.findings.add(UNLIKE_EXTENT, self.places[graph], what)
        for name, about in self.fields.items():
            if len(about.widths) == 1:
                self._moments(name, about)
            sizes = np.array(about.largest)
            for graph, what in _outliers(name, sizes):
                self.findings.add(OUTLIER, about.where[graph], what)

    def _moments(self, name: str, about: _Field) -> None:
        largest, spread = np.array(about.largest), np.array(about.spread)
        size = largest.max()
        if size == 0:
            self.findings.add(CONSTANT, f"'{name}'", "is 0 everywhere, on all graphs")
            return
        counts = np.array(about.count) / sum(about.count)
        means = np.array(about.mean).reshape(len(largest), -1) / size
        mean = counts @ means
        inside = counts @ (np.array(about.variance) * (largest / size) ** 2)
        variation = float(np.sqrt(inside + counts @ ((means - mean) ** 2).sum(1)))
        level = float(np.linalg.norm(mean))
        if variation <= _ROUNDING * max(level, 1e-300):
            self.findings.add(CONSTANT, f"'{name}'", f"is {level * size:.6g} on all graphs")
            return
        if not self.roles[name]:
            return
        if level > LARGE_OFFSET * variation:
            self.findings.add(
                OFFSET,
                f"'{name}'",
                f"has mean {level * size:.6g} and varies by {variation * size:.3g}: errors relative"
                f" to the field look {_rounded(level / variation)} times smaller than they are",
            )
        self._graphs(name, about.where, largest, spread)

    def _graphs(self, name: str, where: list[str], largest: np.ndarray, spread: np.ndarray) -> None:
        zero = largest == 0
        if zero.any():
            what = f"is 0 on {zero.sum():,} of {len(zero):,} graphs, the first is"
            self.findings.add(ZERO, f"'{name}'", f"{what} {where[int(zero.argmax())]}")
        still = ~zero & (spread <= _ROUNDING * largest)
        if still.any() and not still.all():
            what = f"is constant on {still.sum():,} of {len(still):,} graphs, the first is"
            self.findings.add(CONSTANT_ON_SOME, f"'{name}'", f"{what} {where[int(still.argmax())]}")
        least, most = (int(np.argmin(np.where(zero, np.inf, largest))), int(np.argmax(largest)))
        if largest[most] > UNLIKE_SIZES * largest[least]:
            self.findings.add(
                UNLIKE,
                f"'{name}'",
                f"is up to {largest[least]:.3g} on {where[least]} and up to {largest[most]:.3g} on"
                f" {where[most]}",
            )


def _rounded(ratio: float) -> str:
    """Two digits of a number above 10."""
    digits = int(np.floor(np.log10(ratio))) - 1
    return f"{round(ratio / 10**digits) * 10**digits:,.0f}" if digits < 15 else f"{ratio:.1e}"


def _outliers(name: str, sizes: np.ndarray) -> Iterator[tuple[int, str]]:
    """Graphs whose largest value is far from those of the others, on a logarithmic scale."""
    logs = np.log(np.maximum(sizes, np.finfo(float).tiny))
    middle = np.median(logs)
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), 0.05)
    for graph in np.flatnonzero((np.abs(logs - middle) > _OUTLIER * spread) & (sizes > 0)):
        yield (
            int(graph),
            f"the largest |{name}| is {sizes[graph]:.4g}, in the median graph {np.exp(middle):.4g}",
        )
