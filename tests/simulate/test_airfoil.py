"""Potential flow against known solutions, the shapes against their faults, the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import pressure_force
from lrsa_geo.simulate import QUANTITIES
from lrsa_geo.simulate.airfoil import (
    AIRFOIL,
    FAR,
    AirfoilRecipe,
    airfoil_mesh,
    critical_mach,
    graph_of,
    lift_coefficient,
)
from lrsa_geo.simulate.airfoil_checks import JOUKOWSKI, joukowski_check, naca, validate
from lrsa_geo.simulate.airfoil_shapes import (
    AirfoilError,
    ShapeLibrary,
    normalised,
    read_coordinates,
    smooth_outline,
)
from lrsa_geo.simulate.potential_flow import (
    Vortex,
    density,
    local_mach,
    pressure_coefficient,
    solve_flow,
)

MIDDLE = (0.3, 0.0)  # inside NACA 0012


@pytest.fixture(scope="module")
def symmetric():
    """A mesh around NACA 0012."""
    return airfoil_mesh(naca(0.12), 2500)


def test_joukowski_lift_and_pressure_converge():
    """Against the exact flow around a cambered Joukowski airfoil at 4 degrees."""
    coarse, fine = (joukowski_check(JOUKOWSKI, nodes) for nodes in (2500, 10000))
    assert abs(coarse.lift) < 0.006
    assert abs(fine.lift) < 0.6 * abs(coarse.lift)
    assert coarse.pressure < 0.02
    assert fine.pressure < 0.6 * coarse.pressure


def test_a_symmetric_airfoil_at_zero_angle_has_no_lift(symmetric):
    for mach in (0.0, 0.6):
        assert abs(solve_flow(*symmetric, mach, 0.0, MIDDLE).circulation) < 5e-4


def test_the_slope_of_the_lift_is_that_of_thin_airfoils(symmetric):
    """2 pi (1 + 0.77 t) sin(angle): Katz and Plotkin's estimate for a thickness t."""
    flow = solve_flow(*symmetric, 0.0, 4.0, MIDDLE)
    expected = 2 * np.pi * (1 + 0.77 * 0.12) * np.sin(np.radians(4))
    assert 2 * flow.circulation == pytest.approx(expected, rel=0.015)


def test_lift_by_pressure_is_lift_by_circulation_and_there_is_no_drag(symmetric):
    """Kutta and Joukowski, and d'Alembert, at two Mach numbers."""
    points, cells, tail = symmetric
    for mach in (0.0, 0.45):
        flow = solve_flow(points, cells, tail, mach, 3.0, MIDDLE)
        data = graph_of(points, cells, flow, mach, 3.0)
        pressure = torch.from_numpy(flow.pressure_coefficient)
        assert lift_coefficient(data, pressure) == pytest.approx(2 * flow.circulation, rel=0.01)
        x, y = pressure_force(data, pressure, AIRFOIL)
        drag = x * np.cos(np.radians(3)) + y * np.sin(np.radians(3))
        assert abs(float(drag)) < 0.004


def test_the_mirror_image_is_the_flow_at_the_opposite_angle(symmetric):
    points, cells, tail = symmetric
    flow = solve_flow(points, cells, tail, 0.4, 3.0, MIDDLE)
    flipped = points * [1, -1]
    mirror = solve_flow(flipped, cells[:, [0, 2, 1]], tail, 0.4, -3.0, MIDDLE)
    assert mirror.circulation == pytest.approx(-flow.circulation, abs=1e-9)
    np.testing.assert_allclose(mirror.velocity, flow.velocity * [1, -1], atol=1e-7)


def test_compressibility_follows_karman_and_tsien(symmetric):
    """The lowest pressure at small incidence, up to Mach 0.6: within 5 % of their correction."""
    slow = solve_flow(*symmetric, 0.0, 1.0, MIDDLE).pressure_coefficient.min()
    lowest = [slow]
    for mach in (0.3, 0.5, 0.6):
        found = solve_flow(*symmetric, mach, 1.0, MIDDLE).pressure_coefficient.min()
        beta = np.sqrt(1 - mach**2)
        expected = slow / (beta + mach**2 / (1 + beta) * slow / 2)
        assert found == pytest.approx(expected, rel=0.05)
        assert found < lowest[-1]
        lowest.append(found)


