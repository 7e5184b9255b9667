"""Solids against known solutions, parts against their drawings, samples against their recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from skfem import MeshTet

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.bracket3d import CLAMPED, FREE, INTERIOR, LOADED, BracketRecipe
from lrsa_geo.simulate.bracket_checks import cantilever, kirsch, patch, validate
from lrsa_geo.simulate.bracket_shapes import FAMILIES, Hole, Part, draw_part, part_mesh
from lrsa_geo.simulate.linear_elasticity import Material, SolidSolution, solve_solid, von_mises

SMALL = BracketRecipe(size=(0.012, 0.02), min_nodes=1000, max_nodes=6000)


def at_start(points: np.ndarray) -> np.ndarray:
    return np.abs(points[..., 0]) < 1e-9


def block(force: np.ndarray, turn: np.ndarray | None = None) -> SolidSolution:
    """A block clamped at one end, perhaps turned in space with its load."""
    turn = np.eye(3) if turn is None else turn
    mesh = MeshTet.init_tensor(*(np.linspace(0, s, n) for s, n in ((2, 5), (1, 3), (0.5, 2))))
    return solve_solid(
        mesh.p.T @ turn.T,
        mesh.t.T,
        lambda points: at_start(points @ turn),
        lambda points: at_start(points @ turn - [2, 0, 0]),
        turn @ force,
        Material(),
    )


@pytest.mark.parametrize("row", range(3))
def test_a_linear_displacement_is_found_exactly(row):
    """The patch test, on an irregular mesh: stress is constant, too."""
    slope = np.zeros((3, 3))
    slope[row] = [1e-3, -4e-4, 7e-4]
    solution, expected = patch(slope)
    np.testing.assert_allclose(solution.displacement, expected, atol=1e-10)
    strain = (slope + slope.T) / 2
    lame, shear = Material().lame
    stress = lame * np.trace(strain) * np.eye(3) + 2 * shear * strain
    np.testing.assert_allclose(
        solution.stress, np.broadcast_to(stress, solution.stress.shape), atol=200
    )  # Pa, of 1e8


def test_a_cantilever_bends_as_beam_theory_says():
    coarse, fine = cantilever(1), cantilever(2)
    assert 0.97 < coarse.deflection < fine.deflection < 1
    assert fine.deflection == pytest.approx(
        1, abs=0.015
    )  # the clamp also holds the sideways strain
    assert fine.stress == pytest.approx(1, abs=0.02)


def test_the_stress_at_a_small_hole_is_kirschs():
    assert kirsch(0.003) == pytest.approx(1, abs=0.12)  # the hole is a polygon


def test_the_clamp_answers_the_load_and_answers_are_linear():
    force = np.array([3.0, -5.0, 2.0])
    once, twice = block(force), block(2 * force)
    np.testing.assert_allclose(once.reaction, -force, rtol=1e-6)
    scale = np.abs(once.displacement).max()
    np.testing.assert_allclose(twice.displacement, 2 * once.displacement, atol=1e-6 * scale)
    np.testing.assert_allclose(twice.von_mises, 2 * once.von_mises, rtol=1e-4)
    assert (once.displacement[once.clamped] == 0).all()


def test_turning_part_and_load_turns_the_answer():
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    force = np.array([3.0, -5.0, 2.0])
    straight, turned = block(force), block(force, turn)
    scale = np.abs(straight.displacement).max()
    np.testing.assert_allclose(
        turned.displacement, straight.displacement @ turn.T, atol=1e-6 * scale
    )
    np.testing.assert_allclose(turned.von_mises, straight.von_mises, rtol=1e-4)


def test_cells_are_upright_and_fill_the_block():
    solution = block(np.array([1.0, 0, 0]))
    a, b, c, d = solution.points[solution.cells].transpose(1, 0, 2)
    volume = np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a) / 6
    assert (volume > 0).all()
    assert volume.sum() == pytest.approx(1, rel=1e-12)
    assert len(np.unique(solution.cells)) == len(solution.points)


def test_von_mises_of_known_stresses():
    tension = np.diag([5.0, 0, 0])
    shear = np.array([[0, 2.0, 0], [2, 0, 0], [0, 0, 0]])
    found = von_mises(np.stack([tension, shear, 7 * np.eye(3)]))
    np.testing.assert_allclose(found, [5, 2 * 3**0.5, 0], atol=1e-12)


def test_nothing_clamped_or_loaded_is_named():
    mesh = MeshTet.init_tensor(*[np.linspace(0, 1, 2)] * 3)
    nowhere = lambda points: np.zeros(points.shape[:-1], dtype=bool)  # noqa: E731
    with pytest.raises(SampleError, match="no facet of the mesh is clamped"):
        solve_solid(mesh.p.T, mesh.t.T, nowhere, at_start, np.ones(3), Material())
    with pytest.raises(SampleError, match="no facet of the mesh is loaded"):
        solve_solid(mesh.p.T, mesh.t.T, at_start, nowhere, np.ones(3), Material())


@pytest.mark.parametrize("family", FAMILIES)
def test_meshes_have_the_volume_and_the_holes_of_their_drawing(family):
    number = next(i for i in range(99) if draw_part(np.random.default_rng([7, i])).family == family)
    part = draw_part(np.random.default_rng([7, number]))
    points, cells, exact = part_mesh(part, 0.012)
    a, b, c, d = points[cells].transpose(1, 0, 2)
    volume = np.abs(np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a)).sum() / 6
    assert volume == pytest.approx(exact, rel=0.015)  # holes become polygons
    for hole in part.holes:
        assert hole.contains(points).sum() >= 12
    across = [part.length, part.width, max(part.height, part.thickness)]
    np.testing.assert_allclose(np.ptp(points, axis=0), across, atol=1e-9)


def test_plain_boxes_have_their_volume():
    plain = Part("plate", 0.1, 0.05, 0.01)
    _, _, volume = part_mesh(plain, 0.01)
    assert volume == pytest.approx(0.1 * 0.05 * 0.01, rel=1e-9)
    drilled = Part("plate", 0.1, 0.05, 0.01, clamped=(Hole((0.03, 0.02, 0.005), 2, 0.004),))
    _, _, less = part_mesh(drilled, 0.01)
    assert volume - less == pytest.approx(np.pi * 0.004**2 * 0.01, rel=1e-6)


def test_a_sample_is_what_its_number_says():
    one, again, other = SMALL.sample(1), SMALL.sample(1), SMALL.sample(2)
    for name, value in one.to_dict().items():
        assert torch.equal(value, again[name]), name
    assert one.pos.shape != other.pos.shape
    assert set(one.boundary.tolist()) == {INTERIOR, CLAMPED, LOADED, FREE}
    assert (one.y[one.boundary == CLAMPED, 1:] == 0).all()
    assert one.x[one.boundary == CLAMPED, 0].abs().max() < 1e-6
    assert one.x[one.boundary != INTERIOR, 8].abs().max() < 1e-6
    assert one.x[one.boundary == INTERIOR, 8].min() > 0
    assert float(one.cond.norm()) == pytest.approx(SMALL.force)
    assert one.x.shape[1] == 12
    assert one.y.shape[1] == 4


def test_meshes_of_no_fitting_size_are_a_named_failure():
    with pytest.raises(SampleError, match="10 meshes were too small or too large"):
        BracketRecipe(size=(0.02, 0.021), min_nodes=10**6, max_nodes=10**7).sample(0)


def test_the_published_checks_run():
    figures = {name: value for name, value, _ in validate(quick=True)}
    assert len(figures) == 6
