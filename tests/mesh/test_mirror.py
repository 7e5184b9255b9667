"""Mirror images are solutions too: checked with the solver."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, mirrored
from lrsa_geo.simulate.elasticity import MooneyRivlin, solve


def test_the_mirror_image_of_a_solution_is_what_the_solver_finds(cells):
    data = cells[4]
    image = mirrored(data, "x", 0.5, cells.fields)
    points, cells_ = image.pos.double().numpy(), data.cells.numpy()[:, ::-1]
    load = np.array([0, float(image.cond)])
    solution = solve(points, cells_, load, MooneyRivlin())
    expected = torch.tensor(np.column_stack([solution.von_mises, solution.displacement]))
    error = (image.y - expected).norm(dim=0) / expected.norm(dim=0)
    assert error.max() < 1e-4


def test_vectors_turn_and_scalars_stay():
    fields = {"cond": (Field("p"), Field("force", "N", ("x", "y")))}
    data = Data(pos=torch.tensor([[1.0, 2]]), cond=torch.tensor([[3.0, 4, 5]]))
    image = mirrored(data, "y", 1.5, fields)
    assert image.pos.tolist() == [[1, 1]]
    assert image.cond.tolist() == [[3, 4, -5]]


def test_twice_is_the_identity_and_the_original_is_untouched(cells):
    data = cells[4]
    before = data.clone()
    twice = mirrored(mirrored(data, "x", 0.5, cells.fields), "x", 0.5, cells.fields)
    for array in ("pos", "y", "cond"):
        torch.testing.assert_close(twice[array], before[array], atol=1e-6, rtol=0)
        assert torch.equal(data[array], before[array])
