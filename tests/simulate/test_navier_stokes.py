"""Navier-Stokes: the spectral solver against exact flows and balances, the field, the recipe."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate import make_store
from lrsa_geo.simulate.navier_stokes import NavierStokesRecipe, torus_graph
from lrsa_geo.simulate.vorticity import (
    enstrophy,
    flow_frames,
    fno_forcing,
    palinstrophy,
    random_vorticity,
    torus,
)

SMALL = {"resolution": 32, "every": 2, "frames": 4, "viscosity": (5e-3, 5e-3)}


def draw(seed: int, n: int = 64, scale: float = 686.0) -> np.ndarray:
    return random_vorticity(np.random.default_rng(seed), n, scale)


@settings(deadline=None, max_examples=10)
@given(st.tuples(st.integers(-4, 4), st.integers(-4, 4)).filter(any), st.floats(1e-4, 1e-2))
def test_a_single_wave_decays_exactly(wave, viscosity):
    """Its flow does not move it: w = exp(-nu k^2 t) w0, however long the steps."""
    x, y = torus(16).points()
    k = 2 * np.pi * np.array(wave)
    w = np.cos(k[0] * x + k[1] * y + 0.3)
    (found,) = flow_frames(w, viscosity, np.array([1.5]), step=0.5)
    np.testing.assert_allclose(found, np.exp(-viscosity * (k @ k) * 1.5) * w, atol=1e-12)


def test_waves_of_one_length_decay_together():
    """Taylor and Green's vortices, and any other field with -Laplacian w = k^2 w."""
    x, y = torus(32).points()
    w = np.cos(6 * np.pi * x) * np.cos(8 * np.pi * y) + 0.5 * np.sin(10 * np.pi * x)
    (found,) = flow_frames(w, 1e-3, np.array([1.0]))
    np.testing.assert_allclose(found, np.exp(-1e-3 * 100 * np.pi**2) * w, atol=1e-12)


def test_a_forced_wave_goes_to_its_balance():
    """w = f / (nu k^2) (1 - exp(-nu k^2 t)) from rest, with k^2 = 8 pi^2."""
    rate = 8 * np.pi**2 * 1e-2
    force = fno_forcing(16)
    frames = flow_frames(np.zeros((16, 16)), 1e-2, np.array([1.0, 5.0]), force)
    for time, found in zip((1.0, 5.0), frames, strict=True):
        expected = force / rate * (1 - np.exp(-rate * time))
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_velocity_belongs_to_the_vorticity_and_has_no_divergence():
    w = draw(0)
    grid = torus(64)
    u, v = (np.fft.rfft2(component) for component in grid.velocity(np.fft.rfft2(w)))
    x, y = (1j * wave for wave in grid.waves)
    np.testing.assert_allclose(np.fft.irfft2(x * v - y * u), w, atol=1e-12)
    np.testing.assert_allclose(np.fft.irfft2(x * u + y * v), 0, atol=1e-12)


def test_advection_is_that_of_its_definition():
    """Basdevant's form against -(u w_x + v w_y), for waves whose products the grid resolves."""
    w = draw(1, 128)
    grid = torus(128)
    x, y = grid.waves
    series = np.fft.rfft2(w) * (np.maximum(abs(x), abs(y)) < 2 * np.pi * 20)
    u, v = grid.velocity(series)
    expected = -u * np.fft.irfft2(1j * x * series) - v * np.fft.irfft2(1j * y * series)
    np.testing.assert_allclose(np.fft.irfft2(grid.advection(series)), expected, atol=1e-12)


def test_without_viscosity_energy_and_enstrophy_stay():
    w = draw(2, 64, 4 * 686.0)
    frames = flow_frames(w, 0.0, np.array([0.5]))

    def energy(field: np.ndarray) -> float:
        return float((torus(64).velocity(np.fft.rfft2(field)) ** 2).mean())

    assert enstrophy(frames[0]) == pytest.approx(enstrophy(w), rel=1e-7)
    assert energy(frames[0]) == pytest.approx(energy(w), rel=1e-7)
    assert np.abs(frames[0] - w).max() > 0.1


def test_enstrophy_is_lost_to_viscosity_and_won_from_the_forcing():
    """dZ/dt = -2 nu P + mean(f w), by central differences."""
    viscosity, force, gap = 1e-3, fno_forcing(64), 0.01
    frames = flow_frames(draw(3), viscosity, 2 + gap * np.arange(-1, 2), force)
    before, now, after = frames
    rate = (enstrophy(after) - enstrophy(before)) / (2 * gap)
    balance = -2 * viscosity * palinstrophy(now) + (force * now).mean()
    assert rate == pytest.approx(balance, rel=1e-4)


