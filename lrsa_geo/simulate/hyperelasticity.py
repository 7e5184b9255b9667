"""Hyperelastic equilibrium of plane cells: Mooney-Rivlin rubber on quadratic triangles.

The strain energy per reference volume is c1 (I1' - 3) + c2 (I2' - 3) + K/2 (J - 1)^2, with I1' and
I2' the invariants of the isochoric right Cauchy-Green tensor. Quadratic triangles with a
piecewise constant pressure (felupe) do not lock where linear ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import felupe
import numpy as np
from felupe.constitution import tensortrax
from scipy.sparse import spmatrix

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.linear_elasticity import von_mises
from lrsa_geo.simulate.sparse import factorised

Traction = np.ndarray | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class MooneyRivlin:
    """c1 (I1' - 3) + c2 (I2' - 3) + K/2 (J - 1)^2.

    Args:
        c1: in Pa.
        c2: in Pa.
        bulk: K in Pa.
    """

    c1: float = 1.863e5
    c2: float = 9.79e3
    bulk: float = 3.92e8  # 1,000 times the shear modulus 2 (c1 + c2): Poisson's ratio 0.4995


@dataclass(frozen=True)
class Solution:
    """Equilibrium of a cell with N corner nodes.

    Attributes:
        displacement: ``[N, 2]`` in m, at the corner nodes.
        stress: ``[N, 3, 3]`` Cauchy stress in Pa, projected (L2) on linear functions.
        reaction: ``[2]`` force of the base on the cell in N per m of thickness.
        load: ``[2]`` applied force, likewise.
        load_steps: increments in which the load was applied.
    """

    displacement: np.ndarray
    stress: np.ndarray
    reaction: np.ndarray
    load: np.ndarray
    load_steps: int

    @property
    def von_mises(self) -> np.ndarray:
        """sqrt(3/2 s:s) with s the deviator of the Cauchy stress, ``[N]`` in Pa."""
        return von_mises(self.stress)


def solve(
    points: np.ndarray,
    cells: np.ndarray,
    traction: Traction,
    material: MooneyRivlin,
    base: Literal["clamped", "sliding"] = "clamped",
) -> Solution:
    """Equilibrium under a nominal traction on the edge y = 1.

    Newton's method on quadratic triangles, with the whole load at once; where that does not
    converge, in 2, 4, 8 and 16 increments.

    Args:
        points: ``[N, 2]`` in m.
        cells: triangles ``[K, 3]``.
        traction: ``[2]`` in Pa, or a function of x ``[n]`` that gives ``[n, 2]``.
        material: constants of the rubber.
        base: ``"clamped"`` fixes the edge y = 0; ``"sliding"`` fixes its height and, of its left
            end, the position, so that a cell without void deforms homogeneously.

    Raises:
        SampleError: no convergence in 16 increments.
    """
    mesh = felupe.Mesh(points, cells, "triangle").add_midpoints_edges()
    region = felupe.Region(mesh, QuadraticTriangle(), felupe.TriangleQuadrature(order=2))
    unknown = felupe.FieldContainer([felupe.FieldPlaneStrain(region, dim=2)])
    bottom = np.isclose(mesh.points[:, 1], 0)
    left_end = bottom & np.isclose(mesh.points[:, 0], 0)
    fixed = {
        "x": felupe.Boundary(
            unknown[0], mask=bottom if base == "clamped" else left_end, skip=(0, 1)
        ),
        "y": felupe.Boundary(unknown[0], mask=bottom, skip=(1, 0)),
    }
    dof0, dof1 = felupe.dof.partition(unknown, fixed)
    top, force = _nodal_forces(mesh.points, traction)
    rubber = tensortrax.Hyperelastic(
        tensortrax.models.hyperelastic.mooney_rivlin, C10=material.c1, C01=material.c2
    )
    for load_steps in (1, 2, 4, 8, 16):
        unknown[0].values[:] = 0
        body = felupe.SolidBodyNearlyIncompressible(rubber, unknown, bulk=material.bulk)
        try:
            with np.errstate(all="ignore"):  # a load step too far ends in NaN, which is noticed
                for step in range(1, load_steps + 1):
                    felupe.newtonraphson(
                        items=[body, felupe.PointLoad(unknown, top, force * step / load_steps)],
                        dof0=dof0,
                        dof1=dof1,
                        ext0=felupe.dof.apply(unknown, fixed, dof0),
                        solver=_solve_symmetric,
                        tol=1e-8,
                        maxiter=10,
                        verbose=0,
                    )
        except (ValueError, RuntimeError, np.linalg.LinAlgError):
            continue  # diverged, NaN, or a singular matrix on the way: try smaller steps
        break
    else:
        raise SampleError("Newton's method did not converge in 16 load steps")
    corner_region = felupe.RegionTriangle(
        felupe.Mesh(points, cells, "triangle"), quadrature=region.quadrature
    )
    internal = body.assemble.vector().toarray().reshape(-1, 2)
    return Solution(
        displacement=unknown[0].values[: len(points)].copy(),
        stress=felupe.project(body.evaluate.cauchy_stress(), corner_region),
        reaction=internal[bottom].sum(axis=0),
        load=force.sum(axis=0),
        load_steps=load_steps,
    )


class QuadraticTriangle(felupe.QuadraticTriangle):
    """felupe's element with the gradient of its shape functions put right.

    In felupe 11.3 one of the twelve derivatives, d/ds of 4 s (1 - r - s), has r in the place of s.
    Homogeneous deformations do not notice; others depend on which corner of a triangle is its
    first, by about 1 % in the displacement and 10 % in the stress of these cells.
    """

    def gradient(self, rs: np.ndarray) -> np.ndarray:
        """Derivatives of the six shape functions by r and s, ``[6, 2]``."""
        r, s = rs
        t = 1 - r - s
        return np.array(
            [
                [1 - 4 * t, 1 - 4 * t],
                [4 * r - 1, 0],
                [0, 4 * s - 1],
                [4 * (t - r), -4 * r],
                [4 * s, 4 * r],
                [-4 * s, 4 * (t - s)],
            ]
        )


def _solve_symmetric(matrix: spmatrix, right_side: np.ndarray) -> np.ndarray:
    return factorised(matrix, pivot_threshold=0.01).solve(right_side)


def _nodal_forces(points: np.ndarray, traction: Traction) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the edge y = 1 and the forces on them: Simpson's rule on each quadratic edge."""
    top = np.flatnonzero(np.isclose(points[:, 1], 1))
    top = top[np.argsort(points[top, 0])]
    x = points[top, 0]
    weight = np.zeros(len(top))
    for first in range(0, len(top) - 2, 2):
        weight[first : first + 3] += (x[first + 2] - x[first]) * np.array([1, 4, 1]) / 6
    values = traction(x) if callable(traction) else np.broadcast_to(traction, (len(top), 2))
    return top, weight[:, None] * values
