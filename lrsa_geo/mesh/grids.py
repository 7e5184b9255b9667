"""Regular grids over the unit square as meshes of quads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.mesh.cells import QUAD


def grid_positions(rows: int, columns: int, endpoint: bool = True) -> Tensor:
    """Positions of a grid in the unit square: rows follow x, columns follow y.

    Args:
        rows, columns: number of points along each axis.
        endpoint: the last points are at 1; otherwise the next ones would be (a periodic grid).

    Returns:
        ``[rows * columns, 2]`` in float32, with the columns running fastest.
    """
    x = np.linspace(0, 1, rows, endpoint=endpoint)
    y = np.linspace(0, 1, columns, endpoint=endpoint)
    pos = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    return torch.from_numpy(pos.astype(np.float32))


def quad_cells(rows: int, columns: int) -> dict[str, Tensor]:
    """Quads (VTK type 9) of a grid ``[rows, columns]`` flattened with the columns running fastest.

    Returns:
        ``cells`` ``[(rows - 1)(columns - 1), 4]``, counter-clockwise where rows follow x and
        columns y, and ``cell_types``.

    Examples:
        >>> quad_cells(2, 2)["cells"]
        tensor([[0, 2, 3, 1]], dtype=torch.int32)
    """
    node = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    corners = node[:-1, :-1], node[1:, :-1], node[1:, 1:], node[:-1, 1:]
    cells = torch.from_numpy(np.stack(corners, -1).reshape(-1, 4))
    return {"cells": cells, "cell_types": torch.full((len(cells),), QUAD, dtype=torch.int8)}
