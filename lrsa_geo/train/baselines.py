"""What predicts without learning: the mean of the training, and its nearest case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import Cases, MeshStore, StoreDataset, describe_case
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.surrogate import Surrogate

MAX_TRAIN_NODES = 20_000_000  # that are read, in evenly chosen graphs
MAX_TEST_NODES = 4_000_000  # that are interpolated at
_POINTS = "pos"


class Baselines:
    """Predictions that take no training, to see what an error is worth.

    - The *training mean*: at every node the mean value of the field over the nodes of the training
      graphs; where all graphs have the same cells, the mean over the graphs at that node.
    - The *nearest case*: the field of the training graph that is most alike, each node taking the
      value of the node that is nearest there. Alike are graphs with near conditions, bounding
      boxes, means and standard deviations of positions and features, each column over its standard
      deviation in training.

    Args:
        surrogate: has the statistics of the training.
        store: its graphs, with the surrogate's columns.
        train: numbers of the training graphs; of very large sets evenly chosen ones are used.
        test: numbers of the test graphs, likewise.
    """

    def __init__(
        self, surrogate: Surrogate, store: MeshStore, train: Sequence[int], test: Sequence[int]
    ) -> None:
        self.surrogate = surrogate
        self.store = store
        self.train = _some(store, train, MAX_TRAIN_NODES)
        self.test = _some(store, test, MAX_TEST_NODES)
        self.by_node = self._have_one_mesh()
        self._mean = surrogate.normalizer.y.shift.cpu()
        described = [self._described(graph) for graph in self.train]
        relative = surrogate.config.relative_positions
        self._cases = Cases.of(self.train, described, relative_positions=relative)
        if self.by_node:
            self._mean = self._mean_at_nodes()

    def _have_one_mesh(self) -> bool:
        graphs = [*self.train, *self.test]
        if len(set(self.store.num_nodes[graphs].tolist())) > 1 or "cells" not in self.store.arrays:
            return False
        first = self.store.arrays_of(graphs[0], ["cells"])["cells"]
        return all(
            torch.equal(self.store.arrays_of(graph, ["cells"])["cells"], first)
            for graph in graphs[1:]
        )

    def _mean_at_nodes(self) -> Tensor:
        total, count = torch.zeros(1), torch.zeros(1)
        for graph in self.train:
            y = self.store.arrays_of(graph, ["y"])["y"].double()
            total = total + y.nan_to_num()
            count = count + ~y.isnan()
        return torch.where(count > 0, total / count.clamp(min=1), self._mean).float()

    def _read(self, graph: int) -> dict[str, Tensor]:
        arrays = [a for a in ("x", "cond") if a in self.surrogate.signature.fields]
        return self.store.arrays_of(graph, [_POINTS, *arrays])

    def _places(self, pos: Tensor) -> Tensor:
        """Positions of order one, from the middle of the mesh if only relative ones count."""
        pos = pos.double()
        if self.surrogate.config.relative_positions and len(pos):
            pos = pos - pos.mean(0)
        return self.surrogate.normalizer.pos.cpu()(pos).double()

    def _described(self, graph: int) -> Tensor:
        relative = self.surrogate.config.relative_positions
        return describe_case(self._read(graph), relative_positions=relative)

    def nearest(self, graph: int) -> int:
        """Number of the training graph that is most like a graph of the store."""
        return self._cases.nearest(self._described(graph))[0]

    def of_nearest(self, graph: int) -> Tensor:
        """``[N, K]``: the targets of the nearest training graph, at the nodes of this one."""
        like = self.store.arrays_of(self.nearest(graph), [_POINTS, "y"])
        here = self.store.arrays_of(graph, [_POINTS])[_POINTS]
        tree = cKDTree(self._places(like[_POINTS]).numpy())
        rows = torch.from_numpy(tree.query(self._places(here).numpy())[1])
        guess = like["y"][rows]
        return torch.where(guess.isnan(), self.of_mean(graph), guess)

    def of_mean(self, graph: int) -> Tensor:
        """``[N, K]``: the mean of the training at the nodes of a graph."""
        return self._mean.expand(int(self.store.num_nodes[graph]), -1)

    def report(self, objective: Objective) -> dict[str, Any]:
        """Mean error of both on the test graphs, for each field, and what they were taken of."""
        names = [field.name for field in objective.fields]
        arrays = list(dict.fromkeys([*objective.arrays, _POINTS]))
        dataset = StoreDataset(self.store, self.test, arrays)
        errors: dict[str, list[Tensor]] = {"training_mean": [], "nearest_case": []}
        for i, graph in enumerate(self.test):
            data = dataset[i]
            assert isinstance(data, Data)
            batch = Batch.from_data_list([data])
            for kind, guess in (
                ("training_mean", self.of_mean(graph)),
                ("nearest_case", self.of_nearest(graph)),
            ):
                errors[kind].append(objective.errors(guess, batch)[0])
        means = {kind: torch.stack(each).nanmean(0) for kind, each in errors.items()}
        return {
            "fields": {
                name: {kind: float(mean[i]) for kind, mean in means.items()}
                for i, name in enumerate(names)
            },
            "training_mean_at": "each node" if self.by_node else "all nodes",
            "training_graphs": len(self.train),
            "test_graphs": len(self.test),
        }


def _some(store: MeshStore, graphs: Sequence[int], most: int) -> list[int]:
    """Evenly chosen graphs with nodes, of about ``most`` nodes together."""
    sizes = store.num_nodes
    there = [graph for graph in graphs if sizes[graph]]
    step = max(1, math.ceil(float(np.sum(sizes[there])) / most)) if there else 1
    return there[::step]
