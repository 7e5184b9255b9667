"""One series in memory, for what reads the series of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.stepping import Stepping
from lrsa_geo.data.store import MeshStore
from lrsa_geo.data.store.format import VERSION

_OF_NODES = ("states", "x_t", "pos_t")
_OF_STEPS = ("times", "cond_t")


class OneSeries(MeshStore):
    """A series that was read from files, in the place of a store of one series.

    Args:
        graph: with ``states [N, T, K]``, ``times [T]``, and what else a model reads.
        where: its file, for messages.
    """

    def __init__(self, graph: Data, where: str | Path) -> None:
        self.path = Path(where)
        self.graph = graph
        self.version, self.sha256 = VERSION, ""
        self.fields, self.provenance = {}, {}

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that it has."""
        return [key for key in self.graph.to_dict() if isinstance(self.graph[key], Tensor)]

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes, ``[1]``."""
        return np.array([len(self.graph.pos)])

    @property
    def num_steps(self) -> np.ndarray:
        """Steps, ``[1]``."""
        return np.array([len(self.graph.times)])

    @property
    def is_series(self) -> bool:
        """It is."""
        return True

    def __len__(self) -> int:
        return 1

    def arrays_of(self, index: int, arrays: list[str]) -> dict[str, Tensor]:
        """Some arrays of the series."""
        return {array: self.graph[array] for array in arrays}

    def window(self, index: int, first: int, last: int, arrays: list[str]) -> dict[str, Tensor]:
        """Steps ``first`` to ``last - 1`` of some arrays."""
        found = {a: self.graph[a][:, first:last] for a in arrays if a in _OF_NODES}
        return found | {a: self.graph[a][first:last] for a in arrays if a in _OF_STEPS}

    def __repr__(self) -> str:
        return f"OneSeries({self.path})"


def lengthened(graph: Data, stepping: Stepping, steps: int) -> Data:
    """A series with at least so many steps.

    What follows the last one that there is has its values, so that what is prescribed or known
    beforehand stays as it was, at times that are one step of the training, or of the series, apart.

    Args:
        graph: series of at least ``stepping.history`` steps.
        stepping: of the model that predicts it.
        steps: T of the result, if it is more than the series has.

    Raises:
        ValueError: the series is too short; or the length of a step is unknown, or the mesh moves.
    """
    there = len(graph.times)
    if there < max(1, stepping.history):
        raise ValueError(
            f"has {there} steps, and the model reads {stepping.history}; give a series with so many"
        )
    if steps <= there:
        return graph
    if stepping.dim:
        raise ValueError(
            f"has {there} steps of a mesh that moves, asked for are {steps}; give a series with the"
            " positions of all of them"
        )
    length = stepping.time_step
    if length is None and there > 1:
        length = float(graph.times[-1] - graph.times[-2])
    if length is None:
        raise ValueError(
            "has one step, and the steps of the training differ in length; give a series of two or"
            " more, whose last step is gone on with"
        )
    longer, more = graph.clone(), steps - there
    for array in (*_OF_NODES, "cond_t"):
        if graph.get(array) is not None:
            axis = 0 if array == "cond_t" else 1
            last = graph[array].narrow(axis, there - 1, 1)
            longer[array] = torch.cat([graph[array], *[last] * more], axis)
    ahead = torch.arange(1, more + 1, dtype=torch.float64) * length
    longer.times = torch.cat([graph.times, graph.times[-1] + ahead])
    return longer
