"""Darcy flow in random domains, on unstructured meshes of different sizes.

The problem of :mod:`lrsa_geo.simulate.darcy`, -div(a grad u) = 1 with u = 0 on the boundary and a
of two values, inside of random star-shaped curves (:func:`lrsa_geo.simulate.unit_cell.void_radius`)
in the unit square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gmsh
import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate.darcy import BOUNDARY, INTERIOR, check_two_values, two_values
from lrsa_geo.simulate.diffusion import GaussianField, solve_on_triangles, triangles
from lrsa_geo.simulate.gmsh_session import TRIANGLES, VTK_TRIANGLE, generate, gmsh_session, mesh_of
from lrsa_geo.simulate.solution_graph import boundary_nodes, solution_graph
from lrsa_geo.simulate.unit_cell import void_radius

MODES = 64  # of the random field: the amplitude of the next one is below a thousandth


@dataclass(frozen=True)
class IrregularDarcyRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of domains, each with a coefficient.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        min_nodes: least aimed-at number of mesh nodes (uniform up to ``max_nodes``).
        max_nodes: largest aimed-at number of mesh nodes.
        refined: how often every triangle is divided into four before the equation is solved.
        curve_modes: Fourier modes kept of the curve around the domain.
        low: coefficient where the random field is negative.
        high: coefficient where it is positive.
    """

    name: ClassVar[str] = "darcy_irregular"
    libraries: ClassVar[tuple[str, ...]] = ("gmsh", "lrsa_geo", "numpy", "scikit-fem", "scipy")

    samples: int = 1200
    seed: int = 0
    min_nodes: int = 600
    max_nodes: int = 1600
    refined: int = 2
    curve_modes: int = 6
    low: float = 3.0
    high: float = 12.0

    def __post_init__(self) -> None:
        """Refuse coefficients of which no diffusion can be made."""
        check_two_values(self.low, self.high)

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x`` and ``y``."""
        return {
            "x": (
                Field("coefficient"),
                Field("boundary_distance"),
                Field("boundary_offset", "1", ("x", "y")),
            ),
            "y": (Field("solution"),),
        }

    def sample(self, index: int) -> Data:
        """Draw, mesh and solve sample ``index``, alone.

        Raises:
            SampleError: gmsh made no mesh.
        """
        rng = np.random.default_rng([self.seed, index])
        radius = void_radius(rng, self.curve_modes)
        num_nodes = rng.uniform(self.min_nodes, self.max_nodes)
        field = GaussianField.draw(rng, MODES)
        points, cells = star_mesh(num_nodes, radius)
        fine = triangles(points, cells).refined(self.refined)  # its first nodes are those given
        centres = fine.p[:, fine.t].mean(1).T
        coefficient = two_values(field.at(centres), self.low, self.high)
        solution = solve_on_triangles(fine, coefficient)
        markers = np.full(len(points), INTERIOR, dtype=np.int8)
        markers[boundary_nodes(cells, VTK_TRIANGLE, len(points))] = BOUNDARY
        data = solution_graph(
            points,
            cells,
            VTK_TRIANGLE,
            markers,
            inputs=[two_values(field.at(points), self.low, self.high)],
            near=[None],
            targets=[solution[: len(points)]],
        )
        data.sample = torch.tensor([index])
        return data


def star_mesh(num_nodes: float, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate the inside of a closed curve around (1/2, 1/2).

    Args:
        num_nodes: aimed-at number of nodes.
        radius: of the curve at equally spaced angles.

    Returns:
        ``points [N, 2]`` and triangles ``cells [K, 3]``, counter-clockwise.

    Raises:
        SampleError: gmsh made no mesh.
    """
    area = np.pi * np.mean(radius**2)
    size = np.sqrt(area / (0.866 * num_nodes))
    with gmsh_session():
        geo = gmsh.model.geo
        angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
        ring = [
            geo.addPoint(0.5 + r * np.cos(a), 0.5 + r * np.sin(a), 0)
            for r, a in zip(radius, angle, strict=True)
        ]
        half = len(ring) // 2
        curves = [geo.addSpline(ring[: half + 1]), geo.addSpline([*ring[half:], ring[0]])]
        geo.addPlaneSurface([geo.addCurveLoop(curves)])
        geo.synchronize()
        everywhere = gmsh.model.mesh.field.add("MathEval", 1)
        gmsh.model.mesh.field.setString(everywhere, "F", repr(float(size)))
        generate(2, [everywhere])
        points, cells, _ = mesh_of(TRIANGLES, 2)
    return points, cells
