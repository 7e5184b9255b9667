"""Darcy flow on the unit square: a coefficient of two values -> the pressure.

The problem of FNO (arXiv 2010.08895, section 5.2): -div(a grad u) = 1 with u = 0 on the boundary,
where a is 12 where a Gaussian random field (:class:`~lrsa_geo.simulate.diffusion.GaussianField`) is
positive and 3 where it is negative. It is solved on 421 x 421 points and kept on every tenth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, Fields, quad_cells
from lrsa_geo.mesh.cells import QUAD
from lrsa_geo.simulate.diffusion import GaussianField, solve_on_square
from lrsa_geo.simulate.solution_graph import solution_graph

INTERIOR, BOUNDARY = range(2)  # markers of the nodes, kept in `Data.boundary`


def two_values(field: np.ndarray, low: float, high: float) -> np.ndarray:
    """``high`` where the field is positive or 0, ``low`` where it is negative."""
    return np.where(field >= 0, high, low)


def check_two_values(low: float, high: float) -> None:
    """Refuse coefficients of which no diffusion can be made.

    Raises:
        ValueError: naming the values.
    """
    if not 0 < low <= high:
        raise ValueError(f"low and high are {low} and {high}, expected 0 < low <= high")


@dataclass(frozen=True)
class DarcyRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of coefficients.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        resolution: points along a side of the grid on which the equation is solved.
        every: of these points, every so manieth is kept: 10 leaves 43 x 43, 5 leaves 85 x 85.
        low: coefficient where the random field is negative.
        high: coefficient where it is positive.
    """

    name: ClassVar[str] = "darcy"
    libraries: ClassVar[tuple[str, ...]] = ("lrsa_geo", "numpy", "scipy")

    samples: int = 1200
    seed: int = 0
    resolution: int = 421
    every: int = 10
    low: float = 3.0
    high: float = 12.0

    def __post_init__(self) -> None:
        """Refuse grids that do not keep the boundary.

        Raises:
            ValueError: naming the values.
        """
        if self.resolution < 3 or self.every < 1 or (self.resolution - 1) % self.every:
            raise ValueError(
                f"every is {self.every}, expected a divisor of resolution - 1 ="
                f" {self.resolution - 1}, so that the kept points reach from side to side"
            )
        check_two_values(self.low, self.high)

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x`` and ``y``."""
        return {"x": (Field("coefficient"),), "y": (Field("solution"),)}

    def sample(self, index: int) -> Data:
        """Draw and solve sample ``index``, alone.

        Raises:
            SampleError: the solver did not converge.
        """
        rng = np.random.default_rng([self.seed, index])
        field = GaussianField.draw(rng, self.resolution).on_grid(self.resolution)
        coefficient = two_values(field, self.low, self.high)
        solution = solve_on_square(coefficient, np.ones_like(coefficient))
        kept = slice(None, None, self.every)
        data = grid_graph(coefficient[kept, kept], solution[kept, kept])
        data.sample = torch.tensor([index])
        return data


def grid_graph(coefficient: np.ndarray, solution: np.ndarray) -> Data:
    """Fields ``[n, n]`` on a grid over the unit square as a graph; rows follow x, columns y."""
    n = len(coefficient)
    axis = np.linspace(0, 1, n)
    markers = np.full((n, n), BOUNDARY, dtype=np.int8)
    markers[1:-1, 1:-1] = INTERIOR
    return solution_graph(
        np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2),
        quad_cells(n, n)["cells"].numpy(),
        QUAD,
        markers.ravel(),
        inputs=[coefficient.ravel()],
        targets=[solution.ravel()],
    )
