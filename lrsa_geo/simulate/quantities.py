"""What an engineer reads off the fields of a data set, beside their peaks; needs no solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh import pressure_force

Quantities = Callable[[Data, Tensor], dict[str, float]]
"""What can be read off the fields ``y [N, K]`` of a graph, by name."""

# Markers of an airfoil's nodes, kept in `Data.boundary`.
INTERIOR, AIRFOIL, FAR = range(3)


def lift_coefficient(data: Data, pressure: Tensor) -> float:
    """Lift per span over (rho U^2 / 2) times the chord, from the pressure on the airfoil.

    Args:
        data: a graph of the recipe "airfoil".
        pressure: ``[N]`` pressure coefficient at the nodes.
    """
    angle = float(data.cond[0, 1]) * np.pi / 180
    force = pressure_force(data, pressure, AIRFOIL)
    return float(force[1] * np.cos(angle) - force[0] * np.sin(angle))


def _of_airfoil(data: Data, y: Tensor) -> dict[str, float]:
    return {"lift": lift_coefficient(data, y[:, 0])}


QUANTITIES: dict[str, Quantities] = {"airfoil": _of_airfoil}
"""What can be read off the fields of a recipe's graphs, by the name of the recipe."""
