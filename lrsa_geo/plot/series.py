"""Series: error over time, film strips, and moving pictures of truth and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch_geometric.data import Data

from lrsa_geo.files import atomic_path
from lrsa_geo.mesh import Field
from lrsa_geo.plot.fields import axes_for, draw_field
from lrsa_geo.plot.style import readable, save, shown_values

ROWS = ("truth", "prediction", "error")
LONG = 0.5  # height over width of a mesh, below which it is shown in rows


def error_over_time(
    errors: Mapping[str, Mapping[str, Sequence[float]]], first: int, path: str | Path
) -> None:
    """Mean error of each field at each step of a rollout, beside what takes no training.

    Args:
        errors: field -> who predicts -> error at each step.
        first: number of the first predicted step.
        path: PNG file.
    """
    figure = Figure(layout="constrained", figsize=(5.5 * len(errors), 4))
    row = figure.subplots(1, len(errors), squeeze=False)[0]
    style = {"model": "-", "persistence": "--", "linear": ":"}
    for ax, (name, by_whom) in zip(row, errors.items(), strict=True):
        for who, values in by_whom.items():
            steps = np.arange(first, first + len(values))
            ax.semilogy(steps, values, style.get(who, "-."), label=who)
        ax.set(xlabel="step", ylabel="relative L2", title=name.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True, which="both", alpha=0.3)
        ax.legend()
    save(figure, path)


def film_strip(
    data: Data,
    field: Field,
    times: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    path: str | Path,
    frames: int = 5,
) -> None:
    """Truth, prediction and error of a field at evenly chosen times.

    A column for each time, or a row where the mesh is long.

    Args:
        data: the mesh.
        field: what is shown; of a vector its length.
        times: ``[T]``.
        truth, prediction: ``[T, N, components]``.
        path: PNG file.
        frames: times that are shown.
    """
    chosen = _evenly(len(times), frames)
    height = _height(data)
    is_long = height < LONG
    width = 4.0 if is_long else 2.7
    shape = (len(chosen), 3) if is_long else (3, len(chosen))
    size = (width * shape[1], shape[0] * (width * height + 0.3) + 0.8)
    figure = Figure(layout="constrained", figsize=size)
    grid = axes_for(figure, *shape, data)
    grid = grid.T if is_long else grid  # [what, time]
    styles = _styles(field, truth[chosen], prediction[chosen])
    for row, (what, style) in enumerate(zip(ROWS, styles, strict=True)):
        for column, step in enumerate(chosen):
            ax = grid[row, column]
            values = _three(field, truth[step], prediction[step])[row]
            drawn = draw_field(ax, data, values, **style)
            at = f"t = {times[step]:.4g}"
            words = [what] * (column == 0) + [at] * (row == 0)
            ax.set_title(", ".join(words), fontsize=9)
        place = {"location": "bottom", "aspect": 40} if is_long else {"aspect": 15}
        bar = figure.colorbar(drawn, ax=list(grid[row]), shrink=0.9, **place)
        bar.set_label(readable(field.name, field), fontsize=8)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
    save(figure, path)


def movie(
    data: Data,
    field: Field,
    times: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    path: str | Path,
    most: int = 60,
) -> None:
    """Truth and prediction side by side, as a GIF that plays for a few seconds.

    Args:
        data: the mesh.
        field: what is shown; of a vector its length.
        times: ``[T]``.
        truth, prediction: ``[T, N, components]``.
        path: GIF file.
        most: pictures in it, evenly chosen.
    """
    chosen = _evenly(len(times), most)
    styles = _styles(field, truth, prediction)
    figure = Figure(layout="constrained", figsize=(9, max(2.2, 4.2 * _height(data)) + 0.5))
    axes = axes_for(figure, 1, 2, data)[0]

    def draw(step: int) -> list[Any]:
        for ax, values, what in zip(
            axes, _three(field, truth[step], prediction[step]), ROWS, strict=False
        ):
            ax.clear()
            draw_field(ax, data, values, **styles[0])
            ax.set_title(f"{what}, t = {times[step]:.4g}", fontsize=9)
        return []

    bar = figure.colorbar(
        draw_field(axes[0], data, _three(field, truth[0], prediction[0])[0], **styles[0]),
        ax=list(axes),
        shrink=0.8,
    )
    bar.set_label(readable(field.name, field))
    animation = FuncAnimation(figure, draw, frames=chosen)
    with atomic_path(path) as temporary:
        animation.save(temporary, PillowWriter(fps=max(4, len(chosen) // 5)), dpi=80)


def _three(field: Field, truth: np.ndarray, prediction: np.ndarray) -> list[np.ndarray]:
    error = shown_values(prediction - truth, field)
    return [shown_values(truth, field), shown_values(prediction, field), error]


def _styles(field: Field, truth: np.ndarray, prediction: np.ndarray) -> list[dict[str, Any]]:
    """Colours of the three rows: the same for truth and prediction, those of the truth."""
    shown = np.stack([shown_values(step, field) for step in truth])
    off = np.stack([shown_values(step, field) for step in prediction - truth])
    low, high = np.nanquantile(shown, [0.002, 0.998])
    limit = float(np.nanquantile(np.abs(off), 0.998)) or 1.0
    if field.components:
        error: dict[str, Any] = {"cmap": "magma", "vmin": 0, "vmax": limit}
    else:
        error = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    same = {"cmap": "viridis", "vmin": float(low), "vmax": float(high)}
    return [same, same, error]


def _height(data: Data) -> float:
    """Height over width of a picture of a mesh, within reason."""
    if data.pos.shape[1] == 3:
        return 1.0
    width, height = np.ptp(data.pos.numpy(), axis=0)
    return float(np.clip(height / max(width, 1e-30), 0.25, 1.5))


def _evenly(count: int, most: int) -> list[int]:
    """Numbers of at most so many of ``count`` steps, the first and the last among them."""
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [int(step) for step in np.unique(chosen)]
