"""Elasticity: a hyperelastic unit cell with a random void, pulled at its top.

The problem of Geo-FNO (arXiv 2207.05209, section 4.1), with meshes of different density and a
random traction: a unit square (1 m) of nearly incompressible Mooney-Rivlin rubber in plane strain
(:mod:`lrsa_geo.simulate.hyperelasticity`), its base clamped, with a star-shaped void in the middle
(:mod:`lrsa_geo.simulate.unit_cell`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate.gmsh_session import VTK_TRIANGLE
from lrsa_geo.simulate.hyperelasticity import MooneyRivlin, solve
from lrsa_geo.simulate.solution_graph import boundary_nodes, solution_graph
from lrsa_geo.simulate.unit_cell import unit_cell_mesh, void_radius

# Markers of the nodes, kept in `Data.boundary`.
INTERIOR, CLAMPED, LOADED, FREE, VOID = range(5)


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


def markers(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """``INTERIOR``, ``CLAMPED``, ``LOADED``, ``FREE`` or ``VOID`` for each node, ``[N]`` int8."""
    found = np.full(len(points), INTERIOR, dtype=np.int8)
    found[boundary_nodes(cells, VTK_TRIANGLE, len(points))] = VOID
    found[np.isclose(points[:, 0] % 1, 0)] = FREE
    found[np.isclose(points[:, 1], 1)] = LOADED
    found[np.isclose(points[:, 1], 0)] = CLAMPED
    return found
