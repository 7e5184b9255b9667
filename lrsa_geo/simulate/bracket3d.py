"""Bracket3D: parametric parts held at their bolt holes, linear elasticity.

Plates with holes, L-brackets and ribbed L-brackets (``bracket_shapes.py``) of steel, clamped at the
surface of their bolt holes and loaded, in a random direction, at a pin hole or an end face. The
solver (``linear_elasticity.py``) has quadratic tetrahedra; the graph has all their nodes, and the
eight linear tetrahedra between the nodes of each as cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import Field, Fields, mesh_edges
from lrsa_geo.simulate.bracket_shapes import FAMILIES, draw_part, part_mesh
from lrsa_geo.simulate.gmsh_session import VTK_TETRAHEDRON
from lrsa_geo.simulate.linear_elasticity import (
    Material,
    QuadraticBody,
    SolidSolution,
    solve_solid,
)
from lrsa_geo.simulate.solution_graph import boundary_nodes, solution_graph

# Markers of the nodes, kept in `Data.boundary`.
INTERIOR, CLAMPED, LOADED, FREE = range(4)
MOST_DRAWS = 10


@dataclass(frozen=True)
class BracketRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of parts.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        size: range of the size of the elements in m (log-uniform), away from holes and fillets.
        min_nodes: a mesh of fewer nodes is drawn anew, part and all.
        max_nodes: likewise one of more.
        force: size of the load in N; its direction is any. All is linear in it, so one size tells
            of all others.
        material: constants of the steel.
    """

    name: ClassVar[str] = "bracket3d"
    libraries: ClassVar[tuple[str, ...]] = ("gmsh", "lrsa_geo", "numpy", "scikit-fem", "scipy")

    samples: int = 400
    seed: int = 0
    size: tuple[float, float] = (0.004, 0.014)
    min_nodes: int = 3000
    max_nodes: int = 20000
    force: float = 1000.0
    material: Material = field(default_factory=Material)

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x``, ``y`` and ``cond``."""
        return {
            "x": (
                Field("clamp_distance", "m"),
                Field("clamp_offset", "m", ("x", "y", "z")),
                Field("load_distance", "m"),
                Field("load_offset", "m", ("x", "y", "z")),
                Field("surface_distance", "m"),
                Field("surface_offset", "m", ("x", "y", "z")),
            ),
            "y": (Field("von_mises", "Pa"), Field("displacement", "m", ("x", "y", "z"))),
            "cond": (Field("force", "N", ("x", "y", "z")),),
            "about": (Field("family"),),
        }

    def sample(self, index: int) -> Data:
        """Draw, mesh and solve sample ``index``, alone; ``about`` holds the number of its family.

        Raises:
            SampleError: no equilibrium, or ten meshes were too small or too large.
        """
        rng = np.random.default_rng([self.seed, index])
        for _ in range(MOST_DRAWS):
            part = draw_part(rng)
            points, cells, _ = part_mesh(part, float(np.exp(rng.uniform(*np.log(self.size)))))
            direction = rng.normal(size=3)
            force = self.force * direction / np.linalg.norm(direction)
            if self.min_nodes <= _quadratic_nodes(points, cells) <= self.max_nodes:
                break
        else:
            raise SampleError(f"{MOST_DRAWS} meshes were too small or too large")
        solution = solve_solid(points, cells, part.is_clamped, part.is_loaded, force, self.material)
        data = graph_of(solution, force)
        data.sample = torch.tensor([index])
        data.about = torch.tensor([[float(FAMILIES.index(part.family))]])
        return data


def _quadratic_nodes(points: np.ndarray, cells: np.ndarray) -> int:
    """Corners and middles of edges."""
    cell_types = np.full(len(cells), VTK_TETRAHEDRON)
    return len(points) + len(mesh_edges(cells, cell_types, len(points)))


def markers_of(body: SolidSolution | QuadraticBody) -> np.ndarray:
    """``[N] int8``: which part of the boundary a node belongs to."""
    markers = np.full(len(body.points), INTERIOR, dtype=np.int8)
    markers[boundary_nodes(body.cells, VTK_TETRAHEDRON, len(body.points))] = FREE
    markers[body.loaded] = LOADED
    markers[body.clamped] = CLAMPED
    return markers


def graph_of(body: SolidSolution | QuadraticBody, force: np.ndarray) -> Data:
    """A solution as a graph, float32; a body that is not solved without targets."""
    targets = [body.von_mises, body.displacement] if isinstance(body, SolidSolution) else []
    return solution_graph(
        body.points,
        body.cells,
        VTK_TETRAHEDRON,
        markers_of(body),
        near=[CLAMPED, LOADED, None],
        targets=targets,
        cond=force,
    )
