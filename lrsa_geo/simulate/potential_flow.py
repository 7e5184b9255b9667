"""Subsonic compressible potential flow around one body with lift, by finite elements.

The velocity is the gradient of a potential, in units of the free stream's speed,

    div(rho(|grad phi|) grad phi) = 0,    rho(q) = (1 + (k - 1)/2 M^2 (1 - q^2))^(1/(k - 1)),

with rho over the free stream's, k = 1.4 and M the free stream's Mach number (isentropic flow:
Anderson, Modern Compressible Flow, chapter 8). The potential is split as

    phi = U . x + Gamma phi_v + phi_p,    phi_v = -atan2(beta y', x') / (2 pi),    beta^2 = 1 - M^2,

into the free stream, a Prandtl-Glauert vortex inside the body (x' along the free stream), whose
potential has a jump but whose velocity has none, and a single-valued rest: the mesh needs no cut.
The circulation Gamma follows from Kutta's condition: equal speeds on both sides of the trailing
edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skfem import Basis, ElementTriP1, ElementTriP2, FacetBasis, MeshTri, asm
from skfem.assembly import BilinearForm, LinearForm
from skfem.helpers import dot, grad

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.sparse import factorised

GAMMA = 1.4
MOST_ITERATIONS = 30
TOLERANCE = 1e-9
_LOWEST = 0.3  # temperature on the way to the solution: speeds far above sonic are not meant


@dataclass(frozen=True)
class Flow:
    """Flow at N nodes; speeds in units of the free stream's, lengths in units of the chord.

    Attributes:
        velocity: ``[N, 2]``.
        mach: ``[N]`` local Mach number.
        pressure_coefficient: ``[N]`` (p - p_inf) / (rho_inf U^2 / 2).
        circulation: Gamma, clockwise; the lift coefficient of a body of chord 1 is 2 Gamma.
        iterations: of Newton's method.
    """

    velocity: np.ndarray
    mach: np.ndarray
    pressure_coefficient: np.ndarray
    circulation: float
    iterations: int


def _temperature(speed_squared: np.ndarray, mach: float) -> np.ndarray:
    """T over the free stream's: 1 + (k - 1)/2 M^2 (1 - q^2); the other ratios are powers of it."""
    return 1 + (GAMMA - 1) / 2 * mach**2 * (1 - speed_squared)


def density(speed_squared: np.ndarray, mach: float) -> np.ndarray:
    """rho over the free stream's at a speed (squared, over the free stream's)."""
    return np.maximum(_temperature(speed_squared, mach), _LOWEST) ** (1 / (GAMMA - 1))


def pressure_coefficient(speed_squared: np.ndarray, mach: float) -> np.ndarray:
    """(p - p_inf) / (rho_inf U^2 / 2): (T^(k/(k-1)) - 1) / (k M^2 / 2), or 1 - q^2 at M = 0."""
    if mach < 1e-3:
        return 1 - speed_squared
    ratio = np.maximum(_temperature(speed_squared, mach), 0) ** (GAMMA / (GAMMA - 1))
    return (ratio - 1) / (GAMMA / 2 * mach**2)


def local_mach(speed_squared: np.ndarray, mach: float) -> np.ndarray:
    """Speed over the local speed of sound."""
    return mach * np.sqrt(speed_squared / np.maximum(_temperature(speed_squared, mach), _LOWEST))


