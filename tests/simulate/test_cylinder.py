"""Cylinder: the flow solver against exact flows and a benchmark, bodies, meshes, the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("skfem")
pytest.importorskip("gmsh")

from skfem import MeshTri

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import DistanceToBoundary
from lrsa_geo.simulate import make_store
from lrsa_geo.simulate.cylinder import (
    BODY,
    INLET,
    INTERIOR,
    OUTLET,
    WALL,
    CylinderRecipe,
    markers,
    start_flow,
)
from lrsa_geo.simulate.cylinder_checks import CIRCLE, benchmark
from lrsa_geo.simulate.cylinder_shapes import HEIGHT, LENGTH, Body, channel_mesh
from lrsa_geo.simulate.incompressible import IncompressibleFlow, TaylorHood

SMALL = {"min_nodes": 700, "max_nodes": 900, "start_up": 0.05, "frames": 3}


def channel(across: int) -> TaylorHood:
    along = np.linspace(0, LENGTH, 4 * across + 1)
    mesh = MeshTri.init_tensor(along, np.linspace(0, HEIGHT, across + 1))
    return TaylorHood.of(mesh.p.T, mesh.t.T)


def parabola(spaces: TaylorHood) -> np.ndarray:
    y = spaces.points[:, 1]
    return np.column_stack([6 * y * (HEIGHT - y) / HEIGHT**2, 0 * y])


def test_poiseuille_flow_is_exact_and_stays():
    """A parabola, a linear pressure, and the walls' friction of 6 nu U / H for each length."""
    spaces, viscosity = channel(4), 2e-2
    exact = parabola(spaces)
    x, y = spaces.points.T
    fixed = np.isclose(x, 0) | np.isclose(y, 0) | np.isclose(y, HEIGHT)
    flow = IncompressibleFlow(
        spaces, fixed, np.where(fixed[:, None], exact, 0), viscosity, 0.01, penalty=0.1
    )
    np.testing.assert_allclose(flow.velocity, exact, atol=1e-8)
    flow.disturb(0.1 * np.random.default_rng(0).normal(size=exact.shape))
    flow.advance(600)
    np.testing.assert_allclose(flow.velocity, exact, atol=1e-7)
    pressure = 12 * viscosity / HEIGHT**2 * (LENGTH - x)
    np.testing.assert_allclose(flow.pressure_at_nodes, pressure, atol=1e-6)
    inside = np.isclose(y, 0) & (x > 0) & (x < LENGTH - 1e-9)
    ends = np.isclose(y, 0) & ~inside
    drag = flow.force(np.flatnonzero(inside))[0] + flow.force(np.flatnonzero(ends))[0] / 2
    assert drag == pytest.approx(6 * viscosity * LENGTH / HEIGHT, rel=0.1)  # ends shared by sides


def test_advection_is_the_integral_of_its_definition():
    """u = (x y, x - y) on a square: u . grad u = (x y^2 + x^2 - x y, x y - x + y), cubic."""
    mesh = MeshTri.init_tensor(*2 * [np.linspace(0, 1, 4)])
    spaces = TaylorHood.of(mesh.p.T, mesh.t.T)
    x, y = spaces.points.T
    found = spaces.advection(np.column_stack([x * y, x - y])).sum(axis=0)
    np.testing.assert_allclose(found, [1 / 6 + 1 / 3 - 1 / 4, 1 / 4], atol=1e-12)


def test_a_uniform_flow_carries_a_shear_with_second_order():
    """u = (1, v) where v is a Gaussian bump of x that moves and spreads: an exact solution."""
    viscosity = 1e-2
    mesh = MeshTri.init_tensor(np.linspace(0, 2, 41), np.linspace(0, 0.2, 5))
    spaces = TaylorHood.of(mesh.p.T, mesh.t.T)
    x = spaces.points[:, 0]
    errors = []
    for step in (0.01, 0.005):
        fixed = np.isclose(x, 0) | np.isclose(x, 2)
        values = np.column_stack([np.ones_like(x), 0 * x])
        flow = IncompressibleFlow(spaces, fixed, values, viscosity, step)

        def exact(time: float) -> np.ndarray:
            bump = np.exp(-((x - 0.7 - time) ** 2) / (4 * viscosity * (0.25 + time)))
            return np.column_stack([np.ones_like(x), 0.1 * bump * np.sqrt(0.25 / (0.25 + time))])

        flow.velocity, flow.before = exact(step), exact(0.0)
        flow.advance(round(0.4 / step) - 1)
        errors.append(np.abs(flow.velocity - exact(0.4)).max())
    assert errors[1] < 1e-3
    assert 3 < errors[0] / errors[1] < 5


def test_velocity_has_no_divergence_between_linear_functions():
    spaces = TaylorHood.of(*channel_mesh(CIRCLE, 700), CIRCLE.onto)
    flow = start_flow(spaces, CIRCLE, 1e-3, 5e-4)
    flow.advance(3)
    assert np.abs(spaces.divergence @ flow.velocity.T.ravel()).max() < 1e-10


