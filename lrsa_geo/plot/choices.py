"""Errors of models that differ in one thing each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lrsa_geo.plot.style import save


@dataclass(frozen=True)
class Choice:
    """One of several sizes or parts that a model may have.

    Attributes:
        label: at the axis.
        error: mean over the seeds.
        spread: standard deviation over the seeds.
        own: the model that the others are compared with has it.
    """

    label: str
    error: float
    spread: float
    own: bool


def errors_of_choices(rows: Mapping[str, Mapping[str, Sequence[Choice]]], path: str | Path) -> None:
    """Errors of models that differ in one thing, a panel for each thing.

    A band is the error of the model that they are compared with, ± its spread; its own choices
    are filled.

    Args:
        rows: of each row of the picture, the choices of each panel, in their order; the panels and
            labels are the same in all rows.
        path: PNG file.
    """
    columns = max(len(panels) for panels in rows.values())
    figure = Figure(layout="constrained", figsize=(1 + 2.6 * columns, 0.4 + 3.4 * len(rows)))
    grid = figure.subplots(len(rows), columns, squeeze=False, sharey="row", sharex="col")
    for (title, panels), line in zip(rows.items(), grid, strict=True):
        line[0].set_ylabel(f"error, {title.replace('_', ' ')}")
        for (what, choices), axes in zip(panels.items(), line, strict=False):
            for number, choice in enumerate(choices):
                face = "C0" if choice.own else "white"
                axes.errorbar(number, choice.error, choice.spread, fmt="o", color="C0", mfc=face)
                if choice.own:
                    low, high = choice.error - choice.spread, choice.error + choice.spread
                    axes.axhspan(low, high, color="C0", alpha=0.15)
                    axes.axhline(choice.error, color="C0", linewidth=0.8)
            axes.set_yscale("log")
            axes.set(xlim=(-0.5, max(1, len(choices)) - 0.5))
            long = any(len(choice.label) > 4 for choice in choices)
            style = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}
            axes.set_xticks(np.arange(len(choices)), [choice.label for choice in choices], **style)
            axes.grid(True, which="both", axis="y", alpha=0.3)
            axes.set_xlabel(what if axes.get_subplotspec().is_last_row() else "")
        low, high = line[0].get_ylim()
        line[0].yaxis.set_major_formatter("{x:g}")
        line[0].yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
    save(figure, path)
