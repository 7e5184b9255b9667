"""Curves and histograms: training, errors against size and distance, values of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, column_slices
from lrsa_geo.plot.style import LINES, readable, save, shown_values


def loss_curves(rows: list[dict[str, float]], path: str | Path) -> None:
    """Training loss and validation errors over the epochs, on a logarithmic axis."""
    figure = Figure(layout="constrained", figsize=(6, 4))
    axes = figure.subplots()
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if name in ("epoch", "seconds"):
            continue
        label = {"loss": "training, all fields"}.get(name, name.replace("val_", "validation, "))
        known = [row for row in rows if name in row]  # not every epoch looks at validation graphs
        style = "-" if len(known) == len(rows) else ".-"
        axes.semilogy(
            [row["epoch"] for row in known], [row[name] for row in known], style, label=label
        )
    axes.set(xlabel="epoch", ylabel="relative L2")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    save(figure, path)


def error_against_size(
    num_nodes: np.ndarray, errors: dict[str, np.ndarray], path: str | Path
) -> None:
    """One point per test mesh: its relative L2 error against its number of nodes."""
    figure = Figure(layout="constrained", figsize=(6, 4))
    axes = figure.subplots()
    for name, error in errors.items():
        axes.semilogy(num_nodes, error, ".", label=name.replace("_", " "))
    axes.set(xlabel="nodes of the mesh", ylabel="relative L2 on the mesh")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    save(figure, path)


def histograms(store: MeshStore, path: str | Path) -> None:
    """How many nodes the graphs have, and the values of conditions and targets.

    The arrays are read piece by piece, twice: for their range, and to count.
    """
    shown: dict[str, Callable[[], Iterable[np.ndarray]]] = {
        "nodes of a mesh": lambda: [store.num_nodes.astype(float)]
    }
    for array in ("cond", "about", "y", "states"):
        for field in store.fields.get(array, ()):
            shown[readable(field.name, field)] = partial(_values, store, array, field)
    rows = -(-len(shown) // 3)
    figure = Figure(layout="constrained", figsize=(11, 2.4 * rows))
    grid = list(figure.subplots(rows, 3, squeeze=False).flat)
    for ax, (label, pieces) in zip(grid, shown.items(), strict=False):
        counts, edges = _counted(pieces, 41)
        ax.stairs(counts, edges, fill=True)
        if counts.sum() > 10 * len(store):
            ax.set_yscale("log", nonpositive="clip")
        ax.set(xlabel=label, yticks=[])
        ax.locator_params(axis="x", nbins=4)
    for ax in grid[len(shown) :]:
        ax.set_axis_off()
    save(figure, path)


def _values(store: MeshStore, array: str, field: Field) -> Iterator[np.ndarray]:
    columns = column_slices(store.fields[array])[field.name]
    for piece in store.pieces(array):
        yield shown_values(piece[:, columns], field)


def _counted(pieces: Callable[[], Iterable[np.ndarray]], bins: int) -> tuple[np.ndarray, ...]:
    """How many values are in each of some bins of equal width, and the ends of the bins."""
    low, high = np.inf, -np.inf
    for values in pieces():
        known = values[np.isfinite(values)]
        if len(known):
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if high - low <= 1e-5 * abs(high):  # one value, but for rounding: a bar in the middle
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    edges = np.linspace(low, high, bins + 1) if low < high else np.linspace(0, 1, bins + 1)
    counts = np.zeros(bins, dtype=np.int64)
    for values in pieces():
        counts += np.histogram(values[np.isfinite(values)], edges)[0]
    return counts, edges


def error_against_distance(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], name: str, path: str | Path
) -> None:
    """Root mean square error of a field, over that of the field, against distance; a line each."""
    figure = Figure(layout="constrained", figsize=(6, 4))
    axes = figure.subplots()
    for label, (distance, error) in curves.items():
        axes.loglog(np.maximum(distance, 1e-6), error, "o-", label=label)
    axes.set(xlabel="distance to the boundary", ylabel=f"error of {name.replace('_', ' ')}")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    save(figure, path)


@dataclass(frozen=True)
class ErrorPoint:
    """What a model's trainings came to.

    Attributes:
        budget: of each.
        parameters: of the model.
        error: mean over the seeds.
        spread: standard deviation over the seeds.
    """

    budget: float
    parameters: int
    error: float
    spread: float


def errors_against_budget(
    panels: Mapping[str, Mapping[str, Sequence[ErrorPoint]]], unit: str, path: str | Path
) -> None:
    """Errors of models against what they were trained for, and against their parameters.

    Args:
        panels: of each row of the picture, the points of each model, in the order of the budgets;
            against the parameters stand those of the largest one. Where there is but one budget,
            the errors are drawn against the parameters alone.
        unit: of the budgets.
        path: PNG file.
    """
    several = any(
        len({point.budget for points in models.values() for point in points}) > 1
        for models in panels.values()
    )
    figure = Figure(layout="constrained", figsize=(11 if several else 7.5, 0.4 + 3.6 * len(panels)))
    grid = figure.subplots(len(panels), 1 + several, squeeze=False, sharey="row")
    names = list(dict.fromkeys(name for models in panels.values() for name in models))
    styles: dict[str, dict[str, Any]] = {
        name: {"color": f"C{i % 10}", "linestyle": LINES[i // 10 % len(LINES)]}
        | {"marker": "o", "markersize": 3}
        for i, name in enumerate(names)
    }
    for (title, models), row in zip(panels.items(), grid, strict=True):
        budgets = sorted({point.budget for points in models.values() for point in points})
        for name, points in models.items():
            for last in (point for point in points if point.budget == budgets[-1]):
                size = last.parameters / 1e3
                row[-1].errorbar([size], [last.error], [last.spread], **styles[name])
        title, after = title.replace("_", " "), f"after {budgets[-1]:g} {unit}"
        if several:
            _against_budget(row[0], models, budgets, styles)
            row[0].set(xlabel=unit, title=title)
        row[-1].set(xlabel="thousand parameters", title=after if several else f"{title}, {after}")
        row[0].set(ylabel="error")
        for axes in row:
            axes.set_yscale("log")
            axes.grid(True, which="both", alpha=0.3)
    handles = [Line2D([], [], **styles[name]) for name in names]
    figure.legend(handles, names, loc="outside right upper", fontsize="small")
    save(figure, path)


def _against_budget(
    axes: Axes,
    models: Mapping[str, Sequence[ErrorPoint]],
    budgets: Sequence[float],
    styles: Mapping[str, dict[str, Any]],
) -> None:
    for name, points in models.items():
        errors, spreads = [p.error for p in points], [p.spread for p in points]
        axes.errorbar([p.budget for p in points], errors, spreads, **styles[name])
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(budgets, labels=[f"{budget:g}" for budget in budgets])


def cost_against_nodes(kinds: Mapping[str, Mapping[str, np.ndarray]], path: str | Path) -> None:
    """Time and memory of operators against the number of nodes, both logarithmic.

    Args:
        kinds: of each kind of run, a row of the picture, nodes, seconds and bytes ``[3, sizes]`` of
            each operator.
        path: PNG file.
    """
    figure = Figure(layout="constrained", figsize=(11, 0.4 + 4 * max(1, len(kinds))))
    grid = figure.subplots(max(1, len(kinds)), 2, squeeze=False)
    names = list(dict.fromkeys(name for curves in kinds.values() for name in curves))
    styles: dict[str, dict[str, Any]] = {
        name: {"color": f"C{i % 10}", "linestyle": LINES[i // 10 % len(LINES)]}
        for i, name in enumerate(names)
    }
    for (kind, curves), (of_time, of_memory) in zip(kinds.items(), grid, strict=False):
        for name, (nodes, seconds, size) in curves.items():
            of_time.loglog(nodes, seconds, "o", markersize=3, **styles[name])
            of_memory.loglog(nodes, size / 2**30, "o", markersize=3, **styles[name])
        of_time.set(xlabel="nodes", ylabel="seconds", title=kind)
        of_memory.set(xlabel="nodes", ylabel="GiB at the peak", title=kind)
    for axes in grid.flat:
        axes.grid(True, which="both", alpha=0.3)
    handles = [Line2D([], [], marker="o", markersize=3, **styles[name]) for name in names]
    figure.legend(handles, names, loc="outside right upper", fontsize="small")
    save(figure, path)
