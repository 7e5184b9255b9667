"""The solver against known solutions, and the samples against their recipe."""

from __future__ import annotations

import gmsh
import numpy as np
import pytest
import torch
from scipy.optimize import root

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import boundary_facets
from lrsa_geo.mesh.surfaces import nearest_points
from lrsa_geo.simulate.elasticity import (
    CLAMPED,
    FREE,
    INTERIOR,
    LOADED,
    VOID,
    ElasticityRecipe,
    markers,
)
from lrsa_geo.simulate.hyperelasticity import MooneyRivlin, QuadraticTriangle, solve
from lrsa_geo.simulate.unit_cell import unit_cell_mesh, void_radius

RUBBER = MooneyRivlin()
HEAVY_LOAD = 250e3  # Pa


def homogeneous_stretch(traction: float, rubber: MooneyRivlin) -> np.ndarray:
    """Stretches (x, y) of plane-strain uniaxial tension: the energy's gradient equals the load."""

    def energy(stretch: np.ndarray) -> float:
        squares = np.array([stretch[0], stretch[1], 1.0]) ** 2
        j = stretch[0] * stretch[1]
        i1 = squares.sum() * j ** (-2 / 3)
        i2 = (squares[0] * squares[1] + squares[0] + squares[1]) * j ** (-4 / 3)
        return rubber.c1 * (i1 - 3) + rubber.c2 * (i2 - 3) + rubber.bulk / 2 * (j - 1) ** 2

    def imbalance(stretch: np.ndarray) -> np.ndarray:
        step = 1e-6
        gradient = [
            (energy(stretch + step * e) - energy(stretch - step * e)) / (2 * step)
            for e in np.eye(2)
        ]
        return (np.array(gradient) - [0, traction]) / rubber.c1

    return root(imbalance, [1.0, 1.0], tol=1e-10).x


@pytest.mark.parametrize("traction", [20e3, 200e3, -50e3])
def test_a_cell_without_void_is_stretched_as_the_analytic_solution_says(traction):
    points, cells = unit_cell_mesh(60)
    solution = solve(points, cells, np.array([0, traction]), RUBBER, base="sliding")
    stretch = homogeneous_stretch(traction, RUBBER)
    expected = points * (stretch - 1)
    np.testing.assert_allclose(solution.displacement, expected, atol=2e-6)
    # Nominal stress P_yy = traction, so Cauchy's is P_yy F_yy / J; nothing acts sideways.
    cauchy = traction / stretch[0]
    np.testing.assert_allclose(solution.stress[:, 1, 1], cauchy, rtol=1e-4)
    np.testing.assert_allclose(solution.stress[:, 0, 0], 0, atol=1e-4 * abs(cauchy))
    principal = np.array([0, cauchy, solution.stress[0, 2, 2]])
    von_mises = np.sqrt(((principal - np.roll(principal, 1)) ** 2).sum() / 2)
    np.testing.assert_allclose(solution.von_mises, von_mises, rtol=1e-4)


def test_small_strains_are_linear_elastic():
    """Plane strain, nearly incompressible: the stretch is (1 - nu^2) traction / E."""
    points, cells = unit_cell_mesh(60)
    load = 50.0  # a strain of about 1e-4
    solution = solve(points, cells, np.array([0, load]), RUBBER, base="sliding")
    shear = 2 * (RUBBER.c1 + RUBBER.c2)
    young = 9 * RUBBER.bulk * shear / (3 * RUBBER.bulk + shear)
    poisson = young / (2 * shear) - 1
    top = points[:, 1] == 1
    np.testing.assert_allclose(
        solution.displacement[top, 1], load * (1 - poisson**2) / young, rtol=3e-4
    )


@pytest.mark.parametrize("traction", [(5e3, 60e3), (-5e3, 20e3)])
def test_reaction_equals_the_applied_load(traction):
    radius = void_radius(np.random.default_rng(0), 6)
    points, cells = unit_cell_mesh(300, radius)
    solution = solve(points, cells, np.array(traction), RUBBER)
    np.testing.assert_allclose(solution.load, traction, rtol=1e-12)
    np.testing.assert_allclose(
        solution.reaction, -solution.load, atol=1e-6 * np.abs(traction).max()
    )


