"""Fourier layers on regular grids: waves, derivatives, and what is no such grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lrsa_geo.nn import GeometryOperator, NodeLayout, SpectralMixer

GRIDS = [(9,), (6, 5), (4, 5, 6)]


def layer_on(grid: tuple[int, ...], modes: int = 2, **options: object) -> SpectralMixer:
    """A layer without pointwise part and with the identity at its end: the spectral part alone."""
    torch.manual_seed(0)
    layer = SpectralMixer(3, grid, modes, **options).double()
    if layer.pointwise is not None:
        layer.pointwise.weight.data.zero_()
        layer.pointwise.bias.data.zero_()
    layer.reconstruct_out.weight.data.copy_(torch.eye(3))
    layer.reconstruct_out.bias.data.zero_()
    return layer


def wave(grid: tuple[int, ...], numbers: tuple[int, ...]) -> Tensor:
    """A complex wave over the grid, with so many periods along each axis."""
    axes = [np.arange(points) / points for points in grid]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(grid))
    return torch.from_numpy(np.exp(2j * np.pi * places @ np.array(numbers)))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_low_wave_is_multiplied_by_its_matrix_and_a_high_one_is_gone(grid):
    layer = layer_on(grid)
    vector = torch.randn(3, dtype=torch.complex128)
    low = (1,) * len(grid)
    field = (wave(grid, low)[:, None] * vector).real
    matrix = torch.view_as_complex(layer.spectral[0])[low]
    expected = (wave(grid, low)[:, None] * (vector @ matrix)).real
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)
    high = (*low[:-1], 2)
    assert layer((wave(grid, high)[:, None] * vector).real).abs().max() < 1e-12


def test_waves_that_run_backwards_along_an_axis_have_matrices_of_their_own():
    layer = layer_on((6, 5))
    vector = torch.randn(3, dtype=torch.complex128)
    field = (wave((6, 5), (-1, 1))[:, None] * vector).real
    matrix = torch.view_as_complex(layer.spectral[1])[1, 1]  # the last of two rows is wave -1
    expected = (wave((6, 5), (-1, 1))[:, None] * (vector @ matrix)).real
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("grid", GRIDS)
def test_factorised_it_is_the_sum_over_the_axes(grid):
    layer = layer_on(grid, factorized=True)
    vector = torch.randn(3, dtype=torch.complex128)
    low = (1,) * len(grid)
    field = (wave(grid, low)[:, None] * vector).real
    # Along an axis, a real wave is two complex ones, and each has the matrix of |k| or its
    # conjugate: the sum is linear in the field, as found by transforms written out as sums.
    expected = torch.zeros_like(field)
    for axis, weights in enumerate(layer.spectral):
        points = grid[axis]
        phases = 2j * torch.pi * torch.arange(points).double()[:, None] * torch.arange(points)
        transform = torch.exp(-phases / points)
        moved = field.view(*grid, 3).movedim(axis, 0).to(torch.complex128)
        waves = torch.tensordot(transform, moved, 1)
        kept = torch.zeros_like(waves)
        for k, matrix in enumerate(torch.view_as_complex(weights)):
            kept[k] = waves[k] @ matrix
            if k:
                kept[-k] = kept[k].conj()
        back = torch.tensordot(transform.conj() / points, kept, 1).real
        expected += back.movedim(0, axis).reshape(-1, 3)
    torch.testing.assert_close(layer(field), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("factorized", [False, True])
def test_graphs_of_a_batch_are_alone_and_derivatives_are_right(factorized):
    torch.manual_seed(0)
    layer = SpectralMixer(2, (4, 5), 2, factorized).double()
    x = torch.randn(40, 2, dtype=torch.float64, requires_grad=True)
    batch = torch.arange(40) // 20
    together = layer(x, batch)
    torch.testing.assert_close(together[20:], layer(x[20:]))
    assert gradcheck(lambda x: layer(x, batch), x)
    assert gradgradcheck(lambda x: layer(x, batch), x)
    nothing = torch.zeros(2, 4, dtype=torch.float64)
    layout = NodeLayout.of(x, batch)
    torch.testing.assert_close(layer.mix(x, layout, nothing), together)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    torch.manual_seed(0)
    layer = SpectralMixer(8, (8, 8), 3)
    x = torch.randn(64, 8)
    expected = layer(x)
    with torch.autocast("cpu", dtype):
        found = layer(x)
        found.float().sum().backward()
    assert (found.float() - expected).norm() / expected.norm() < 0.03
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_what_is_no_such_grid_is_refused():
    layer = SpectralMixer(2, (4, 5), 2)
    with pytest.raises(ValueError, match=r"a graph has 21 nodes, expected the 20 of .* \[4, 5\]"):
        layer(torch.randn(41, 2), torch.arange(41).clamp(max=39) // 20)
    passive = torch.ones(20)
    passive[3] = 0
    with pytest.raises(ValueError, match="a node has no measure"):
        layer(torch.randn(20, 2), measure=passive)
    with pytest.raises(ValueError, match="`modes` is 3, expected 1 to 2"):
        SpectralMixer(2, (4, 5), 3)
    with pytest.raises(ValueError, match="`grid` is empty"):
        GeometryOperator(1, 1, 2, mixer="spectral")
    grid = {"grid": [4, 5], "modes": 2}
    with pytest.raises(ValueError, match="`compress_once` works on latents"):
        GeometryOperator(1, 1, 2, mixer="spectral", mixer_options=grid, compress_once=True)


def test_it_learns_a_shift_that_no_pointwise_layer_can():
    """A translation is a product of each wave with a phase."""
    torch.manual_seed(0)
    layer = SpectralMixer(1, (8, 8), 4)
    optimizer = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(400):
        x = torch.randn(8, 8, 8)
        low = torch.fft.fft2(x)
        low[:, 4:5] = low[:, :, 4:5] = 0  # the shortest waves are not among the kept ones
        x = torch.fft.ifft2(low).real
        loss = layer(x.reshape(-1, 1), torch.arange(512) // 64) - x.roll(2, 1).reshape(-1, 1)
        optimizer.zero_grad()
        loss.square().mean().backward()
        optimizer.step()
    assert loss.square().mean().detach() < 1e-3
