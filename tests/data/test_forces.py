"""Forces of a pressure against the divergence theorem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch_geometric.data import Data

from lrsa_geo.data import lift_coefficient, pressure_force


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
        boundary=torch.tensor(~inside, dtype=torch.int8),
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_a_linear_pressure_pushes_with_its_gradient_times_the_volume(dim):
    data, gradient = block(dim), np.arange(1.0, dim + 1)
    pressure = 7 + data.pos.numpy() @ gradient
    force = pressure_force(data, pressure, 1)
    np.testing.assert_allclose(force, gradient, rtol=1e-9)  # the volume is 1
    np.testing.assert_allclose(pressure_force(data, torch.tensor(pressure), 1), force)


@pytest.mark.parametrize("dim", [2, 3])
def test_pressure_on_one_side_pushes_out_of_the_mesh(dim):
    data = block(dim)
    data.boundary = torch.where(data.pos[:, 0] == 1, 5, 0).to(torch.int8)
    expected = np.zeros(dim)
    expected[0] = 3.0
    pressure = np.full(len(data.pos), 3.0)
    np.testing.assert_allclose(pressure_force(data, pressure, 5), expected, atol=1e-9)


def test_lift_is_across_the_flow():
    data = block(2)
    pressure = data.pos.numpy() @ np.array([0.3, -0.8])
    along, across = np.array([0.3, -0.8]), lift_coefficient(data, pressure, 30.0)
    assert across == pytest.approx(along @ [-0.5, np.sqrt(0.75)])


def test_what_cannot_be_is_refused():
    data = block(2)
    with pytest.raises(ValueError, match=r"shape \[3\], expected \[16\]"):
        pressure_force(data, np.zeros(3), 1)
    with pytest.raises(ValueError, match="no boundary with the marker 9"):
        pressure_force(data, np.zeros(16), 9)
    data.pos = torch.cat([data.pos, data.pos[:, :1]], dim=1)
    with pytest.raises(ValueError, match="enclose no body"):
        pressure_force(data, np.zeros(16), 1)