def test_mass_is_conserved_at_every_circle(symmetric):
    """The vortex and the doublet carry nothing through the rim; density changes with speed."""
    points, cells, tail = symmetric
    flow = solve_flow(points, cells, tail, 0.5, 2.0, MIDDLE)
    data = graph_of(points, cells, flow, 0.5, 2.0)
    rho = density((flow.velocity**2).sum(1), 0.5)
    flux = torch.from_numpy(rho[:, None] * flow.velocity)
    x, y = (pressure_force(data, flux[:, i], FAR)[i] for i in range(2))
    assert abs(float(x + y)) < 2e-3  # of 30 chords of stream


def test_the_vortex_may_lie_anywhere_inside(symmetric):
    """It is a device: the flow does not know where it is."""
    one = solve_flow(*symmetric, 0.4, 3.0, MIDDLE)
    other = solve_flow(*symmetric, 0.4, 3.0, (0.5, 0.01))
    assert other.circulation == pytest.approx(one.circulation, rel=3e-3)
    assert np.abs(other.velocity - one.velocity).max() < 0.06
    assert np.sqrt(((other.velocity - one.velocity) ** 2).mean()) < 2e-3


def test_the_inside_of_every_shape_is_inside():
    """Also of those whose lower surface is above the chord."""
    library = ShapeLibrary.load()
    hollow = 0
    for points in library.points[::20]:
        outline = smooth_outline(points)
        x, y = outline.inside
        upper, lower = (float(s[0]) for s in outline.surfaces(np.array([x])))
        assert lower + 0.4 * outline.thickness < y < upper - 0.4 * outline.thickness
        hollow += outline.surfaces(np.array([0.5]))[1][0] > 0
    assert hollow > 2


def test_gas_relations():
    assert density(np.array(1.0), 0.6) == 1
    assert pressure_coefficient(np.array(1.0), 0.6) == 0
    assert local_mach(np.array(1.0), 0.6) == pytest.approx(0.6)
    stagnation = (1 + 0.2 * 0.36) ** 3.5
    assert pressure_coefficient(np.array(0.0), 0.6) == pytest.approx((stagnation - 1) / 0.252)
    speeds = np.linspace(0, 2, 9)
    np.testing.assert_allclose(
        pressure_coefficient(speeds, 2e-3), pressure_coefficient(speeds, 0.0), atol=1e-4
    )


def test_the_vortex_has_its_circulation_and_its_potential():
    vortex = Vortex(np.array([0.5, 0.0]), 0.5, np.array([np.cos(0.1), np.sin(0.1)]))
    angle = np.linspace(0, 2 * np.pi, 4001)
    circle = np.array([0.5 + 2 * np.cos(angle), np.sin(angle)])
    middle = (circle[:, 1:] + circle[:, :-1]) / 2
    turned = (vortex.velocity(middle) * np.diff(circle)).sum()
    assert turned == pytest.approx(-1, abs=1e-5)  # clockwise
    steps = [vortex.step(circle[:, i], circle[:, i + 40]) for i in range(0, 4000, 40)]
    assert sum(steps) == pytest.approx(-1, abs=1e-9)
    half = vortex.step(circle[:, 100], circle[:, 140])
    line = np.linspace(circle[:, 100], circle[:, 140], 2001).T
    middle = (line[:, 1:] + line[:, :-1]) / 2
    assert half == pytest.approx((vortex.velocity(middle) * np.diff(line)).sum(), abs=1e-7)


def test_the_critical_mach_number_is_where_the_flow_becomes_sonic(symmetric):
    slow = solve_flow(*symmetric, 0.0, 1.0, MIDDLE)
    critical = critical_mach(slow.pressure_coefficient.min())
    assert 0.6 < critical < 0.75
    at_critical = solve_flow(*symmetric, critical, 1.0, MIDDLE)
    assert at_critical.mach.max() == pytest.approx(1, abs=0.04)
    assert critical_mach(0.0) == 1
    assert critical_mach(-100.0) < critical_mach(-10.0) < critical_mach(-1.0) < 1


def test_a_flow_far_beyond_sonic_is_a_named_failure(symmetric):
    with pytest.raises(SampleError, match=r"did not converge in \d+ iterations at Mach 0.90"):
        solve_flow(*symmetric, 0.9, 6.0, MIDDLE)


