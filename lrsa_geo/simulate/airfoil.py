"""Airfoil: subsonic compressible potential flow around real airfoils.

Shapes of the UIUC Airfoil Coordinates Database, Mach numbers below the first sonic point, angles of
attack of either sign; meshes of different density, out to 15 chords. The solver is in
``potential_flow.py``, the shapes are in ``airfoil_shapes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Protocol

import gmsh
import numpy as np
import torch
from scipy.optimize import brentq
from torch_geometric.data import Data

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate.airfoil_shapes import ShapeLibrary, smooth_outline
from lrsa_geo.simulate.gmsh_session import (
    TRIANGLES,
    VTK_TRIANGLE,
    generate,
    gmsh_session,
    grade,
    mesh_of,
)
from lrsa_geo.simulate.potential_flow import Flow, pressure_coefficient, solve_flow
from lrsa_geo.simulate.quantities import AIRFOIL, FAR, INTERIOR, lift_coefficient
from lrsa_geo.simulate.solution_graph import boundary_nodes, solution_graph

FAR_RADIUS = 15.0  # chords
LOWEST_MACH = 0.1
SONIC_MARGIN = 0.97  # of the critical Mach number
LIFT_TOLERANCE = 0.02  # between the lift coefficients by pressure and by circulation
MOST_DRAWS = 10


@dataclass(frozen=True)
class AirfoilRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    A shape and an angle are drawn, the incompressible flow is solved, and from its lowest pressure
    follows the Mach number at which the flow first becomes sonic. The Mach number is then drawn
    from 0.1 to 97 % of that, or to ``highest_mach``.

    Args:
        samples: number of flows.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        min_nodes: least aimed-at number of mesh nodes (log-uniform up to ``max_nodes``).
        max_nodes: largest aimed-at number of mesh nodes.
        angle: range of the angle of attack in degrees (uniform).
        highest_mach: of the free stream.
    """

    name: ClassVar[str] = "airfoil"
    libraries: ClassVar[tuple[str, ...]] = ("gmsh", "lrsa_geo", "numpy", "scikit-fem", "scipy")

    samples: int = 400
    seed: int = 0
    min_nodes: int = 3200
    max_nodes: int = 11000
    angle: tuple[float, float] = (-4.0, 8.0)
    highest_mach: float = 0.6

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x``, ``y`` and ``cond``; lengths are in chords."""
        return {
            "x": (Field("wall_distance", "chord"), Field("wall_offset", "chord", ("x", "y"))),
            "y": (
                Field("pressure_coefficient"),
                Field("velocity", "free stream", ("x", "y")),
                Field("local_mach"),
            ),
            "cond": (Field("mach"), Field("angle", "deg")),
            "about": (Field("lift"), Field("shape"), Field("refused")),
        }

    def sample(self, index: int) -> Data:
        """Draw, mesh and solve sample ``index``, alone.

        A flow that cannot be had (sonic at Mach 0.1 already, no convergence, a supersonic pocket,
        lift by pressure and by circulation that disagree) is drawn anew, shape and all. ``about``
        holds the lift coefficient (from the circulation), the number of the shape, and how many
        flows were refused before this one.

        Raises:
            SampleError: ten were refused.
        """
        rng = np.random.default_rng([self.seed, index])
        for refused in range(MOST_DRAWS):
            try:
                data = self._draw(rng)
            except SampleError as error:
                reason = error
                continue
            data.sample = torch.tensor([index])
            data.about[0, 2] = refused
            return data
        raise SampleError(f"refused {MOST_DRAWS} flows, the last: {reason}")

    def _draw(self, rng: np.random.Generator) -> Data:
        shapes = _shapes()
        shape = int(rng.integers(len(shapes.names)))
        num_nodes = np.exp(rng.uniform(np.log(self.min_nodes), np.log(self.max_nodes)))
        angle = rng.uniform(*self.angle)
        share = rng.uniform()
        outline = smooth_outline(shapes.points[shape])
        points, cells, tail = airfoil_mesh(outline, num_nodes)
        slow = solve_flow(points, cells, tail, 0.0, angle, outline.inside)
        highest = min(
            SONIC_MARGIN * critical_mach(slow.pressure_coefficient.min()), self.highest_mach
        )
        if highest < LOWEST_MACH:
            raise SampleError(f"sonic at Mach {LOWEST_MACH} already: too sharp a nose")
        mach = LOWEST_MACH + share * (highest - LOWEST_MACH)
        flow = solve_flow(points, cells, tail, mach, angle, outline.inside)
        if flow.mach.max() >= 1:
            raise SampleError("a supersonic pocket, which potential flow cannot end with a shock")
        data = graph_of(points, cells, flow, mach, angle)
        by_pressure, by_circulation = lift_coefficient(data, data.y[:, 0]), 2 * flow.circulation
        if abs(by_pressure - by_circulation) > LIFT_TOLERANCE:
            raise SampleError(
                f"lift {by_pressure:.3f} by pressure, {by_circulation:.3f} by circulation"
            )
        data.about = torch.tensor([[by_circulation, shape, 0]], dtype=torch.float32)
        data.group = torch.tensor([int(shapes.groups[shape])])
        return data


@cache
def _shapes() -> ShapeLibrary:
    return ShapeLibrary.load()


def graph_of(points: np.ndarray, cells: np.ndarray, flow: Flow, mach: float, angle: float) -> Data:
    """The flow as a graph, float32."""
    return solution_graph(
        points,
        cells,
        VTK_TRIANGLE,
        markers(points, cells),
        near=[AIRFOIL],
        targets=[flow.pressure_coefficient, flow.velocity, flow.mach],
        cond=[mach, angle],
    )


def karman_tsien(pressure: float, mach: float) -> float:
    """An incompressible pressure coefficient corrected for the Mach number of the free stream.

    Cp / (beta + M^2 / (1 + beta) Cp / 2), beta^2 = 1 - M^2 (Anderson, Fundamentals of Aerodynamics,
    section 11.5).
    """
    beta = np.sqrt(1 - mach**2)
    return float(pressure / (beta + mach**2 / (1 + beta) * pressure / 2))


def critical_mach(lowest_pressure: float) -> float:
    """The free stream's Mach number at which the fastest point becomes sonic.

    Where :func:`karman_tsien` of the lowest incompressible pressure coefficient meets the
    coefficient of sonic speed (Anderson, Fundamentals of Aerodynamics, section 11.6).
    """

    def excess(mach: float) -> float:
        corrected = karman_tsien(lowest_pressure, mach)
        sonic_speed_squared = (1 + 0.2 * mach**2) / (1.2 * mach**2)
        sonic = pressure_coefficient(np.array(sonic_speed_squared), mach)
        return float(corrected - sonic) if corrected < 0 else -np.inf

    if lowest_pressure > -1e-9:
        return 1.0
    mach = np.linspace(0.02, 0.999, 200)
    below = np.array([excess(m) for m in mach]) > 0
    first = int(np.argmin(below))
    if not below[0]:
        return float(mach[0])
    if below.all():
        return 1.0
    if not np.isfinite(excess(mach[first])):
        return float(mach[first - 1])
    return float(brentq(excess, mach[first - 1], mach[first]))


class Shape(Protocol):
    """What is needed to mesh the surroundings of an airfoil of unit chord, see ``Outline``."""

    @property
    def nose_radius(self) -> float:
        """In chords."""

    def points(self, number: int) -> np.ndarray:
        """``[2 number, 2]`` from the trailing edge over the upper surface to the nose and back."""


def airfoil_mesh(outline: Shape, num_nodes: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Triangulate the surroundings of an airfoil out to a circle of 15 chords.

    Elements are smallest at the trailing edge, where Kutta's condition is, and at the nose, where
    they resolve its radius; from the surface they grow linearly.

    Args:
        outline: the airfoil.
        num_nodes: aimed-at number of nodes.

    Returns:
        ``points [N, 2]`` in chords, triangles ``cells [K, 3]``, counter-clockwise, and the number
        of the node at the trailing edge.
    """
    scale = (2900 / num_nodes) ** 0.5
    nose_size = scale * np.clip(outline.nose_radius / 3, 0.001, 0.004)
    with gmsh_session():
        geo = gmsh.model.geo
        ring = outline.points(120)
        tags = [geo.addPoint(x, y, 0) for x, y in ring]
        half = len(tags) // 2
        surface = [geo.addSpline(tags[: half + 1]), geo.addSpline([*tags[half:], tags[0]])]
        centre = geo.addPoint(0.5, 0, 0)
        rim = [
            geo.addPoint(0.5 + FAR_RADIUS * np.cos(a), FAR_RADIUS * np.sin(a), 0)
            for a in np.pi / 2 * np.arange(4)
        ]
        arcs = [geo.addCircleArc(rim[i], centre, rim[(i + 1) % 4]) for i in range(4)]
        geo.addPlaneSurface([geo.addCurveLoop(arcs), geo.addCurveLoop(surface)])
        geo.synchronize()

        def growing(what: str, tags: list[int], near: float, slope: float, number: int) -> int:
            far = near + slope * FAR_RADIUS
            return grade(
                what, tags, near, far, reach=FAR_RADIUS, number=number, start=0.0, sampling=200
            )

        sizes = [
            growing("CurvesList", surface, 0.02 * scale, 0.16 * scale, 1),
            growing("PointsList", [tags[half]], nose_size, 0.2 * scale, 3),
            growing("PointsList", [tags[0]], 0.0015 * scale, 0.2 * scale, 5),
        ]
        generate(2, sizes)
        points, cells, _ = mesh_of(TRIANGLES, 2)
    tail = int(np.linalg.norm(points - ring[0], axis=1).argmin())
    return points, cells, tail


def markers(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """``INTERIOR``, ``AIRFOIL`` or ``FAR`` for each node, ``[N]`` int8."""
    on_boundary = boundary_nodes(cells, VTK_TRIANGLE, len(points))
    found = np.full(len(points), INTERIOR, dtype=np.int8)
    distance = np.linalg.norm(points[on_boundary] - [0.5, 0], axis=1)
    found[on_boundary] = np.where(distance > FAR_RADIUS / 2, FAR, AIRFOIL)
    return found
