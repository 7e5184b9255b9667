"""Pictures of singular values, of errors along them, and of precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lrsa_geo.plot.style import LINES, save

FLOOR = 1e-8
"""Share of the largest singular value below which nothing is drawn: rounding."""


def singular_values(spectra: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Singular values over the largest of each operator, against their number; both logarithmic."""
    figure = Figure(layout="constrained", figsize=(7, 4))
    axes = figure.subplots()
    for label, values in spectra.items():
        shares = values / values[0] if len(values) and values[0] > 0 else values
        shown = shares[shares > FLOOR]
        axes.loglog(np.arange(1, len(shown) + 1), shown, ".-", markersize=4, label=label)
    axes.set(xlabel="number of the singular value", ylabel="over the largest one")
    axes.grid(True, which="major", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    save(figure, path)


def error_against_rank(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path
) -> None:
    """Errors ``[ranks, seeds]`` of models against the operator's effective rank ``[ranks]``.

    A line through the means, a band from the least to the largest seed.
    """
    figure = Figure(layout="constrained", figsize=(7, 4))
    axes = figure.subplots()
    for label, (ranks, errors) in curves.items():
        (line,) = axes.plot(ranks, errors.mean(1), "o-", label=label)
        axes.fill_between(
            ranks, errors.min(1), errors.max(1), color=line.get_color(), alpha=0.15, linewidth=0
        )
    axes.set(
        xlabel="effective rank of the operator (99 % of its norm)",
        ylabel="relative L2",
        yscale="log",
    )
    axes.grid(True, which="both", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    save(figure, path)


def errors_in_precision(
    trained: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    sums: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    path: str | Path,
) -> None:
    """Errors, gradients and sums over nodes, for each (mixer, precision).

    Args:
        trained: errors ``[seeds]`` and deviations of gradients ``[seeds]``; NaN is left out.
        sums: numbers of nodes and deviations of latents; a cross where these are infinite.
        path: PNG file.
    """
    figure = Figure(layout="constrained", figsize=(11, 3.8))
    of_errors, of_gradients, of_sums = figure.subplots(1, 3)
    mixers = list(dict.fromkeys(mixer for mixer, _ in trained))
    precisions = list(dict.fromkeys(precision for _, precision in trained))
    colors = {precision: f"C{i}" for i, precision in enumerate(precisions)}
    for (mixer, precision), both in trained.items():
        beside = (precisions.index(precision) - (len(precisions) - 1) / 2) * 0.25
        place = mixers.index(mixer) + beside
        for axes, values in zip((of_errors, of_gradients), both, strict=True):
            known = values[np.isfinite(values)]
            axes.plot(np.full(len(known), place), known, "o", color=colors[precision])
    for axes, label in (
        (of_errors, "relative L2"),
        (of_gradients, "gradients' deviation from float64"),
    ):
        axes.set(ylabel=label, xlim=(-0.5, len(mixers) - 0.5))
        axes.set_xticks(range(len(mixers)), mixers)
    of_errors.set_ylim(bottom=0)
    of_gradients.set_yscale("log")
    top = 10 * max((d[np.isfinite(d)].max(initial=0) for _, d in sums.values()), default=0)
    for (mixer, precision), (nodes, deviations) in sums.items():
        line = LINES[mixers.index(mixer) % len(LINES)]
        finite = np.isfinite(deviations)
        of_sums.loglog(nodes[finite], deviations[finite], line, color=colors[precision])
        lost = np.isinf(deviations)
        of_sums.loglog(nodes[lost], np.full(lost.sum(), top), "x", color=colors[precision])
    of_sums.set(
        xlabel="nodes of a graph", ylabel="latents' deviation from float64\n(x: not finite)"
    )
    for axes in (of_errors, of_gradients, of_sums):
        axes.grid(True, which="major", alpha=0.3)
    handles = [Line2D([], [], marker="o", color=color) for color in colors.values()]
    labels = [*precisions]
    for number, mixer in enumerate(mixers if sums else []):
        handles += of_sums.plot([], [], LINES[number % len(LINES)], color="gray")
        labels.append(mixer)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    save(figure, path)
