"""Cylinder: the wake of a body in a channel, time by time.

The channel is that of the benchmark of Schäfer and Turek (2.2 m x 0.41 m, a parabola of mean speed
1 m/s at its inlet); the body is a circle, an ellipse or a rounded polygon of random size, place and
angle, the Reynolds number 40 to 200. The solver is in ``incompressible.py``, the bodies are in
``cylinder_shapes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate.cylinder_shapes import HEIGHT, LENGTH, Body, channel_mesh
from lrsa_geo.simulate.gmsh_session import VTK_TRIANGLE
from lrsa_geo.simulate.incompressible import IncompressibleFlow, TaylorHood
from lrsa_geo.simulate.solution_graph import Series, boundary_nodes, solution_graph

# Markers of the nodes, kept in `Data.boundary`.
INTERIOR, INLET, WALL, OUTLET, BODY = range(5)
SPEED = 1.0  # mean of the inlet, m/s
COURANT = 0.12  # mean speed times step over the shortest edge; the fastest flow has 2.3 times that
PENALTY = 0.15  # of the divergence, over the mean speed times the body's width
HALVINGS = 2  # of the step, where the flow runs away


@dataclass(frozen=True)
class CylinderRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of flows.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        min_nodes: least aimed-at number of mesh nodes (log-uniform up to ``max_nodes``).
        max_nodes: largest aimed-at number of mesh nodes.
        reynolds: range of mean speed times the body's width over the viscosity (uniform).
        start_up: time in s before the first one that is kept.
        frames: number of times kept.
        interval: time in s between them.
    """

    name: ClassVar[str] = "cylinder"
    libraries: ClassVar[tuple[str, ...]] = ("gmsh", "lrsa_geo", "numpy", "scikit-fem", "scipy")

    samples: int = 60
    seed: int = 0
    min_nodes: int = 1300
    max_nodes: int = 3700
    reynolds: tuple[float, float] = (40.0, 200.0)
    start_up: float = 2.5
    frames: int = 200
    interval: float = 0.01

    def __post_init__(self) -> None:
        """Refuse series that are none.

        Raises:
            ValueError: naming the values.
        """
        if self.frames < 2 or self.interval <= 0 or self.start_up < 0:
            raise ValueError(
                f"frames is {self.frames}, interval is {self.interval}, start_up is"
                f" {self.start_up}, expected at least two frames, an interval above 0, and a"
                " start_up of at least 0"
            )
        if not 0 < self.reynolds[0] <= self.reynolds[1]:
            raise ValueError(f"reynolds is {self.reynolds}, expected 0 < lowest <= highest")

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x``, ``states``, ``cond`` and ``about``."""
        return {
            "x": (Field("body_distance", "m"), Field("body_offset", "m", ("x", "y"))),
            "states": (Field("velocity", "m/s", ("x", "y")), Field("pressure", "m^2/s^2")),
            "cond": (Field("reynolds"), Field("viscosity", "m^2/s")),
            "about": (Field("drag"), Field("lift_amplitude"), Field("shape")),
        }

    def sample(self, index: int) -> Data:
        """Draw, mesh and solve sample ``index``, alone.

        ``about`` holds the mean drag coefficient, half the span of the lift coefficient, both over
        the times kept, and the number of the body's shape among circle, ellipse and polygon.

        Raises:
            SampleError: the flow ran away, however short the time steps.
        """
        rng = np.random.default_rng([self.seed, index])
        body = Body.draw(rng)
        num_nodes = np.exp(rng.uniform(np.log(self.min_nodes), np.log(self.max_nodes)))
        data = self.solved(body, num_nodes, rng.uniform(*self.reynolds))
        data.sample = torch.tensor([index])
        return data

    def solved(self, body: Body, num_nodes: float, reynolds: float) -> Data:
        """Mesh and solve the flow around one body.

        Raises:
            SampleError: as :meth:`sample`.
        """
        spaces = TaylorHood.of(*channel_mesh(body, num_nodes), body.onto)
        viscosity = SPEED * body.width / reynolds
        steps = steps_between(spaces, self.interval)
        for halving in range(HALVINGS + 1):
            try:
                series, forces = self._solved(body, spaces, viscosity, steps << halving)
            except SampleError as error:
                reason = error
                continue
            break
        else:
            raise reason
        data = solution_graph(
            spaces.points,
            spaces.cells,
            VTK_TRIANGLE,
            markers(spaces),
            near=[BODY],
            cond=[reynolds, viscosity],
            series=series,
        )
        drag, lift = coefficients(forces, body).T
        data.about = torch.tensor([[drag.mean(), np.ptp(lift) / 2, body.shape]]).float()
        return data

    def _solved(
        self, body: Body, spaces: TaylorHood, viscosity: float, steps: int
    ) -> tuple[Series, np.ndarray]:
        """The frames, with so many steps between them, and the forces on the body ``[T, 2]``."""
        flow = start_flow(spaces, body, viscosity, self.interval / steps)
        surface = np.flatnonzero(markers(spaces) == BODY)
        for _ in range(round(self.start_up / self.interval)):
            flow.advance(steps)
        velocity, pressure, forces = [], [], []
        for _ in range(self.frames):
            flow.advance(steps)
            velocity.append(flow.velocity)
            pressure.append(flow.pressure_at_nodes)
            forces.append(flow.force(surface))
        times = self.interval * np.arange(self.frames)
        return Series(times, [np.stack(velocity), np.stack(pressure)]), np.stack(forces)


def steps_between(spaces: TaylorHood, interval: float) -> int:
    """So many time steps that the advection, which is extrapolated, stays stable."""
    ends = spaces.points[spaces.cells], spaces.points[np.roll(spaces.cells, 1, axis=1)]
    shortest = 2 * np.linalg.norm(ends[0] - ends[1], axis=2).min()  # of the quadratic triangles
    return int(np.ceil(interval * SPEED / (COURANT * shortest)))


def start_flow(spaces: TaylorHood, body: Body, viscosity: float, step: float) -> IncompressibleFlow:
    """Creeping flow with a vortex behind the body, off its middle, so that shedding soon begins."""
    where = markers(spaces)
    y = spaces.points[:, 1]
    inflow = np.zeros_like(spaces.points)
    inflow[:, 0] = np.where(where == INLET, 6 * SPEED * y * (HEIGHT - y) / HEIGHT**2, 0)
    fixed = np.isin(where, [INLET, WALL, BODY])
    penalty = PENALTY * SPEED * body.width
    flow = IncompressibleFlow(spaces, fixed, inflow, viscosity, step, penalty)
    low, high = body.outline.min(0), body.outline.max(0)
    centre = np.array([high[0] + body.width / 2, (low[1] + high[1]) / 2 + body.width / 4])
    offset = (spaces.points - centre) / (body.width / 2)
    whirl = np.exp(-(offset**2).sum(1) / 2)[:, None] * offset
    flow.disturb(0.5 * SPEED * whirl[:, ::-1] * [-1, 1])
    return flow


def coefficients(forces: np.ndarray, body: Body) -> np.ndarray:
    """Drag and lift over half the squared mean speed times the body's width, ``[..., 2]``."""
    return 2 * forces / (SPEED**2 * body.width)


def markers(spaces: TaylorHood) -> np.ndarray:
    """``INTERIOR``, ``INLET``, ``WALL``, ``OUTLET`` or ``BODY`` for each node, ``[N]`` int8."""
    x, y = spaces.points.T
    found = np.full(len(x), INTERIOR, dtype=np.int8)
    found[boundary_nodes(spaces.cells, VTK_TRIANGLE, len(x))] = BODY
    found[np.isclose(x, 0)] = INLET
    found[np.isclose(x, LENGTH)] = OUTLET
    found[np.isclose(y, 0) | np.isclose(y, HEIGHT)] = WALL
    return found
