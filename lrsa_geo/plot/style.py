"""What all pictures share: shown numbers, readable names, and files that appear whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lrsa_geo.files import atomic_path
from lrsa_geo.mesh import Field

LINES = ("-", "--", ":", "-.")
"""Styles of lines where colours are used up, or say something else."""


def shown_values(columns: np.ndarray, field: Field) -> np.ndarray:
    """A scalar itself, the length of a vector: ``[N, components]`` -> ``[N]``."""
    return np.linalg.norm(columns, axis=1) if field.components else columns[:, 0]


def readable(name: str, field: Field) -> str:
    """A label for an axis or a colour bar, with the unit."""
    quantity = name.replace("_", " ")
    if field.components:
        quantity = f"|{quantity}|"
    return quantity if field.unit == "1" else f"{quantity} in {field.unit}"


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG file that appears complete or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
