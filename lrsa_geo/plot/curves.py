"""Curves and histograms: training, errors against size and distance, values of a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import column_slices
from lrsa_geo.plot.style import LINES, readable, save, shown_values


def loss_curves(rows: list[dict[str, float]], path: str | Path) -> None:
    """Training loss and validation errors over the epochs, on a logarithmic axis."""
    figure = Figure(layout="constrained", figsize=(6, 4))
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    names = [name for name in rows[-1] if name not in ("epoch", "seconds")]
    for name in names:
        label = {"loss": "training, all fields"}.get(name, name.replace("val_", "validation, "))
        axes.semilogy(epochs, [row.get(name, np.nan) for row in rows], label=label)
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
    """How many nodes the graphs have, and the values of conditions and targets."""
    shown = {"nodes of a mesh": store.num_nodes.astype(float)}
    for array in ("cond", "about", "y", "states"):
        if array not in store.fields:
            continue
        values = np.asarray(store.read(array))
        for field in store.fields[array]:
            columns = column_slices(store.fields[array])[field.name]
            shown[readable(field.name, field)] = shown_values(values[:, columns], field)
    rows = -(-len(shown) // 3)
    figure = Figure(layout="constrained", figsize=(11, 2.4 * rows))
    grid = list(figure.subplots(rows, 3, squeeze=False).flat)
    for ax, (label, numbers) in zip(grid, shown.items(), strict=False):
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        if high - low <= 1e-5 * abs(high):  # one value, but for rounding: a bar in the middle
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        ax.hist(numbers, bins=41, range=(low, high), log=len(numbers) > 10 * len(store))
        ax.set(xlabel=label, yticks=[])
        ax.locator_params(axis="x", nbins=4)
    for ax in grid[len(shown) :]:
        ax.set_axis_off()
    save(figure, path)


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
