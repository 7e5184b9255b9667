r"""Incompressible flow in the plane, on Taylor and Hood's triangles.

.. math::
    \partial_t u + u \cdot \nabla u = -\nabla p + \nu \Delta u, \quad \nabla \cdot u = 0

The velocity is quadratic, the pressure linear. In time the second-order backward formula (BDF2)
takes all but the advection, which is extrapolated from the two steps before: every step solves the
same linear equations for velocity and pressure together, which are factorised once. What
divergence the quadratic functions leave between the linear ones may be penalised (grad-div
stabilisation), without which coarse meshes lose a sixth of a wake's lift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, block_diag, csr_matrix, diags, hstack, vstack
from skfem import Basis, ElementTriP1, ElementTriP2, MeshTri, MeshTri2, asm
from skfem.assembly import BilinearForm
from skfem.models.poisson import laplace, mass

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.sparse import factorised

# Four linear triangles between the six nodes of a quadratic one, in scikit-fem's order.
_PARTS = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]])
RUNAWAY = 10.0  # times the fastest prescribed velocity


@dataclass(frozen=True)
class TaylorHood:
    """Nodes and matrices of a mesh; N nodes, n of them corners, Q points of integration.

    Attributes:
        points: ``[N, 2]``, corners first, then middles of edges.
        cells: ``[4 K, 3]`` linear triangles between the nodes, counter-clockwise.
        mass: ``[N, N]``, integrals of products of the quadratic functions.
        stiffness: ``[N, N]``, of products of their gradients.
        divergence: ``[n, 2 N]``, of linear functions and the divergence; all x come first.
        dilation: ``[2 N, 2 N]``, of products of divergences; all x components come first.
        pressure_mass: ``[n, n]``.
        at_points: ``[3 Q, N]``, values and both slopes at the points of integration.
        gather: ``[N, Q]``, integrals of values at these points times the quadratic functions.
        linear: ``[N, n]``, values at the nodes of a linear function.
    """

    points: np.ndarray
    cells: np.ndarray
    mass: csr_matrix
    stiffness: csr_matrix
    divergence: csr_matrix
    dilation: csr_matrix
    pressure_mass: csr_matrix
    at_points: csr_matrix
    gather: csr_matrix
    linear: csr_matrix

    @classmethod
    def of(
        cls,
        points: np.ndarray,
        cells: np.ndarray,
        bend: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> TaylorHood:
        """From corners ``[n, 2]`` and triangles ``[K, 3]``.

        ``bend`` takes the middles of the edges on the boundary, ``[M, 2]``, to where they belong:
        these edges become parabolas.
        """
        mesh = MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(cells.T))
        if bend is not None:
            rim = len(points) + mesh.boundary_facets()
            mesh = MeshTri2.from_mesh(mesh)
            mesh.doflocs[:, rim] = bend(mesh.doflocs[:, rim].T).T
        basis = Basis(mesh, ElementTriP2(), intorder=5)  # u . grad u . v is of that degree
        corners = basis.with_element(ElementTriP1())
        weights = basis.dx.ravel()
        rows = np.arange(len(weights))
        columns = [np.repeat(dofs, basis.dx.shape[1]) for dofs in basis.element_dofs]

        def sampled(values: list[np.ndarray]) -> csr_matrix:
            data = np.stack([np.broadcast_to(v, basis.dx.shape).ravel() for v in values])
            where = np.tile(rows, len(values)), np.concatenate(columns)
            return csr_matrix((data.ravel(), where), shape=(len(rows), basis.N))

        functions = [function[0] for function in basis.basis]
        values = sampled([np.asarray(function) for function in functions])
        slopes = [sampled([function.grad[axis] for function in functions]) for axis in (0, 1)]
        both = hstack(slopes)
        nodes = basis.doflocs.T
        parts = basis.element_dofs.T[:, _PARTS].reshape(-1, 3)
        middle = np.arange(len(points), basis.N)
        at_middle = np.full(2 * len(middle), 0.5)
        ends = np.tile(middle, 2), mesh.facets.ravel()
        linear = diags(np.ones(len(points)), shape=(basis.N, len(points)))
        linear = linear + csr_matrix((at_middle, ends), shape=linear.shape)
        return cls(
            points=nodes,
            cells=_counter_clockwise(nodes, parts),
            mass=asm(mass, basis).tocsr(),
            stiffness=asm(laplace, basis).tocsr(),
            divergence=hstack(
                [
                    asm(BilinearForm(lambda u, q, w, i=axis: u.grad[i] * q), basis, corners)
                    for axis in (0, 1)
                ]
            ).tocsr(),
            dilation=(both.T @ diags(weights) @ both).tocsr(),
            pressure_mass=asm(mass, corners).tocsr(),
            at_points=vstack([values, *slopes]).tocsr(),
            gather=(values.T @ diags(weights)).tocsr(),
            linear=linear.tocsr(),
        )

    def advection(self, velocity: np.ndarray) -> np.ndarray:
        """Integrals of (u . grad u) times each quadratic function, ``[N, 2]`` from ``[N, 2]``."""
        u, along_x, along_y = np.split(self.at_points @ velocity, 3)
        return self.gather @ (u[:, :1] * along_x + u[:, 1:] * along_y)


def _counter_clockwise(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    first, second = (points[cells[:, i]] - points[cells[:, 0]] for i in (1, 2))
    clockwise = first[:, 0] * second[:, 1] < first[:, 1] * second[:, 0]
    return np.where(clockwise[:, None], cells[:, ::-1], cells)


class IncompressibleFlow:
    """A flow that is marched through time, from the creeping flow of its boundary values.

    Where no velocity is prescribed on the boundary, nothing acts on it (nu du/dn = p n).

    Args:
        spaces: of the mesh.
        fixed: ``[N]`` bool, nodes with a prescribed velocity.
        values: ``[N, 2]``, the velocity there.
        viscosity: nu, over the density.
        step: of time.
        penalty: of the divergence, as a viscosity.

    Attributes:
        velocity: ``[N, 2]``, now.
        before: ``[N, 2]``, the velocity one step before.
        pressure: ``[n]`` at the corners, over the density.
        time: since the start.
    """

    def __init__(
        self,
        spaces: TaylorHood,
        fixed: np.ndarray,
        values: np.ndarray,
        viscosity: float,
        step: float,
        penalty: float = 0.0,
    ) -> None:
        self.spaces, self.step, self._free = spaces, step, np.flatnonzero(~fixed)
        self._scale = float(np.abs(values[fixed]).max(initial=0))
        friction = viscosity * block_diag([spaces.stiffness] * 2) + penalty * spaces.dilation
        inertia = 1.5 / step * block_diag([spaces.mass] * 2)
        self._moved = (inertia + friction).tocsr()
        resting = np.zeros_like(values)
        creeping = _Saddle(spaces, friction.tocsr(), fixed, values)
        self.velocity, self.pressure = creeping.solve(resting)
        self._system = _Saddle(spaces, self._moved, fixed, values)
        self._known = resting  # of the last step: advection, and what earlier velocities leave
        self.before = self.velocity  # so the first step is Euler's, of 2/3 of the length
        self.time = 0.0

    def disturb(self, change: np.ndarray) -> None:
        """Add ``[N, 2]`` to the velocity where it is not prescribed."""
        self.velocity = self.velocity.copy()
        self.velocity[self._free] += change[self._free]
        self.before = self.velocity

    def advance(self, steps: int) -> None:
        """March so many steps.

        Raises:
            SampleError: the velocity grows beyond all bounds.
        """
        mass, rate = self.spaces.mass, 0.5 / self.step
        with np.errstate(all="ignore"):  # a step too long ends in NaN, which is noticed
            for _ in range(steps):
                now, before = self.velocity, self.before
                known = self.spaces.advection(2 * now - before) - rate * (mass @ (4 * now - before))
                self.velocity, self.pressure = self._system.solve(-known)
                self.before, self._known = now, known
        self.time += steps * self.step
        fastest = np.abs(self.velocity).max()
        if not fastest < RUNAWAY * self._scale:
            raise SampleError(
                f"the flow ran away before time {self.time:.3g}: speeds of {fastest:.3g} where at"
                f" most {self._scale:.3g} is prescribed, with time steps of {self.step:.3g}"
            )

    def force(self, nodes: np.ndarray) -> np.ndarray:
        """What the fluid does to the part of the boundary with these nodes, ``[2]``.

        Per length across the plane and over the density: minus the residual of the equations
        there, which is more accurate than an integral of the stress. It needs a step.
        """
        residual = _stacked(self._known) + self._moved @ _stacked(self.velocity)
        residual = _apart(residual - self.spaces.divergence.T @ self.pressure)
        return -residual[nodes].sum(axis=0)

    @property
    def pressure_at_nodes(self) -> np.ndarray:
        """``[N]``, the linear pressure at the quadratic nodes, over the density."""
        return self.spaces.linear @ self.pressure


def _stacked(vectors: np.ndarray) -> np.ndarray:
    """``[N, 2]`` -> ``[2 N]``, all x first."""
    return vectors.T.ravel()


def _apart(columns: np.ndarray) -> np.ndarray:
    """``[2 N]``, all x first, -> ``[N, 2]``."""
    return columns.reshape(2, -1).T


class _Saddle:
    """A u - D^T p = f, D u = 0, factorised, with u given at some nodes."""

    def __init__(
        self, spaces: TaylorHood, matrix: csr_matrix, fixed: np.ndarray, values: np.ndarray
    ) -> None:
        twice = np.tile(fixed, 2)
        self._free, given = np.flatnonzero(~twice), np.flatnonzero(twice)
        self._start = _stacked(np.where(fixed[:, None], values, 0))
        rows, divergence = matrix[self._free], spaces.divergence
        self._lifted = rows[:, given] @ self._start[given]
        self._inflow = divergence[:, given] @ self._start[given]
        coupling = divergence[:, self._free]
        # So small a compressibility changes nothing, and gives every row a pivot.
        tiny = -1e-10 * spaces.pressure_mass
        whole = block_array([[rows[:, self._free], -coupling.T], [-coupling, tiny]])
        self._factors = factorised(whole, pivot_threshold=1e-3)

    def solve(self, right_side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity ``[N, 2]`` and pressure ``[n]`` from f ``[N, 2]``."""
        inner = _stacked(right_side)[self._free] - self._lifted
        found = self._factors.solve(np.concatenate([inner, self._inflow]))
        velocity = self._start.copy()
        velocity[self._free] = found[: len(inner)]
        return _apart(velocity), found[len(inner) :]