def test_displacement_converges_at_second_order_and_stress_at_first():
    """A smooth bending problem, against a mesh with ten times the nodes of the finest."""

    def traction(x: np.ndarray) -> np.ndarray:
        return np.column_stack([np.zeros_like(x), 2e4 * (1 + np.cos(2 * np.pi * x))])

    def tip_and_stress(num_nodes: int) -> tuple[float, np.ndarray]:
        points, cells = unit_cell_mesh(num_nodes)
        solution = solve(points, cells, traction, RUBBER, base="sliding")
        corner = np.flatnonzero((points == [1, 1]).all(1))[0]
        energy = float(solution.displacement[corner, 1])
        inside = np.abs(points - 0.5).max(1) < 0.3
        return energy, np.array([np.sqrt((solution.von_mises[inside] ** 2).mean())])

    sizes = (60, 240, 960)
    exact, _ = tip_and_stress(6000)
    errors = np.array([abs(tip_and_stress(n)[0] - exact) for n in sizes])
    orders = np.log2(errors[:-1] / errors[1:])  # the edge length halves
    assert orders.mean() > 1.6, (errors, orders)


def test_a_load_too_large_for_one_step_is_applied_in_several():
    radius = void_radius(np.random.default_rng(1), 6)
    points, cells = unit_cell_mesh(150, radius)
    heavy = solve(points, cells, np.array([0, HEAVY_LOAD]), RUBBER)
    assert heavy.load_steps > 1
    np.testing.assert_allclose(heavy.reaction, -heavy.load, atol=1e-6 * HEAVY_LOAD)
    with pytest.raises(SampleError, match="did not converge in 16 load steps"):
        solve(*unit_cell_mesh(40), np.array([0, -1e9]), RUBBER)


def test_quadratic_triangles_do_not_lock():
    """Bulk modulus times ten must not change the displacement of a nearly incompressible cell."""
    radius = void_radius(np.random.default_rng(1), 6)
    points, cells = unit_cell_mesh(200, radius)
    load = np.array([0, 40e3])
    soft = solve(points, cells, load, RUBBER).displacement
    stiff = solve(points, cells, load, MooneyRivlin(bulk=10 * RUBBER.bulk)).displacement
    assert np.abs(stiff - soft).max() < 5e-3 * np.abs(soft).max()


def test_gradient_of_the_element_is_that_of_its_shape_functions():
    element, step = QuadraticTriangle(), 1e-6
    for point in np.random.default_rng(0).dirichlet([1, 1, 1], size=5)[:, :2]:
        differences = [
            (element.function(point + step * e) - element.function(point - step * e)) / (2 * step)
            for e in np.eye(2)
        ]
        np.testing.assert_allclose(element.gradient(point), np.transpose(differences), atol=1e-8)


def test_which_corner_of_a_triangle_comes_first_does_not_matter():
    radius = void_radius(np.random.default_rng(2), 6)
    points, cells = unit_cell_mesh(200, radius)
    rolled = np.array([np.roll(cell, i) for i, cell in enumerate(cells)])
    one, other = (solve(points, c, np.array([4e3, 40e3]), RUBBER) for c in (cells, rolled))
    np.testing.assert_allclose(other.displacement, one.displacement, atol=1e-9)
    np.testing.assert_allclose(other.von_mises, one.von_mises, rtol=1e-6)


def test_mirror_image_of_the_cell_has_the_mirror_image_of_the_solution():
    radius = void_radius(np.random.default_rng(2), 6)
    points, cells = unit_cell_mesh(200, radius)
    one = solve(points, cells, np.array([4e3, 40e3]), RUBBER)
    mirrored = np.column_stack([1 - points[:, 0], points[:, 1]])
    other = solve(mirrored, cells[:, ::-1], np.array([-4e3, 40e3]), RUBBER)
    np.testing.assert_allclose(other.von_mises, one.von_mises, rtol=1e-5)
    np.testing.assert_allclose(other.displacement, one.displacement * [-1, 1], atol=1e-8)


def test_void_radius_has_the_distribution_of_the_recipe():
    radii = np.array([void_radius(np.random.default_rng(i), 6) for i in range(2000)])
    assert radii.min() > 0.2
    assert radii.max() < 0.4
    g = np.log(0.2 / (radii - 0.2) - 1)
    k = np.arange(1, 7)
    variance = 16 / 9 / (2 * np.pi) + (16 / (k**2 + 9)).sum() / np.pi
    assert g.var(axis=0).mean() == pytest.approx(variance, rel=0.05)
    assert abs(g.mean()) < 0.05