def test_steps_converge_with_fourth_order():
    w, force = draw(4, 64, 30 * 686.0), fno_forcing(64)

    def at_one(step: float) -> np.ndarray:
        return flow_frames(w, 1e-3, np.array([1.0]), force, step=step)[0]

    exact = at_one(1 / 256)
    errors = [np.abs(at_one(step) - exact).max() for step in (1 / 16, 1 / 32, 1 / 64)]
    assert errors[-1] < 1e-5
    for coarse, fine in pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(4, abs=0.4)


def test_the_chosen_steps_and_grid_do_not_show():
    """Half the step, and twice the points, at the default viscosity until the last frame."""
    times = np.array([20.0])
    usual = flow_frames(draw(5), 1e-3, times, fno_forcing(64))[0]
    finer = flow_frames(draw(5, 96), 1e-3, times, fno_forcing(96), step=0.02)[0]
    difference = usual[::2, ::2] - finer[::3, ::3]
    assert np.linalg.norm(difference) < 1e-4 * np.linalg.norm(usual[::2, ::2])


def test_the_field_has_its_covariance():
    """E|w_k|^2 = scale (4 pi^2 k^2 + 49)^-2.5 for each wave, and no mean."""
    rng = np.random.default_rng(6)
    draws = np.array([random_vorticity(rng, 16, 686.0) for _ in range(3000)])
    power = (abs(np.fft.rfft2(draws) / 256) ** 2).mean(0)
    grid = torus(16)
    expected = 686.0 * (grid.squares + 49) ** -2.5
    waves = [(0, 1), (1, 0), (1, 1), (2, 1), (3, 0), (-2, 2)]
    for wave in waves:
        assert power[wave] == pytest.approx(expected[wave], rel=0.1)  # five deviations
    assert power[0, 0] < 1e-20
    assert abs(draws.mean(0)).max() < 5 * draws.std() / np.sqrt(len(draws))


def test_the_field_is_the_same_on_another_grid():
    np.testing.assert_allclose(draw(7, 128)[::2, ::2], draw(7), atol=1e-12)


def test_a_flow_finer_than_its_grid_is_refused():
    with pytest.raises(SampleError, match=r"shortest waves of 32 x 32 points.*take a finer grid"):
        flow_frames(draw(8, 32), 1e-6, np.array([40.0]), fno_forcing(32))
    with (
        np.errstate(all="ignore"),
        pytest.raises(SampleError, match=r"not finite at time 20: take shorter steps"),
    ):
        flow_frames(1e3 * draw(8, 32), 1e-6, np.array([20.0]), step=1.0)


def test_a_sample_is_what_its_number_says():
    recipe = NavierStokesRecipe(**SMALL)
    graph = recipe.sample(3)
    assert graph.states.shape == (256, 4, 1)
    assert graph.states.dtype == torch.float32
    assert graph.times.dtype == torch.float64
    assert graph.times.tolist() == [1, 2, 3, 4]
    assert torch.equal(graph.states, NavierStokesRecipe(**SMALL).sample(3).states)
    assert not torch.equal(graph.states, recipe.sample(4).states)
    assert "x" not in graph
    assert "y" not in graph
    assert "cond" not in graph
    assert float(graph.measure.sum()) == pytest.approx(1)
    assert float(graph.pos.max()) == 15 / 16
    assert set(recipe.fields) == {"states"}
    fine = NavierStokesRecipe(**SMALL | {"every": 1}).sample(3)
    kept = fine.states.view(32, 32, 4)[::2, ::2].reshape(256, 4, 1)
    assert torch.equal(kept, graph.states)


def test_a_viscosity_that_varies_is_a_condition():
    recipe = NavierStokesRecipe(**SMALL | {"viscosity": (2e-3, 2e-2)})
    drawn = torch.cat([recipe.sample(index).cond for index in range(5)])
    assert ((drawn > 2e-3) & (drawn < 2e-2)).all()
    assert len(drawn.unique()) == 5
    assert [field.name for field in recipe.fields["cond"]] == ["viscosity"]


def test_rows_of_the_grid_follow_x():
    x, _ = torus(4).points()
    data = torus_graph(np.stack([x, x]), np.array([1.0, 2.0]))
    torch.testing.assert_close(data.states[:, 0, 0], data.pos[:, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": 3},
        {"every": 0},
        {"viscosity": (0.0, 1e-3)},
        {"viscosity": (1e-3, 1e-4)},
        {"frames": 1},
        {"interval": 0.0},
    ],
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} is"):
        NavierStokesRecipe(**wrong)


def test_a_store_keeps_the_series(tmp_path):
    recipe = NavierStokesRecipe(samples=2, **SMALL)
    store = make_store(recipe, tmp_path / "flow.h5", processes=0)
    assert store.is_series
    assert store.num_steps.tolist() == [4, 4]
    assert torch.equal(store[1].states, recipe.sample(1).states)
    assert torch.equal(store[1].times, recipe.sample(1).times)
