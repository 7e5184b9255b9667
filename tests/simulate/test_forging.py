"""Forging: large plastic strains against known solutions, symmetry, refinement, the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.finite_plasticity import Block, Metal, Press, returned
from lrsa_geo.simulate.forging import (
    CLAMPED,
    HEIGHT,
    LENGTH,
    TOP,
    ForgingRecipe,
    block_grid,
    random_die,
)

METAL = Metal()
SMALL = {"columns": 9, "rows": 4, "frames": 3, "stroke": 0.6e-3}


def flat(x: np.ndarray) -> np.ndarray:
    return np.full_like(x, HEIGHT)


def valley(x: np.ndarray) -> np.ndarray:
    return HEIGHT + 0.5e-3 * (1 - np.cos(4 * np.pi * (x / LENGTH - 0.5)))


def pressed(columns: int, rows: int, die, depth: float, steps: int, **options) -> Block:
    points, cells = block_grid(columns, rows)
    press, block = Press(METAL, points, cells, die, **options), Block.at_rest(points, cells)
    for step in range(steps):
        block = press.pressed(block, depth * step / steps, depth * (step + 1) / steps)
    return block


def test_small_strains_are_linear_elasticity():
    """Between flat plates: sigma_yy = -E / (1 - nu^2) d / H, sigma_zz = nu sigma_yy."""
    depth = 1e-5 * HEIGHT
    block = pressed(7, 4, flat, depth, 1, clamped=False)
    expected = -METAL.young / (1 - METAL.poisson**2) * 1e-5
    np.testing.assert_allclose(block.stress[..., 1, 1], expected, rtol=1e-4)
    np.testing.assert_allclose(block.stress[..., 2, 2], METAL.poisson * expected, rtol=1e-4)
    assert np.abs(block.stress[..., 0, 0]).max() < 1e-4 * abs(expected)
    assert block.force[1] == pytest.approx(expected * LENGTH, rel=1e-4)
    assert (block.plastic_strain == 0).all()


def test_flat_dies_compress_to_the_yield_stress_of_plane_strain():
    """sigma_yy = -2 / sqrt(3) (sigma_Y + H alpha), alpha = 2 / sqrt(3) ln(H / h), nearly."""
    block = pressed(7, 4, flat, 0.2 * HEIGHT, 4, clamped=False)
    alpha = block.plastic_strain
    assert np.ptp(alpha) < 1e-6
    wanted = 2 / np.sqrt(3) * (METAL.yield_stress + METAL.hardening * alpha)
    np.testing.assert_allclose(-block.stress[..., 1, 1], wanted, rtol=1e-2)
    yielded = 2 / np.sqrt(3) * np.log(1 / 0.8) - wanted.mean() / METAL.young
    assert alpha.mean() == pytest.approx(yielded, rel=0.01)
    width = LENGTH + np.ptp(block.displacement[:, 0])
    assert width * 0.8 * HEIGHT == pytest.approx(LENGTH * HEIGHT, rel=0.01)  # of the volume


def test_a_return_ends_on_the_yield_surface_and_turns_with_the_body():
    rng = np.random.default_rng(0)
    gradient = np.tile(np.eye(3), (20, 1, 1))
    gradient[:, :2, :2] += 0.1 * rng.normal(size=(20, 2, 2))
    identity, zero = np.tile(np.eye(3), (20, 1, 1)), np.zeros(20)
    stress, inverse, plastic = returned(METAL, gradient, identity, zero)
    deviator = stress - np.trace(stress, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    mises = np.sqrt(1.5 * (deviator**2).sum((1, 2))) * np.linalg.det(gradient)
    np.testing.assert_allclose(mises, METAL.yield_stress + METAL.hardening * plastic, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.det(inverse), 1, rtol=1e-9)  # plastic flow keeps volume
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    turned, same, _ = returned(METAL, turn @ gradient, identity, zero)
    np.testing.assert_allclose(turned, turn @ stress @ turn.T, rtol=1e-8, atol=1e-2)
    np.testing.assert_allclose(same, inverse, atol=1e-9)
    again, _, more = returned(METAL, gradient, inverse, plastic)
    np.testing.assert_allclose(again, stress, rtol=1e-8, atol=1e-2)
    np.testing.assert_allclose(more, plastic, atol=1e-10)


def test_a_symmetric_die_gives_a_symmetric_answer():
    block = pressed(13, 5, valley, 0.6e-3, 4)
    u = block.displacement.reshape(13, 5, 2)
    np.testing.assert_allclose(u[::-1] * [-1, 1], u, atol=1e-8)
    assert block.plastic_strain.max() > 0.02


def test_finer_meshes_and_steps_agree():
    coarse, fine = (pressed(n, m, valley, 0.8e-3, s) for n, m, s in ((17, 5, 8), (33, 9, 16)))
    u = coarse.displacement.reshape(17, 5, 2)
    finer = fine.displacement.reshape(33, 9, 2)[::2, ::2]
    assert np.linalg.norm(u - finer) < 0.1 * np.linalg.norm(finer)
    assert coarse.force[1] == pytest.approx(fine.force[1], rel=0.1)


def test_a_sample_is_what_its_number_says():
    recipe = ForgingRecipe(**SMALL)
    graph = recipe.sample(2)
    assert graph.states.shape == (36, 4, 3)
    assert torch.equal(graph.states, ForgingRecipe(**SMALL).sample(2).states)
    np.testing.assert_allclose(graph.times, [0, 1 / 3, 2 / 3, 1])
    assert (graph.states[:, 0] == 0).all()
    assert (graph.states[graph.boundary == CLAMPED][:, :, :2] == 0).all()
    assert (graph.states[:, 1:, 2] >= graph.states[:, :-1, 2] - 1e-7).all()
    top = graph.boundary == TOP
    reached = graph.states[top, -1, 1] < -1e-5
    assert reached.any()
    assert float(graph.states[top, -1, 1].min()) == pytest.approx(-0.6e-3, rel=0.1)
    assert not torch.equal(graph.x, recipe.sample(3).x)


def test_dies_touch_the_block_and_have_the_relief_asked_for():
    rng = np.random.default_rng(0)
    x = np.linspace(0, LENGTH, 1001)
    for _ in range(20):
        die = random_die(rng, (1e-3, 2e-3))(x)
        assert die.min() == pytest.approx(0, abs=1e-12)
        assert 1e-3 <= die.max() <= 2e-3


def test_too_sharp_a_die_is_refused_by_name():
    def needle(x: np.ndarray) -> np.ndarray:
        return HEIGHT + np.where(np.abs(x - LENGTH / 2) < 1e-4, 0, 1)

    with pytest.raises(SampleError, match=r"no equilibrium with the die .* mm down"):
        pressed(9, 4, needle, 0.9 * HEIGHT, 1)


@pytest.mark.parametrize("wrong", [{"columns": 2}, {"stroke": 0.0}, {"relief": (2e-3, 1e-3)}])
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} is"):
        ForgingRecipe(**wrong)
