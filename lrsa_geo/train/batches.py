"""Batches by their number of nodes: as many graphs as fit, alike in all processes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import numpy as np
from torch.utils.data import Dataset, DistributedSampler
from torch_geometric.data import Data

from lrsa_geo.data import StoreDataset

# How far the order in which graphs are placed is from that of their sizes; the first that fits.
JITTERS = (np.inf, 0.5, 0.1, 0.0)


class GraphLists(Dataset):
    """Lists of graphs of a data set, for a loader whose sampler gives the numbers of a batch.

    Args:
        dataset: the graphs.
    """

    def __init__(self, dataset: StoreDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, numbers: Sequence[int]) -> list[Data]:
        return [self.dataset[number] for number in numbers]


class NodeBatches(DistributedSampler):
    """The graphs of each batch: together at most so many nodes, and at least one graph.

    A training has the same number of batches in every epoch and process, and those of a step are
    alike in nodes. Their number is that of filling batches one after the other in a drawn order. In
    every epoch each graph, in a new order, goes to the batch that has the fewest nodes yet; batches
    that are neighbours by nodes then make a step, one for each process, and the steps are shuffled.
    Where the graphs do not fit in that order they come more and more by their size, and at last as
    they were first drawn. All follows from seed and epoch, in every process alike. Without
    ``shuffle`` the batches are filled in the order of the graphs.

    No graph is left out; where they do not make a batch for every process in each step, some come
    twice.

    Args:
        dataset: the graphs.
        sizes: nodes of each graph that a batch has.
        max_nodes: of a batch; a graph with more is a batch of its own.
        batch_size: most graphs of a batch.
        replicas: number of processes.
        rank: which one this is.
        seed: of the order.
        shuffle: a new order in every epoch.

    Examples:
        >>> import torch
        >>> from lrsa_geo.train.batches import NodeBatches
        >>> sizes = [30, 10, 20, 20, 10, 30]
        >>> sampler = NodeBatches(sizes, sizes, max_nodes=40, batch_size=8, shuffle=False)
        >>> list(sampler)
        [[0, 1], [2, 3], [4, 5]]
    """

    def __init__(
        self,
        dataset: StoreDataset | Sequence[int],
        sizes: Sequence[int] | np.ndarray,
        max_nodes: int,
        batch_size: int,
        replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        super().__init__(dataset, replicas, rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.sizes = np.maximum(np.asarray(sizes, dtype=np.int64), 1)
        self.max_nodes = max_nodes
        self.batch_size = batch_size
        self.replicas = replicas
        order = np.arange(len(self.sizes))
        if shuffle:
            order = np.random.default_rng([seed]).permutation(order)
        filled = self._one_after_the_other(order)
        self._steps = -(-len(filled) // replicas)
        self._first = self._split(filled, self._steps * replicas)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        return iter([step[self.rank] for step in self.steps()])

    def set_epoch(self, epoch: int) -> None:
        """Another order in every epoch, and other random numbers of the data set."""
        super().set_epoch(epoch)
        if isinstance(self.dataset, StoreDataset) and self.shuffle:
            self.dataset.set_epoch(epoch)

    def steps(self) -> list[list[list[int]]]:
        """The batches of each process, step by step."""
        count = self._steps * self.replicas
        if not self.shuffle:
            return self._in_steps(self._first)
        rng = np.random.default_rng([self.seed, 1 + self.epoch])
        placed = (self._placed(rng, jitter, count) for jitter in JITTERS)
        batches = next((found for found in placed if found is not None), self._first)
        by_nodes = sorted(batches, key=lambda batch: int(self.sizes[batch].sum()))
        steps = self._in_steps(by_nodes)
        for step in steps:
            rng.shuffle(step)
        rng.shuffle(steps)
        return steps

    def _in_steps(self, batches: list[list[int]]) -> list[list[list[int]]]:
        starts = range(0, len(batches), self.replicas)
        return [batches[start : start + self.replicas] for start in starts]

    def _one_after_the_other(self, order: np.ndarray) -> list[list[int]]:
        batches: list[list[int]] = []
        nodes = 0
        for graph in order.tolist():
            size = int(self.sizes[graph])
            if not batches or nodes + size > self.max_nodes or len(batches[-1]) == self.batch_size:
                batches.append([])
                nodes = 0
            batches[-1].append(graph)
            nodes += size
        return batches

    def _split(self, batches: list[list[int]], count: int) -> list[list[int]]:
        """So many batches, by halving those with the most graphs; graphs of one batch stay near."""
        batches = list(batches)
        while 0 < len(batches) < count:
            longest = max(range(len(batches)), key=lambda number: len(batches[number]))
            batch, half = batches[longest], len(batches[longest]) // 2
            if half:
                batches[longest : longest + 1] = [batch[:half], batch[half:]]
            else:
                batches.append(batches[len(batches) % len(self.sizes)])
        return batches

    def _placed(
        self, rng: np.random.Generator, jitter: float, count: int
    ) -> list[list[int]] | None:
        """Each graph to the batch with the fewest nodes; None if one does not fit."""
        noise = rng.standard_normal(len(self.sizes))
        key = noise if np.isinf(jitter) else np.log(self.sizes) + jitter * noise
        key = np.where(self.sizes > self.max_nodes, np.inf, key)  # these need a batch of their own
        order = np.argsort(-key, kind="stable").tolist()
        order = list(islice(cycle(order), max(count, len(order))))
        batches: list[list[int]] = [[] for _ in range(count)]
        heap = [(0, number) for number in range(count)]
        for graph in order:
            if not heap:
                return None
            nodes, number = heap[0]
            with_it = nodes + int(self.sizes[graph])
            if nodes and with_it > self.max_nodes:
                return None
            batches[number].append(graph)
            if len(batches[number]) == self.batch_size:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (with_it, number))
        return batches
