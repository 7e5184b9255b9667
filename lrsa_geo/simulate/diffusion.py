"""Diffusion with a coefficient that differs from place to place, and random such coefficients.

-div(a grad u) = f,   u = 0 on the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.fft import dstn, idstn
from scipy.sparse.linalg import LinearOperator, cg
from skfem import Basis, ElementTriP1, MeshTri, asm
from skfem.assembly import BilinearForm, LinearForm
from skfem.helpers import dot, grad

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.sparse import factorised

TOLERANCE = 1e-9  # of the residual, relative to the right-hand side


@dataclass(frozen=True)
class GaussianField:
    r"""A random function on the unit square, by its cosine (Karhunen-Loeve) series.

    .. math::
        g = \sum_{k \ne 0} \tau^{\alpha - 1} (\pi^2 |k|^2 + \tau^2)^{-\alpha / 2} \xi_k \varphi_k
        \;\sim\; N\big(0, \tau^{2 (\alpha - 1)} (-\Delta + \tau^2)^{-\alpha}\big)

    with independent standard normal :math:`\xi_k`, the orthonormal cosines :math:`\varphi_k` of the
    Laplacian without flux through the boundary, and no mean: the field of FNO
    (arXiv 2010.08895, appendix A.3), where :math:`\alpha = 2, \tau = 3`.

    Args:
        amplitudes: ``[modes, modes]``, of the products of cosines by their wave numbers.
    """

    amplitudes: np.ndarray

    @classmethod
    def draw(
        cls, rng: np.random.Generator, modes: int, tau: float = 3.0, alpha: float = 2.0
    ) -> GaussianField:
        """One of them, with wave numbers 0 to ``modes`` - 1 along each axis."""
        k = np.arange(modes)
        squares = np.pi**2 * (k[:, None] ** 2 + k**2) + tau**2
        amplitudes = rng.normal(size=(modes, modes)) * tau ** (alpha - 1) * squares ** (-alpha / 2)
        amplitudes[0, 0] = 0
        norm = np.where(k > 0, np.sqrt(2), 1)
        return cls(amplitudes * norm[:, None] * norm)

    def on_grid(self, resolution: int) -> np.ndarray:
        """Values at the ``resolution`` x ``resolution`` points of a grid over the square."""
        cosines = _cosines(resolution, len(self.amplitudes))
        return cosines @ self.amplitudes @ cosines.T

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values at points ``[N, 2]`` of the square, ``[N]``."""
        k = np.pi * np.arange(len(self.amplitudes))
        along_x, along_y = (np.cos(points[:, [axis]] * k) for axis in (0, 1))
        return np.einsum("nk,nk->n", along_x @ self.amplitudes, along_y)


@cache
def _cosines(resolution: int, modes: int) -> np.ndarray:
    return np.cos(np.pi * np.outer(np.linspace(0, 1, resolution), np.arange(modes)))


def solve_on_square(coefficient: np.ndarray, load: np.ndarray) -> np.ndarray:
    """The solution u on a grid over the unit square, by five-point finite volumes.

    The flux between neighbours is that of the mean of their coefficients, as in FNO's solver. The
    system is solved by conjugate gradients with the sine transform's exact solution for a constant
    coefficient as preconditioner: the number of iterations depends on the contrast alone.

    Args:
        coefficient: a, ``[n, n]`` at the grid points, boundary included; above 0.
        load: f, ``[n, n]``.

    Returns:
        ``[n, n]``, 0 on the boundary.

    Raises:
        SampleError: the iteration does not converge.
    """
    n = len(coefficient)
    inner = (n - 2, n - 2)
    across_x = (coefficient[1:, 1:-1] + coefficient[:-1, 1:-1]) / 2
    across_y = (coefficient[1:-1, 1:] + coefficient[1:-1, :-1]) / 2
    squared_step = 1 / (n - 1) ** 2

    def balance(u: np.ndarray) -> np.ndarray:
        """-div(a grad u) at the inner points, from u there."""
        padded = np.pad(u.reshape(inner), 1)
        flux_x = across_x * np.diff(padded[:, 1:-1], axis=0)
        flux_y = across_y * np.diff(padded[1:-1], axis=1)
        divergence = np.diff(flux_x, axis=0) + np.diff(flux_y, axis=1)
        return -divergence.ravel() / squared_step

    waves = 2 - 2 * np.cos(np.pi * np.arange(1, n - 1) / (n - 1))
    eigenvalues = (
        (waves[:, None] + waves) / squared_step * np.sqrt(coefficient.min() * coefficient.max())
    )

    def for_constant(r: np.ndarray) -> np.ndarray:
        return idstn(dstn(r.reshape(inner), 1) / eigenvalues, 1).ravel()

    size = inner[0] * inner[1]
    u, failed = cg(
        LinearOperator((size, size), balance, dtype=float),
        load[1:-1, 1:-1].ravel(),
        rtol=TOLERANCE,
        maxiter=1000,
        M=LinearOperator((size, size), for_constant, dtype=float),
    )
    if failed:
        raise SampleError("the diffusion equation was not solved in 1000 iterations")
    return np.pad(u.reshape(inner), 1)


def triangles(points: np.ndarray, cells: np.ndarray) -> MeshTri:
    """A mesh of triangles, from ``points [N, 2]`` and ``cells [K, 3]``, as scikit-fem has it."""
    return MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(cells.T))


def solve_on_triangles(mesh: MeshTri, coefficient: np.ndarray, load: float = 1.0) -> np.ndarray:
    """The solution u at the nodes of a triangle mesh, by linear finite elements.

    Args:
        mesh: N nodes, K triangles.
        coefficient: a, ``[K]``, constant in each triangle.
        load: f.

    Returns:
        ``[N]``, 0 on the boundary.
    """
    basis = Basis(mesh, ElementTriP1(), intorder=1)
    conduction = BilinearForm(lambda u, v, w: w.a * dot(grad(u), grad(v)))
    stiffness = asm(conduction, basis, a=coefficient[:, None])
    force = asm(LinearForm(lambda v, w: load * v), basis)
    free = np.setdiff1d(np.arange(mesh.p.shape[1]), mesh.boundary_nodes())
    u = np.zeros(mesh.p.shape[1])
    u[free] = factorised(stiffness[free][:, free]).solve(force[free])
    return u