def test_a_sample_is_what_its_number_says():
    recipe = AirfoilRecipe(min_nodes=1200, max_nodes=1500)
    one, again, other = recipe.sample(2), recipe.sample(2), recipe.sample(3)
    for name, value in one.to_dict().items():
        assert torch.equal(value, again[name]), name
    assert one.pos.shape != other.pos.shape
    mach, angle = one.cond[0].tolist()
    assert 0.1 <= mach <= 0.6
    assert -4 <= angle <= 8
    assert one.y[:, 3].max() < 1
    assert QUANTITIES["airfoil"](one, one.y)["lift"] == pytest.approx(
        float(one.about[0, 0]), abs=0.02
    )
    assert one.x.shape == (len(one.pos), 3)
    assert one.x[one.boundary == AIRFOIL].abs().max() < 1e-6
    assert float(one.measure.sum()) == pytest.approx(np.pi * 15**2, rel=0.01)
    library = ShapeLibrary.load()
    assert int(one.group) == library.groups[int(one.about[0, 1])]


# --- shapes --------------------------------------------------------------------------------------


def coordinates(outline: np.ndarray) -> str:
    return "A name 12\n" + "\n".join(f" {x:.5f}  {y:.5f}" for x, y in outline)


@settings(deadline=None, max_examples=20)
@given(
    thickness=st.floats(0.06, 0.25),
    scale=st.floats(0.1, 500),
    turn=st.floats(-0.2, 0.2),
    reverse=st.booleans(),
)
def test_an_outline_of_any_size_position_and_order_is_found_again(thickness, scale, turn, reverse):
    expected = naca(thickness)
    c, s = np.cos(turn), np.sin(turn)
    moved = scale * expected.points(60) @ np.array([[c, s], [-s, c]]) + [3, -7]
    points = normalised(moved[::-1] if reverse else moved)
    found = smooth_outline(points)
    x = np.linspace(0, 1, 50)
    for one, other in zip(found.surfaces(x), expected.surfaces(x), strict=True):
        np.testing.assert_allclose(one, other, atol=6e-4)


def test_both_orders_of_files_are_read():
    ring = np.vstack([naca(0.12).points(30), [[1.0, 0.0]]])
    upper, lower = ring[:31][::-1], ring[30:]
    lednicer = f"Name\n 31. 31.\n\n{coordinates(upper)}\n\n{coordinates(lower)}"
    np.testing.assert_allclose(
        normalised(read_coordinates(lednicer)), normalised(read_coordinates(coordinates(ring)))
    )


def test_faults_are_named():
    ring = np.vstack([naca(0.12).points(40), [[1.0, 0.0]]])
    with pytest.raises(AirfoilError, match="has 5 points, expected at least 15"):
        read_coordinates(coordinates(ring[:5]))
    with pytest.raises(AirfoilError, match=r"is open: 0\.1"):
        smooth_outline(normalised(ring * np.linspace(1, 0.87, len(ring))[:, None]))
    crossing = ring.copy()
    crossing[10, 1], crossing[70, 1] = crossing[70, 1], crossing[10, 1]
    with pytest.raises(AirfoilError, match="crosses itself"):
        normalised(crossing)
    rough = ring.copy()
    rough[15, 1] += 0.02
    with pytest.raises(AirfoilError, match=r"is not smooth: 0\.0"):
        smooth_outline(normalised(rough))
    with pytest.raises(AirfoilError, match="chords thick, expected"):
        smooth_outline(normalised(ring * [1, 0.1]))
    with pytest.raises(AirfoilError, match="not finite"):
        normalised(np.where(ring > 0.9, np.nan, ring))


def test_the_shapes_that_come_with_the_library():
    library = ShapeLibrary.load()
    assert len(library.names) == len(library.points) == len(library.groups) > 1800
    assert np.bincount(library.groups).max() < 0.25 * len(library.names)
    rng = np.random.default_rng(0)
    for i in rng.integers(len(library.names), size=50):
        outline = smooth_outline(library.points[i])
        upper, lower = outline.surfaces(np.linspace(0.01, 0.99, 50))
        assert (upper > lower).all(), library.names[i]


def test_the_published_checks_run():
    names = [name for name, _, _ in validate(quick=True)]
    assert len(names) > 5