def test_markers_of_a_cell():
    radius = void_radius(np.random.default_rng(3), 6)
    points, cells = unit_cell_mesh(300, radius)
    marker = markers(points, cells)
    edges = boundary_facets(cells, np.full(len(cells), 5), len(points)).corners
    assert (
        np.bincount(edges.ravel(), minlength=len(points))[marker != INTERIOR] == 2
    ).all()  # two closed curves
    from_centre = np.hypot(*(points - 0.5).T)
    assert (from_centre[marker == VOID] < 0.41).all()
    assert (points[marker == CLAMPED, 1] == 0).all()
    assert (points[marker == LOADED, 1] == 1).all()
    assert set(points[marker == FREE, 0]) == {0.0, 1.0}
    assert from_centre[marker == INTERIOR].min() > 0.2


def test_measure_and_offset_of_a_cell():
    radius = void_radius(np.random.default_rng(3), 6)
    data = ElasticityRecipe().solved(radius, 300, 40e3)
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    polygon = 0.5 * np.sin(angle[1]) * (radius * np.roll(radius, 1)).sum()
    assert float(data.measure.sum()) == pytest.approx(1 - polygon, rel=5e-3)
    distance, offset = data.x[:, 0].numpy(), data.x[:, 1:].numpy()
    np.testing.assert_allclose(np.hypot(*offset.T), distance, rtol=1e-5)
    assert ((distance < 1e-6) == (data.boundary == VOID).numpy()).all()
    ends = data.pos.numpy() + offset - 0.5  # on the chords between the nodes of the void
    seen = np.arctan2(ends[:, 1], ends[:, 0]) % (2 * np.pi)
    on_void = np.interp(seen, [*angle, 2 * np.pi], [*radius, radius[0]])
    np.testing.assert_allclose(np.hypot(*ends.T), on_void, rtol=0.06)


def test_offset_leads_to_the_nearest_point_of_the_boundary():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    probes = np.array([[0.5, 0.2], [2, 0.5], [2, 2], [0.9, 0.5], [0, 0]])
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    offset = nearest_points(probes, square, edges) - probes
    np.testing.assert_allclose(offset, [[0, -0.2], [-1, 0], [-1, -1], [0.1, 0], [0, 0]], atol=1e-12)


def test_a_gmsh_session_of_the_user_is_not_disturbed():
    gmsh.initialize(interruptible=False)
    try:
        with pytest.raises(RuntimeError, match=r"call gmsh.finalize\(\) first"):
            unit_cell_mesh(40)
        assert gmsh.isInitialized()
    finally:
        gmsh.finalize()


def test_a_sample_is_fixed_by_seed_and_number_alone():
    recipe = ElasticityRecipe(min_nodes=150, max_nodes=200)
    one, same, other = recipe.sample(5), recipe.sample(5), recipe.sample(6)
    for array in one.keys():  # noqa: SIM118
        assert torch.equal(one[array], same[array]), array
    assert not torch.equal(one.cond, other.cond)
    assert not torch.equal(ElasticityRecipe(seed=1).sample(5).cond, one.cond)


def test_made_samples_follow_the_recipe(cells):
    assert len(cells) == 24
    cond = cells.read("cond")
    assert cond.shape == (24, 1)
    assert (cond >= 20e3).all()
    assert (cond <= 60e3).all()
    assert cells.num_nodes.max() > 1.5 * cells.num_nodes.min()
    data = cells[3]
    assert [f.name for f in cells.fields["y"]] == ["von_mises", "displacement"]
    assert (data.y[data.boundary == CLAMPED, 1:] == 0).all()
    assert (data.y[:, 0] > 0).all()
    assert (data.x[data.boundary == VOID] == 0).all()
    torch.testing.assert_close(data.x[:, 1:].norm(dim=1), data.x[:, 0])
    remade = ElasticityRecipe(min_nodes=150, max_nodes=350).sample(int(data.sample))
    torch.testing.assert_close(remade.y, data.y)


def test_a_skewed_mesh_is_denser_at_the_left_but_not_at_the_corners():
    radius = void_radius(np.random.default_rng(5), 6)
    even, _ = unit_cell_mesh(1500, radius)
    skewed, _ = unit_cell_mesh(1500, radius, 1.2)
    assert np.mean(even[:, 0] < 0.5) == pytest.approx(0.5, abs=0.05)
    assert np.mean(skewed[:, 0] < 0.5) > 0.65
    for points in (even, skewed):
        nearest = np.sort(np.linalg.norm(points, axis=1))[1]
        assert nearest == pytest.approx(0.03, rel=0.35)
