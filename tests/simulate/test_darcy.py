"""Darcy: solvers against known solutions, the random field against its covariance, both recipes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("skfem")
pytest.importorskip("gmsh")

from lrsa_geo.simulate import make_store, recipe_class
from lrsa_geo.simulate.darcy import BOUNDARY, DarcyRecipe, grid_graph
from lrsa_geo.simulate.darcy_irregular import IrregularDarcyRecipe, star_mesh
from lrsa_geo.simulate.diffusion import (
    GaussianField,
    solve_on_square,
    solve_on_triangles,
    triangles,
)

SMALL = {
    "darcy": {"resolution": 61, "every": 6},
    "darcy_irregular": {"min_nodes": 150, "max_nodes": 300},
}


def square(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")


def test_a_manufactured_solution_is_met_with_second_order():
    """u = sin(pi x) sin(2 pi y), a = 2 + x cos y, f = -div(a grad u)."""
    pi = np.pi

    def error(n: int) -> float:
        x, y = square(n)
        u = np.sin(pi * x) * np.sin(2 * pi * y)
        a = 2 + x * np.cos(y)
        u_x = pi * np.cos(pi * x) * np.sin(2 * pi * y)
        u_y = 2 * pi * np.sin(pi * x) * np.cos(2 * pi * y)
        f = 5 * pi**2 * a * u - np.cos(y) * u_x + x * np.sin(y) * u_y
        return float(np.abs(solve_on_square(a, f) - u).max())

    errors = [error(n) for n in (17, 33, 65)]
    assert errors[-1] < 2e-3
    for coarse, fine in pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(2, abs=0.1)


def test_a_constant_coefficient_gives_the_series():
    u = solve_on_square(np.full((129, 129), 3.0), np.ones((129, 129)))
    k = np.arange(1, 80, 2)
    weights = 16 / (np.pi**4 * np.outer(k, k) * (k[:, None] ** 2 + k**2)) / 3
    sine = np.sin(np.pi * np.outer(np.linspace(0, 1, 129), k))
    np.testing.assert_allclose(u, sine @ weights @ sine.T, atol=2e-6)
    assert u.max() == pytest.approx(0.0736713 / 3, rel=1e-3)


def test_layers_are_passed_in_series_and_side_by_side():
    """With a of x alone, the flux through layers is that of their harmonic mean."""
    n = 65
    x, _ = square(n)
    a = np.where(x < 0.5, 3.0, 12.0)
    u = solve_on_square(a, np.ones_like(a))
    swapped = solve_on_square(a[::-1], np.ones_like(a))
    np.testing.assert_allclose(u[::-1], swapped, atol=1e-9)  # mirror images
    turned = solve_on_square(a.T, np.ones_like(a))
    np.testing.assert_allclose(u.T, turned, atol=1e-9)
    np.testing.assert_allclose(solve_on_square(7 * a, np.ones_like(a)) * 7, u, atol=1e-9)
    assert u[: n // 2].max() > u[n // 2 + 1 :].max()  # pressure builds up where little flows


def test_on_triangles_a_disc_gives_its_parabola_with_second_order():
    """u = (R^2 - r^2) / (4 a) for f = 1."""
    errors = []
    for num_nodes in (150, 600):
        mesh = triangles(*star_mesh(num_nodes, np.full(96, 0.3)))
        u = solve_on_triangles(mesh, np.full(mesh.t.shape[1], 3.0))
        exact = (0.3**2 - ((mesh.p - 0.5) ** 2).sum(0)) / 12
        errors.append(float(np.abs(u - exact).max() / exact.max()))
    assert errors[0] < 0.01
    assert errors[0] / errors[1] > 3  # the edges are half as long


def test_on_triangles_two_values_agree_with_the_grid():
    rng = np.random.default_rng(1)
    field = GaussianField.draw(rng, 16)
    n = 129
    on_grid = solve_on_square(np.where(field.on_grid(n) >= 0, 12.0, 3.0), np.ones((n, n)))
    from skfem import MeshTri

    mesh = MeshTri.init_tensor(*2 * [np.linspace(0, 1, n)])
    centres = mesh.p[:, mesh.t].mean(1).T
    u = solve_on_triangles(mesh, np.where(field.at(centres) >= 0, 12.0, 3.0))
    number = np.rint(mesh.p * (n - 1)).astype(int)
    expected = on_grid[number[0], number[1]]
    assert np.linalg.norm(u - expected) < 0.01 * np.linalg.norm(expected)


def test_the_field_has_its_covariance():
    """Var g(p) = sum_k tau^2 (pi^2 k^2 + tau^2)^-2 phi_k(p)^2, at the centre and in a corner."""
    rng = np.random.default_rng(0)
    points = np.array([[0.5, 0.5], [0.0, 0.0], [0.25, 0.5]])
    draws = np.array([GaussianField.draw(rng, 12).at(points) for _ in range(4000)])
    k = np.arange(12)
    spectrum = 9 / (np.pi**2 * (k[:, None] ** 2 + k**2) + 9) ** 2
    spectrum[0, 0] = 0
    for point, values in zip(points, draws.T, strict=True):
        of_x, of_y = (np.where(k > 0, 2, 1) * np.cos(np.pi * k * p) ** 2 for p in point)
        variance = of_x @ spectrum @ of_y
        assert values.var() == pytest.approx(variance, rel=0.1)  # four deviations
        assert abs(values.mean()) < 4 * np.sqrt(variance / 4000)


def test_the_field_is_the_same_on_a_grid_and_at_its_points():
    field = GaussianField.draw(np.random.default_rng(2), 9)
    x, y = square(7)
    at_points = field.at(np.stack([x.ravel(), y.ravel()], 1))
    np.testing.assert_allclose(field.on_grid(7).ravel(), at_points, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_is_what_its_number_says(name, tmp_path):
    recipe = recipe_class(name)(samples=3, **SMALL[name])
    store = make_store(recipe, tmp_path / "darcy.h5", processes=0)
    assert [int(store[i].sample) for i in range(3)] == [0, 1, 2]
    for index in range(3):
        graph, alone = store[index], recipe.sample(index)
        assert torch.equal(graph.y, alone.y)
        assert set(graph.x[:, 0].tolist()) == {3.0, 12.0}
        rim = graph.boundary == BOUNDARY
        assert (graph.y[rim] == 0).all()
        assert (graph.y[~rim] > 0).all()
        lengths = graph.pos[rim].max(0).values - graph.pos[rim].min(0).values
        assert float(graph.measure.sum()) <= float(lengths.prod()) * (1 + 1e-5)
    assert not torch.equal(store[0].y, store[1].y)


def test_kept_points_are_those_of_the_solution():
    fine = DarcyRecipe(resolution=61, every=1).sample(3)
    coarse = DarcyRecipe(resolution=61, every=6).sample(3)
    kept = torch.arange(61 * 61).view(61, 61)[::6, ::6].ravel()
    torch.testing.assert_close(coarse.pos, fine.pos[kept])
    assert torch.equal(coarse.y, fine.y[kept])
    assert torch.equal(coarse.x, fine.x[kept])


def test_rows_of_a_grid_follow_x():
    x, y = square(4)
    data = grid_graph(x, y)
    torch.testing.assert_close(data.pos, torch.cat([data.x, data.y], 1))


def test_refining_the_irregular_mesh_hardly_changes_the_answer():
    once, twice = (IrregularDarcyRecipe(refined=r, **SMALL["darcy_irregular"]) for r in (2, 3))
    a, b = once.sample(0), twice.sample(0)
    assert torch.equal(a.pos, b.pos)
    assert float((a.y - b.y).norm()) < 0.02 * float(b.y.norm())


@pytest.mark.parametrize(("every", "low"), [(8, 3.0), (0, 3.0), (10, 0.0), (10, 13.0)])
def test_impossible_recipes_are_refused(every, low):
    with pytest.raises(ValueError, match=r"every is|low and high are"):
        DarcyRecipe(every=every, low=low)


def test_impossible_coefficients_are_refused_in_random_domains_too():
    with pytest.raises(ValueError, match=r"low and high are -1.0 and 12.0"):
        IrregularDarcyRecipe(low=-1.0)