class Vortex:
    """Velocity of a Prandtl-Glauert vortex of circulation 1 (clockwise) and its potential.

    Args:
        centre: inside the body.
        mach: of the free stream.
        direction: ``[2]`` unit vector of the free stream.
    """

    def __init__(self, centre: np.ndarray, mach: float, direction: np.ndarray) -> None:
        self.centre = centre
        self.beta = np.sqrt(1 - mach**2)
        self.direction = direction
        self.across = np.array([-direction[1], direction[0]])

    def _local(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = points[0] - self.centre[0], points[1] - self.centre[1]
        along, across = self.direction, self.across
        return along[0] * x + along[1] * y, self.beta * (across[0] * x + across[1] * y)

    def velocity(self, points: np.ndarray) -> np.ndarray:
        """``[2, ...]`` -> ``[2, ...]``."""
        x, y = self._local(points)
        r2 = 2 * np.pi * (x**2 + y**2)
        u, v = y / r2, -self.beta * x / r2
        along, across = self.direction, self.across
        return np.array([along[0] * u + across[0] * v, along[1] * u + across[1] * v])

    def step(self, start: np.ndarray, end: np.ndarray) -> float:
        """Potential at ``end`` less that at ``start``, along the short way."""
        turn = np.diff([np.arctan2(y, x) for x, y in map(self._local, (start, end))])[0]
        return float(-((turn + np.pi) % (2 * np.pi) - np.pi) / (2 * np.pi))


def solve_flow(
    points: np.ndarray,
    cells: np.ndarray,
    trailing_edge: int,
    mach: float,
    angle: float,
    centre: tuple[float, float],
) -> Flow:
    """Flow around a body with a sharp trailing edge.

    Newton's method on quadratic triangles, bordered by Kutta's condition. No fluid passes the body
    (the natural condition); at the outer boundary the rest of the potential decays like that of a
    doublet, d phi_p / dr = -phi_p / r.

    Args:
        points: ``[N, 2]``.
        cells: triangles ``[K, 3]``, counter-clockwise.
        trailing_edge: number of that node.
        mach: of the free stream, 0 <= M < 1.
        angle: of attack in degrees.
        centre: of the vortex, inside the body.

    Raises:
        SampleError: no convergence.
    """
    mesh = MeshTri(points.T.copy(), cells.T.copy())
    basis = Basis(mesh, ElementTriP2(), intorder=4)
    inner, outer = _boundaries(mesh, np.array(centre))
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    vortex = Vortex(np.array(centre), mach, direction)
    whirl = vortex.velocity(basis.global_coordinates())
    rim = FacetBasis(mesh, ElementTriP2(), facets=outer, intorder=4)
    radius = np.linalg.norm(points[np.unique(mesh.facets[:, outer])] - centre, axis=1).mean()
    decay = asm(BilinearForm(lambda u, v, w: u * v / radius), rim).tocsc()
    through = asm(_THROUGH, rim, flow=direction[:, None, None] + 0 * rim.global_coordinates())
    through_vortex = asm(_THROUGH, rim, flow=vortex.velocity(rim.global_coordinates()))
    kutta, kutta_vortex, kutta_stream = _kutta(basis, inner, trailing_edge, vortex, direction)

    rest, circulation = np.zeros(basis.N), 0.0
    for iteration in range(1, MOST_ITERATIONS + 1):
        velocity = direction[:, None, None] + circulation * whirl + basis.interpolate(rest).grad
        # The first step is Picard's: from rest, Newton's may go beyond the speed of sound.
        matrix, residual, by_circulation = _linearised(
            basis, velocity, whirl, mach, newton=iteration > 1
        )
        matrix = matrix + decay
        residual = residual + decay @ rest - through - circulation * through_vortex
        by_circulation = by_circulation - through_vortex
        right = np.column_stack([-residual, -by_circulation])
        step, step_vortex = factorised(matrix).solve(right).T
        imbalance = kutta @ rest + circulation * kutta_vortex + kutta_stream
        change = -(imbalance + kutta @ step) / (kutta_vortex + kutta @ step_vortex)
        step = step + change * step_vortex
        rest, circulation = rest + step, circulation + float(change)
        if not np.isfinite(circulation):
            break
        if max(np.abs(step).max(), abs(change)) < TOLERANCE:
            return _at_nodes(basis, rest, circulation, vortex, direction, mach, iteration)
    raise SampleError(f"the flow did not converge in {iteration} iterations at Mach {mach:.2f}")


_THROUGH = LinearForm(lambda v, w: dot(w["flow"], w.n) * v)


def _linearised(
    basis: Basis, velocity: np.ndarray, whirl: np.ndarray, mach: float, newton: bool
) -> tuple[object, np.ndarray, np.ndarray]:
    """Matrix, residual and derivative of the residual by the circulation."""
    q2 = (velocity**2).sum(0)
    rho = density(q2, mach)
    # d rho / d(q^2), written with rho's own power
    slope = -0.5 * mach**2 * rho ** (2 - GAMMA) if newton else 0 * rho

    @BilinearForm
    def tangent(u: object, v: object, w: object) -> np.ndarray:
        along_u = dot(velocity, grad(u))
        return rho * dot(grad(u), grad(v)) + 2 * slope * along_u * dot(velocity, grad(v))

    @LinearForm
    def mass_flux(v: object, w: object) -> np.ndarray:
        return rho * dot(velocity, grad(v))

    @LinearForm
    def vortex_flux(v: object, w: object) -> np.ndarray:
        along = dot(velocity, whirl)
        return rho * dot(whirl, grad(v)) + 2 * slope * along * dot(velocity, grad(v))

    return asm(tangent, basis), asm(mass_flux, basis), asm(vortex_flux, basis)


def _boundaries(mesh: MeshTri, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Facets of the body and of the outer boundary: the former are nearer to the body's inside."""
    facets = mesh.boundary_facets()
    middle = mesh.p[:, mesh.facets[:, facets]].mean(1)
    distance = np.linalg.norm(middle - centre[:, None], axis=0)
    is_outer = distance > 0.5 * distance.max()
    return facets[~is_outer], facets[is_outer]


def _kutta(
    basis: Basis, inner: np.ndarray, trailing_edge: int, vortex: Vortex, direction: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Coefficients of: mean speed on the last edge above minus that below, all to the rear."""
    mesh = basis.mesh
    edges = mesh.facets[:, inner]
    last = edges[:, (edges == trailing_edge).any(0)]
    if last.shape[1] != 2:
        raise ValueError(
            f"node {trailing_edge} has {last.shape[1]} edges on the body, expected the trailing"
            " edge with two"
        )
    other = last.sum(0) - trailing_edge
    upper_first = np.argsort(-mesh.p[1, other])
    row, whirl, stream = np.zeros(mesh.p.shape[1]), 0.0, 0.0
    end = mesh.p[:, trailing_edge]
    for node, sign in zip(other[upper_first], (1, -1), strict=True):
        start = mesh.p[:, node]
        weight = sign / np.linalg.norm(end - start)
        row[trailing_edge] += weight
        row[node] -= weight
        whirl += weight * vortex.step(start, end)
        stream += weight * float(direction @ (end - start))
    full = np.zeros(basis.N)
    full[basis.nodal_dofs[0]] = row
    return full, whirl, stream


def _at_nodes(
    basis: Basis,
    rest: np.ndarray,
    circulation: float,
    vortex: Vortex,
    direction: np.ndarray,
    mach: float,
    iterations: int,
) -> Flow:
    """Velocity at the corner nodes: the rest's gradient projected (L2) on linear functions."""
    linear = basis.with_element(ElementTriP1())
    mass = asm(BilinearForm(lambda u, v, w: u * v), linear)
    slope = basis.interpolate(rest).grad
    right = [asm(LinearForm(lambda v, w, i=i: slope[i] * v), linear) for i in range(2)]
    smooth = factorised(mass).solve(np.column_stack(right))
    velocity = direction + circulation * vortex.velocity(basis.mesh.p).T + smooth
    q2 = (velocity**2).sum(1)
    return Flow(
        velocity,
        local_mach(q2, mach),
        pressure_coefficient(q2, mach),
        circulation,
        iterations,
    )