def test_the_benchmark_at_reynolds_20():
    """Schäfer and Turek's 2D-1: drag 5.57 to 5.59, lift 0.0104 to 0.0110."""
    wake = benchmark(20, 2600, until=1.5, kept=0.1)
    assert wake.drag[-1] == pytest.approx(5.58, rel=0.01)
    assert wake.lift[-1] == pytest.approx(0.0107, rel=0.2)


def test_the_benchmark_at_reynolds_100():
    """2D-2: largest drag 3.22 to 3.24, largest lift 0.99 to 1.01, Strouhal 0.295 to 0.305."""
    wake = benchmark(100, 2000, until=5.0, kept=1.0)
    assert wake.drag.max() == pytest.approx(3.23, rel=0.03)
    assert wake.lift.max() == pytest.approx(1.0, rel=0.1)
    assert wake.strouhal == pytest.approx(0.3, rel=0.03)


def test_a_body_and_its_mirror_image_have_mirrored_forces():
    """The channel is symmetric about its axis; the meshes are not."""
    body = Body.draw(np.random.default_rng(3))
    mirrored = Body(body.outline[::-1] * [1, -1] + [0, HEIGHT], body.shape)
    forces = []
    for one in (body, mirrored):
        spaces = TaylorHood.of(*channel_mesh(one, 1500), one.onto)
        flow = start_flow(spaces, one, 5e-3, 2e-3)
        flow.advance(300)
        forces.append(flow.force(np.flatnonzero(markers(spaces) == BODY)))
    np.testing.assert_allclose(forces[0], forces[1] * [1, -1], atol=0.02 * abs(forces[0]).max())


def test_bodies_are_as_wide_as_said_and_inside_the_channel():
    rng = np.random.default_rng(0)
    bodies = [Body.draw(rng) for _ in range(60)]
    assert {body.shape for body in bodies} == {0, 1, 2}
    for body in bodies:
        assert 0.07 <= body.width <= 0.12
        x, y = body.outline.T
        assert x.min() > 0.05
        assert x.max() < 0.5
        assert min(y.min(), HEIGHT - y.max()) > 0.1
        area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
        assert area > 0.4 * body.width**2
    assert Body.circle((0.2, 0.2), 0.1).width == pytest.approx(0.1, rel=1e-3)


def test_the_mesh_ends_at_the_outline_and_its_parts_are_marked():
    spaces = TaylorHood.of(*channel_mesh(CIRCLE, 1000), CIRCLE.onto)
    found, (x, y) = markers(spaces), spaces.points.T
    radius = np.hypot(x - 0.2, y - 0.2)
    np.testing.assert_allclose(radius[found == BODY], 0.05, rtol=1e-4)
    assert (radius[found == INTERIOR] > 0.05).all()
    assert (x[found == INLET] == 0).all()
    np.testing.assert_allclose(x[found == OUTLET], LENGTH)
    assert {0.0, HEIGHT} == set(np.round(y[found == WALL], 9).tolist())
    corners = spaces.points[spaces.cells]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(LENGTH * HEIGHT - np.pi * 0.05**2, rel=1e-3)


def test_a_sample_is_what_its_number_says(tmp_path):
    recipe = CylinderRecipe(samples=2, **SMALL)
    store = make_store(recipe, tmp_path / "wake.h5", processes=0)
    graph, alone = store[1], recipe.sample(1)
    assert torch.equal(graph.states, alone.states)
    assert graph.states.shape == (graph.num_nodes, 3, 3)
    np.testing.assert_allclose(graph.times, [0, 0.01, 0.02])
    still = (graph.boundary == WALL) | (graph.boundary == BODY)
    assert (graph.states[still][:, :, :2] == 0).all()
    inlet = graph.boundary == INLET
    assert (graph.states[inlet][:, :, 0] == graph.states[inlet][:, :1, 0]).all()
    assert float(graph.states[inlet, 0, 0].max()) <= 1.5
    distance = DistanceToBoundary(BODY)(graph).boundary_distance
    torch.testing.assert_close(graph.x[:, 0], distance, atol=1e-6, rtol=1e-5)
    reynolds, viscosity = graph.cond[0].tolist()
    assert 40 <= reynolds <= 200
    assert 0.07 <= reynolds * viscosity <= 0.12
    assert not torch.equal(store[0].cond, graph.cond)


def test_a_flow_with_too_long_steps_is_refused_by_name():
    spaces = TaylorHood.of(*channel_mesh(CIRCLE, 700), CIRCLE.onto)
    flow = start_flow(spaces, CIRCLE, 5e-4, 0.02)
    with pytest.raises(SampleError, match=r"ran away before time .* with time steps of 0.02"):
        flow.advance(200)


@pytest.mark.parametrize(
    "wrong", [{"frames": 1}, {"interval": 0.0}, {"start_up": -1.0}, {"reynolds": (0.0, 100.0)}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} is"):
        CylinderRecipe(**wrong)
