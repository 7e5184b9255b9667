"""Elasticity: a hyperelastic unit cell with a random void, pulled at its top.

The problem of Geo-FNO (arXiv 2207.05209, section 4.1), with meshes of different density and a
random traction: a unit square (1 m) of nearly incompressible Mooney-Rivlin rubber in plane strain,
its base clamped, with a star-shaped void in the middle whose radius is

    r(t) = 0.2 + 0.2 / (1 + exp(g(t))),    g ~ N(0, 4^2 (-d^2/dt^2 + 3^2)^-1).

The strain energy per reference volume is c1 (I1' - 3) + c2 (I2' - 3) + K/2 (J - 1)^2, with I1' and
I2' the invariants of the isochoric right Cauchy-Green tensor. Quadratic triangles with a
piecewise constant pressure (felupe) do not lock where linear ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import felupe
import gmsh
import numpy as np
import torch
from felupe.constitution import tensortrax
from scipy.sparse import spmatrix
from torch_geometric.data import Data

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate.gmsh_session import (
    TRIANGLES,
    VTK_TRIANGLE,
    generate,
    gmsh_session,
    grade,
    mesh_of,
)
from lrsa_geo.simulate.linear_elasticity import von_mises
from lrsa_geo.simulate.solution_graph import boundary_nodes, solution_graph
from lrsa_geo.simulate.sparse import factorised

# Markers of the nodes, kept in `Data.boundary`.
INTERIOR, CLAMPED, LOADED, FREE, VOID = range(5)

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


@dataclass(frozen=True)
class ElasticityRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of meshes.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        min_nodes: least aimed-at number of mesh nodes (uniform up to ``max_nodes``).
        max_nodes: largest aimed-at number of mesh nodes.
        void_modes: Fourier modes kept of the field g that shapes the void.
        traction: range of the vertical traction at the top in Pa (nominal, uniform).
        material: constants of the rubber.
    """

    name: ClassVar[str] = "elasticity"
    libraries: ClassVar[tuple[str, ...]] = (
        "felupe",
        "gmsh",
        "lrsa_geo",
        "numpy",
        "scipy",
        "tensortrax",
    )

    samples: int = 1200
    seed: int = 0
    min_nodes: int = 600
    max_nodes: int = 1600
    void_modes: int = 6
    traction: tuple[float, float] = (20e3, 60e3)
    material: MooneyRivlin = field(default_factory=MooneyRivlin)

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x``, ``y`` and ``cond``."""
        return {
            "x": (Field("void_distance", "m"), Field("void_offset", "m", ("x", "y"))),
            "y": (Field("von_mises", "Pa"), Field("displacement", "m", ("x", "y"))),
            "cond": (Field("traction", "Pa"),),
        }

    def sample(self, index: int) -> Data:
        """Draw, mesh and solve sample ``index``, alone.

        Raises:
            SampleError: the solver found no equilibrium, however small the load steps.
        """
        data = self.solved(*self.drawn(index))
        data.sample = torch.tensor([index])
        return data

    def drawn(self, index: int) -> tuple[np.ndarray, float, float]:
        """What makes sample ``index``: the void's radius (see :func:`void_radius`), the aimed-at
        number of nodes, and the traction in Pa."""
        rng = np.random.default_rng([self.seed, index])
        radius = void_radius(rng, self.void_modes)
        return radius, rng.uniform(self.min_nodes, self.max_nodes), rng.uniform(*self.traction)

    def solved(
        self, radius: np.ndarray, num_nodes: float, traction: float, skew: float = 0.0
    ) -> Data:
        """Mesh and solve one cell; for ``skew`` see :func:`unit_cell_mesh`.

        Raises:
            SampleError: as :meth:`sample`.
        """
        points, cells = unit_cell_mesh(num_nodes, radius, skew)
        solution = solve(points, cells, np.array([0, traction]), self.material)
        return solution_graph(
            points,
            cells,
            VTK_TRIANGLE,
            markers(points, cells),
            near=[VOID],
            targets=[solution.von_mises, solution.displacement],
            cond=[traction],
        )


def void_radius(rng: np.random.Generator, modes: int, num_angles: int = 96) -> np.ndarray:
    """Radius of the void at equally spaced angles, ``[num_angles]`` in m, between 0.2 and 0.4.

    g is summed from its Karhunen-Loeve series on the circle: standard deviation
    4 (k^2 + 9)^(-1/2) times the orthonormal functions of wave number k.
    """
    angle = np.linspace(0, 2 * np.pi, num_angles, endpoint=False)
    k = np.arange(1, modes + 1)
    cosine, sine = rng.normal(size=(2, modes)) * 4 / np.sqrt(k**2 + 9) / np.sqrt(np.pi)
    g = rng.normal() * 4 / 3 / np.sqrt(2 * np.pi)
    g = g + cosine @ np.cos(np.outer(k, angle)) + sine @ np.sin(np.outer(k, angle))
    return 0.2 + 0.2 / (1 + np.exp(g))


def unit_cell_mesh(
    num_nodes: float, radius: np.ndarray | None = None, skew: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate the unit square, with a void around its centre if ``radius`` is given.

    The edge length follows from ``num_nodes`` and is 0.65 of it at the void. At the clamped
    corners the stress is singular, so the value at those nodes depends on the size of the elements
    there: it is the same, 0.03 m, in all meshes, or the target itself would depend on the mesh.

    Args:
        num_nodes: aimed-at number of nodes.
        radius: radius of the void at equally spaced angles.
        skew: elements on the right side are exp(skew) times as large as on the left.

    Returns:
        ``points [N, 2]`` in m and triangles ``cells [K, 3]``, counter-clockwise.

    Raises:
        RuntimeError: gmsh, which has one state per process, is in use.
    """
    area = 1.0
    if radius is not None:
        area -= np.pi * np.mean(radius**2)
    size = np.sqrt(area / (0.866 * num_nodes)) * 1.22
    with gmsh_session():
        geo = gmsh.model.geo
        corners = [geo.addPoint(x, y, 0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
        sides = [geo.addLine(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        loops = [geo.addCurveLoop(sides)]
        void: list[int] = []
        if radius is not None:
            angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
            ring = [
                geo.addPoint(0.5 + r * np.cos(a), 0.5 + r * np.sin(a), 0)
                for r, a in zip(radius, angle, strict=True)
            ]
            half = len(ring) // 2
            void = [geo.addSpline(ring[: half + 1]), geo.addSpline([*ring[half:], ring[0]])]
            loops.append(geo.addCurveLoop(void))
        geo.addPlaneSurface(loops)
        geo.synchronize()
        sizes = [grade("PointsList", corners[:2], 0.03, size, reach=0.25, number=1)]
        if void:
            sizes.append(grade("CurvesList", void, 0.65 * size, size, reach=0.15, number=3))
        if skew:
            sizes = [_skewed(corners[:2], sizes, skew)]
        generate(2, sizes)
        points, cells, _ = mesh_of(TRIANGLES, 2)
    return points, cells


def _skewed(corners: list[int], sizes: list[int], skew: float) -> int:
    """Sizes times exp(skew (x - 1/2)), but still 0.03 m at the clamped corners."""
    fields = gmsh.model.mesh.field
    fields.add("Min", 20)
    fields.setNumbers(20, "FieldsList", sizes)
    fields.add("MathEval", 21)
    fields.setString(21, "F", f"F20 * Exp({skew!r} * (x - 0.5))")
    at_corners = grade("PointsList", corners, 0.03, 1e-3, reach=0.1, number=22)
    fields.add("Max", 24)
    fields.setNumbers(24, "FieldsList", [21, at_corners])
    return 24


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


def markers(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """``INTERIOR``, ``CLAMPED``, ``LOADED``, ``FREE`` or ``VOID`` for each node, ``[N]`` int8."""
    found = np.full(len(points), INTERIOR, dtype=np.int8)
    found[boundary_nodes(cells, VTK_TRIANGLE, len(points))] = VOID
    found[np.isclose(points[:, 0] % 1, 0)] = FREE
    found[np.isclose(points[:, 1], 1)] = LOADED
    found[np.isclose(points[:, 1], 0)] = CLAMPED
    return found
