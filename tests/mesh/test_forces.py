"""Forces of a pressure against the divergence theorem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch_geometric.data import Data

from lrsa_geo.mesh import pressure_force


def block(dim: int, seed: int = 0) -> Data:
    """Simplices that fill the unit square or cube, as many of each orientation."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * dim), axis=-1).reshape(-1, dim)
    inside = (np.abs(grid - 0.5) < 0.4).all(axis=1)
    points = grid + inside[:, None] * rng.uniform(-0.05, 0.05, grid.shape)
    cells = Delaunay(points, qhull_options="QJ").simplices
    cells[::2, :2] = cells[::2, 1::-1]
    measure = np.abs(np.linalg.det(points[cells[:, 1:]] - points[cells[:, :1]]))
    return Data(
        pos=torch.tensor(points),
        cells=torch.tensor(cells[measure > 1e-6]),
        cell_types=torch.full((int((measure > 1e-6).sum()),), {2: 5, 3: 10}[dim]),
        boundary=torch.tensor(~inside, dtype=torch.int8),
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_a_linear_pressure_pushes_with_its_gradient_times_the_volume(dim):
    data, gradient = block(dim), torch.arange(1.0, dim + 1, dtype=torch.float64)
    force = pressure_force(data, 7 + data.pos @ gradient, 1)
    torch.testing.assert_close(force, gradient)  # the volume is 1


@pytest.mark.parametrize("dim", [2, 3])
def test_pressure_on_one_side_pushes_out_of_the_mesh(dim):
    data = block(dim)
    data.boundary = torch.where(data.pos[:, 0] == 1, 5, 0).to(torch.int8)
    expected = torch.zeros(dim, dtype=torch.float64)
    expected[0] = 3.0
    pressure = torch.full((len(data.pos),), 3.0, dtype=torch.float64)
    torch.testing.assert_close(pressure_force(data, pressure, 5), expected)


def test_what_cannot_be_is_refused():
    data = block(2)
    with pytest.raises(ValueError, match=r"shape \[3\], expected \[16\]"):
        pressure_force(data, torch.zeros(3), 1)
    with pytest.raises(
        ValueError, match="no facet of the boundary has nodes that are all marked 9"
    ):
        pressure_force(data, torch.zeros(16), 9)
