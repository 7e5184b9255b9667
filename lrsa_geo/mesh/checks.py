"""Checks of cells and fields that were read or are to be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import is_known
from lrsa_geo.mesh.errors import MeshError


def check_cells(path: Path, number: int, nodes: np.ndarray, num_nodes: int) -> None:
    """Refuse cells of an unknown VTK type, and those that point at nodes which are not there."""
    if not is_known(number):
        raise MeshError(
            f"{path}: has cells of the unknown VTK type {number}, expected linear or quadratic"
            " cells; convert the mesh (ParaView: Tetrahedralize)"
        )
    if not 0 <= nodes.min() <= nodes.max() < num_nodes:
        raise MeshError(
            f"{path}: cells of VTK type {number} point at nodes {nodes.min()} to {nodes.max()},"
            f" expected 0 to {num_nodes - 1}; the file is damaged: export it again"
        )


def check_field(path: Path, kind: str, name: str, shape: tuple[int, ...], rows: int) -> None:
    """Refuse a field with an impossible name or another number of rows than expected."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MeshError(
            f"{path}: the name of {kind} field {name!r} is not UTF-8 ({error}); rename it"
        ) from error
    if not name.strip() or not name.isprintable():
        raise MeshError(f"{path}: {kind} field {name!r} has no printable name; rename it")
    if not shape or shape[0] != rows:
        raise MeshError(
            f"{path}: {kind} field '{name}' has shape {list(shape)}, expected {rows:,} rows,"
            f" one per {kind}"
        )
