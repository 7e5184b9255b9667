"""The script that compares the targets of Elasticity with those of finer meshes."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from lrsa_geo.files import shipped_datasets
from lrsa_geo.simulate import recipe_class

SCRIPT = runpy.run_path(str(shipped_datasets() / "elasticity" / "labels.py"))


def areas(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    a, b, c = (points[cells[:, corner]] for corner in range(3))
    (x, y), (u, v) = (b - a).T, (c - a).T
    return (x * v - y * u) / 2


def test_a_refined_mesh_has_four_equal_triangles_in_place_of_each():
    graph = recipe_class("elasticity")(min_nodes=100, max_nodes=150).sample(0)
    points, cells = graph.pos.double().numpy(), graph.cells.long().numpy()
    finer, four = SCRIPT["refined"](points, cells)
    assert np.array_equal(finer[: len(points)], points)
    assert len(np.unique(finer, axis=0)) == len(finer)
    quarters = areas(finer, four).reshape(4, -1)
    np.testing.assert_allclose(quarters, np.tile(areas(points, cells) / 4, (4, 1)), atol=1e-9)


def test_a_model_that_knows_the_finer_mesh_differs_by_the_error_of_the_own_one():
    recipe = recipe_class("elasticity")(min_nodes=150, max_nodes=200)
    graph = recipe.sample(0)
    finer = SCRIPT["stress_of_finer"](graph, recipe.material)
    found = SCRIPT["figures"](graph, finer, recipe.material)
    assert found[0:8:2] == pytest.approx(found[1:8:2])
    assert 0.01 < found[0] < 0.3
    assert found[8:] == pytest.approx([-1, -1])
