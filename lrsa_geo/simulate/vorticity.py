r"""Incompressible flow on the periodic unit square, by its vorticity and Fourier series.

.. math::
    \partial_t w + u \cdot \nabla w = \nu \Delta w + f, \quad
    u = (\partial_y \psi, -\partial_x \psi), \quad -\Delta \psi = w

Products are formed on a grid, of waves below a third of its points (the 2/3 rule), so that no wave
poses as another. Viscosity is integrated exactly (an integrating factor), the rest by the classical
Runge-Kutta method of fourth order, with steps that follow the fastest flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.fft import irfft2, rfft2

from lrsa_geo.jobs import SampleError

COURANT = 0.8  # largest speed times step over spacing; Runge-Kutta is stable up to 0.95
LONGEST_STEP = 1 / 32
DRAWN_WAVES = 20  # of random fields, along each axis and either way
MOST_AT_THE_END = 1e-3  # share of the enstrophy in the shortest waves of a resolved field


@dataclass(frozen=True)
class Torus:
    """Grid and waves of the periodic unit square.

    Args:
        resolution: n, points along a side; rows follow x, columns y, the first at 0.
    """

    resolution: int

    @cached_property
    def waves(self) -> tuple[np.ndarray, np.ndarray]:
        """2 pi times the wave numbers along x ``[n, 1]`` and y ``[1, n // 2 + 1]``."""
        n = self.resolution
        along_x, along_y = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
        return 2 * np.pi * along_x[:, None], 2 * np.pi * along_y[None]

    @cached_property
    def squares(self) -> np.ndarray:
        """Eigenvalues of minus the Laplacian, ``[n, n // 2 + 1]``."""
        x, y = self.waves
        return x**2 + y**2

    @cached_property
    def kept(self) -> np.ndarray:
        """1 at the waves below a third of the points, 0 at the others."""
        x, y = self.waves
        return (np.maximum(abs(x), abs(y)) < 2 * np.pi * self.resolution / 3).astype(float)

    @cached_property
    def to_velocity(self) -> np.ndarray:
        """Factors from the vorticity's series to those of the two components of the velocity."""
        x, y = self.waves
        inverse = np.divide(1, self.squares, where=self.squares > 0, out=0 * self.squares)
        return 1j * np.stack([y * inverse, -x * inverse]) * self.kept

    @cached_property
    def to_advection(self) -> np.ndarray:
        """Factors of the series of u v and v^2 - u^2 in that of -(velocity . grad vorticity)."""
        x, y = self.waves
        return np.stack([x**2 - y**2, x * y]) * self.kept

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the grid, each ``[n, n]``."""
        axis = np.arange(self.resolution) / self.resolution
        return axis[:, None] + 0 * axis, axis[None] + 0 * axis[:, None]

    def velocity(self, series: np.ndarray) -> np.ndarray:
        """``[2, n, n]`` of a vorticity given by its series."""
        return irfft2(self.to_velocity * series, s=2 * [self.resolution])

    def advection(self, series: np.ndarray) -> np.ndarray:
        """The series of -(velocity . grad vorticity), from two products (Basdevant's form)."""
        u, v = self.velocity(series)
        products = rfft2(np.stack([u * v, (v - u) * (v + u)]))
        products *= self.to_advection
        return products[0] + products[1]


torus = cache(Torus)


def fno_forcing(resolution: int) -> np.ndarray:
    """0.1 (sin 2 pi (x + y) + cos 2 pi (x + y)) on the grid, ``[n, n]``."""
    x, y = torus(resolution).points()
    phase = 2 * np.pi * (x + y)
    return 0.1 * (np.sin(phase) + np.cos(phase))


def random_vorticity(
    rng: np.random.Generator,
    resolution: int,
    scale: float,
    tau: float = 7.0,
    alpha: float = 2.5,
) -> np.ndarray:
    """A periodic Gaussian field N(0, scale (-Laplacian + tau^2)^-alpha) without mean, ``[n, n]``.

    Waves of up to ``DRAWN_WAVES`` periods along each axis are drawn, whatever the grid, and those
    kept that it resolves: another grid shows the same field.
    """
    number = 2 * np.pi * np.arange(-DRAWN_WAVES, DRAWN_WAVES + 1)
    squares = number[:, None] ** 2 + number**2
    deviation = np.sqrt(scale) * (squares + tau**2) ** (-alpha / 2)
    deviation[DRAWN_WAVES, DRAWN_WAVES] = 0
    cosine, sine = rng.normal(size=(2, *squares.shape))
    kept = abs(number) < 2 * np.pi * resolution / 3
    amplitude = (deviation * (cosine + 1j * sine))[np.ix_(kept, kept)]
    axis = np.arange(resolution) / resolution
    wave = np.exp(1j * np.outer(axis, number[kept]))
    return (wave @ amplitude @ wave.T).real


def flow_frames(
    vorticity: np.ndarray,
    viscosity: float,
    times: np.ndarray,
    forcing: np.ndarray | None = None,
    *,
    step: float | None = None,
) -> np.ndarray:
    """The vorticity at some times.

    Args:
        vorticity: ``[n, n]`` at time 0.
        viscosity: nu.
        times: ``[T]``, above 0 and ascending.
        forcing: f, ``[n, n]``, 0 by default.
        step: largest time step; by default the fastest flow at the frame before moves by four
            fifths of a spacing in it, and it is at most 1/32.

    Returns:
        ``[T, n, n]``.

    Raises:
        SampleError: the flow is not finite, or finer than the grid.
    """
    n = len(vorticity)
    grid = torus(n)
    series = rfft2(vorticity) * grid.kept
    force = None if forcing is None else rfft2(forcing) * grid.kept
    frames, time = [], 0.0
    for until in times:
        longest = step
        if longest is None:
            speed = float(np.sqrt((grid.velocity(series) ** 2).sum(0).max()))
            longest = min(LONGEST_STEP, COURANT / n / max(speed, 1e-9))
        count = int(np.ceil((until - time) / longest - 1e-9))
        series = _advance(grid, series, force, viscosity, (until - time) / count, count)
        _check_resolved(grid, series, float(until))
        frames.append(irfft2(series, s=(n, n)))
        time = until
    return np.stack(frames)


def _advance(
    grid: Torus,
    series: np.ndarray,
    force: np.ndarray | None,
    viscosity: float,
    step: float,
    count: int,
) -> np.ndarray:
    """So many steps of Runge-Kutta's method for exp(nu k^2 t) times the series."""
    half = np.exp(-viscosity * grid.squares * step / 2)
    whole = half**2

    def slope(at: np.ndarray) -> np.ndarray:
        change = grid.advection(at)
        if force is not None:
            change += force
        return change

    for _ in range(count):
        first = slope(series)
        decayed = half * series
        second = slope(decayed + step / 2 * half * first)
        third = slope(decayed + step / 2 * second)
        fourth = slope(whole * series + step * half * third)
        series = whole * (series + step / 6 * first)
        series += step / 3 * half * (second + third) + step / 6 * fourth
    return series


def _check_resolved(grid: Torus, series: np.ndarray, time: float) -> None:
    x, y = grid.waves
    enstrophy = abs(series) ** 2
    total = enstrophy.sum()
    if not np.isfinite(total):
        raise SampleError(f"the flow is not finite at time {time:g}: take shorter steps")
    shortest = np.maximum(abs(x), abs(y)) > 0.8 * 2 * np.pi * grid.resolution / 3
    share = float(enstrophy[shortest].sum() / max(total, 1e-300))
    if share > MOST_AT_THE_END:
        raise SampleError(
            f"at time {time:g} the shortest waves of {grid.resolution} x {grid.resolution} points"
            f" hold {share:.1e} of the enstrophy, expected at most {MOST_AT_THE_END:g}: take a"
            " finer grid or more viscosity"
        )


def enstrophy(vorticity: np.ndarray) -> float:
    """Z, half the mean square of the vorticity ``[n, n]``."""
    return float((vorticity**2).mean() / 2)


def palinstrophy(vorticity: np.ndarray) -> float:
    """P, half the mean square of the vorticity's gradient; dZ/dt = -2 nu P + mean(f w)."""
    grid = torus(len(vorticity))
    series = rfft2(vorticity)
    slopes = [irfft2(1j * wave * series, s=vorticity.shape) for wave in grid.waves]
    return float(sum((slope**2).mean() for slope in slopes) / 2)
