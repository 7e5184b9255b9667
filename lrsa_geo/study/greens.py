"""Green's functions on the unit interval, whose singular values are known or easy to check."""

from __future__ import annotations

import numpy as np

from lrsa_geo.study.spectrum import Spectrum


def midpoints(count: int) -> np.ndarray:
    """The middles of ``count`` equal parts of the unit interval: nodes of measure 1 / count."""
    return (np.arange(count) + 0.5) / count


def poisson(x: np.ndarray) -> np.ndarray:
    r"""Green's function of -u'' = f with u(0) = u(1) = 0 at the points ``[N]`` -> ``[N, N]``.

    .. math:: g(x, y) = \min(x, y) \, (1 - \max(x, y)), \qquad \sigma_k = 1 / (k \pi)^2
    """
    return np.minimum(x[:, None], x) * (1 - np.maximum(x[:, None], x))


def transport(x: np.ndarray, diffusion: float) -> np.ndarray:
    r"""Green's function of -e u'' + u' = f with u(0) = u(1) = 0, ``[N]`` -> ``[N, N]``.

    .. math::
        g(x, y) = \frac{1}{1 - e^{-1/e}} \begin{cases}
            (e^{(x - y)/e} - e^{-y/e}) \, (1 - e^{(y - 1)/e}) & x \le y \\
            (1 - e^{(x - 1)/e}) \, (1 - e^{-y/e}) & x \ge y \end{cases}

    For e -> 0 it is a step, 1 downstream of y, with :math:`\sigma_k \to 1 / ((k - 1/2) \pi)`.

    Args:
        x: points.
        diffusion: e; 1 / e is the Peclet number.

    Raises:
        ValueError: the diffusion is not positive.
    """
    if not diffusion > 0:
        raise ValueError(f"`diffusion` is {diffusion}, expected more than 0")
    at, source = x[:, None], x[None, :]
    ahead = np.minimum(at - source, 0) / diffusion  # no exponent is positive: nothing overflows
    upstream = np.exp(ahead) - np.exp(-source / diffusion)
    upstream = upstream * (1 - np.exp((source - 1) / diffusion))
    downstream = (1 - np.exp((at - 1) / diffusion)) * (1 - np.exp(-source / diffusion))
    kernel: np.ndarray = np.where(at <= source, upstream, downstream)
    return kernel / (1 - np.exp(-1 / diffusion))


def helmholtz(x: np.ndarray, wavenumber: float) -> np.ndarray:
    r"""Green's function of -u'' - k^2 u = f with u(0) = u(1) = 0, ``[N]`` -> ``[N, N]``.

    .. math::
        g(x, y) = \frac{\sin(k \min(x, y)) \sin(k (1 - \max(x, y)))}{k \sin k}, \qquad
        \{\sigma\} = \{1 / |(j \pi)^2 - k^2|\}_{j = 1, 2, \dots}

    Args:
        x: points.
        wavenumber: k.

    Raises:
        ValueError: k is at a resonance, a multiple of pi, where there is no such function.
    """
    if abs(np.sin(wavenumber)) < 1e-6:
        raise ValueError(
            f"`wavenumber` is {wavenumber}, a multiple of pi, where waves in the interval resonate;"
            " take one between two of them"
        )
    low, high = np.minimum(x[:, None], x), np.maximum(x[:, None], x)
    waves = np.sin(wavenumber * low) * np.sin(wavenumber * (1 - high))
    kernel: np.ndarray = waves / (wavenumber * np.sin(wavenumber))
    return kernel


def green_spectra(
    nodes: int = 1024, diffusion: float = 0.01, half_waves: int = 40
) -> list[Spectrum]:
    """Spectra of the three Green's functions, for :func:`helmholtz` of k = (half_waves + 1/2) pi.

    Raises:
        ValueError: the nodes do not resolve the functions, or a number is not positive.
    """
    for name, value in (("nodes", nodes), ("half_waves", half_waves)):
        if value < 1:
            raise ValueError(f"`{name}` is {value}, expected at least 1")
    if not diffusion > 0:
        raise ValueError(f"`diffusion` is {diffusion}, expected more than 0")
    needed = max(4 * half_waves, round(1 / diffusion))
    if nodes < needed:
        raise ValueError(
            f"`nodes` is {nodes}, expected at least {needed}: four for each half wave and one for"
            " the length of the boundary layer"
        )
    x, measure = midpoints(nodes), np.full(nodes, 1 / nodes)
    kernels = {
        "Poisson": poisson(x),
        f"transport, Peclet number {1 / diffusion:g}": transport(x, diffusion),
        f"Helmholtz, {half_waves} half waves": helmholtz(x, (half_waves + 0.5) * np.pi),
    }
    return [Spectrum.of_kernel(name, kernel, measure) for name, kernel in kernels.items()]
