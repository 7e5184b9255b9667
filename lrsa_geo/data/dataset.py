"""StoreDataset: the graphs of a MeshStore as a PyG data set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from lrsa_geo.data.augment import Images, random_numbers
from lrsa_geo.data.steps import StepView
from lrsa_geo.data.store import MeshStore
from lrsa_geo.mesh import Neighbourhoods, RandomNodes, RandomPatches, with_edges
from lrsa_geo.mesh.random_nodes import scaled

EDGE_BYTES = 1 << 30  # of edges that a process keeps of graphs that it does not keep

_OfMesh = TypeVar("_OfMesh", Tensor, Neighbourhoods)


class StoreDataset(Dataset):
    """Graphs of a :class:`MeshStore` for PyG's ``DataLoader``, with transforms.

    Slices, index lists and masks give parts of it, as of any PyG data set. A graph carries its
    number in the store as ``graph``, a step of a series that of the series. It can be handed to
    worker processes.

    Args:
        store: the graphs.
        graphs: numbers of those that belong to the data set; None for all.
        arrays: arrays of each graph, others are not read; None for all. ``"edge_index"``, where the
            store has none, is made by :func:`with_edges` once and kept.
        transform: applied to every graph that is read. Where it makes several images of a graph
            (:class:`Mirror`), all count: image k of graph i has the number ``k len(graphs) + i``.
        in_memory: keep what has been read. The steps of series are read anew each time, which costs
            little more: kept, they would take as many times the memory as an example has steps.
        draw: of each graph the nodes that are read, as this transform draws them; the others never
            are, but that :class:`RandomPatches` looks once at positions and edges of a mesh. With
            edges it must be that one; not with images, or with steps of series.
        seed: of the random numbers of the transform; they depend on it, the epoch and the number of
            the graph alone. None for PyTorch's own.

    Raises:
        ValueError: the store has no such array.
    """

    def __init__(
        self,
        store: MeshStore,
        graphs: Sequence[int] | None = None,
        arrays: Sequence[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        in_memory: bool = False,
        seed: int | None = None,
        draw: RandomNodes | RandomPatches | None = None,
    ) -> None:
        self._images = Images(transform)
        super().__init__(None, self._images.rest)
        self.store = store
        self.graphs = list(range(len(store)) if graphs is None else graphs)
        self.arrays = list(store.arrays if arrays is None else arrays)
        self.in_memory = in_memory and not isinstance(store, StepView)
        self.draw = draw
        fixed = isinstance(store, StepView) or self._images.count > 1
        fixed |= "edge_index" in self.arrays and not isinstance(draw, RandomPatches)
        if draw is not None and (fixed or in_memory):
            raise ValueError(
                f"`draw` is {draw}, which draws from graphs as they are read only where they are"
                " not kept, without images and steps, and without edges if it is no RandomPatches;"
                " give it as the transform"
            )
        self.seed = seed
        missing = set(self.arrays) - {*store.arrays, "edge_index"}
        if missing:
            raise ValueError(
                f"{store.path}: the graphs have no {sorted(missing)}, which is asked for; they have"
                f" {', '.join(store.arrays)}"
                + ("; --model.use_measure false does without" if "measure" in missing else "")
            )
        self._whole = arrays is None
        self._read = [array for array in self.arrays if array in store.arrays]
        self._makes_edges = "edge_index" not in store.arrays and "edge_index" in self.arrays
        self._sizes = store.num_nodes
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()  # workers see it, too
        self._kept: dict[int, Data] = {}
        self._edges: dict[int, Tensor] = {}
        self._near: dict[int, Neighbourhoods] = {}
        self._edge_bytes = 0

    def len(self) -> int:
        """Number of graphs, all images counted."""
        return len(self.graphs) * self._images.count

    @property
    def sizes(self) -> np.ndarray:
        """Nodes of each graph before the transform, all images counted; no graph is read."""
        return np.tile(self._sizes[self.graphs], self._images.count)

    def get(self, idx: int) -> Data:
        """Graph or image number ``idx``, before the transform."""
        data = self._kept.get(idx)
        if data is None:
            image, original = divmod(idx, len(self.graphs))
            data = self._images(self._original(self.graphs[original]), image)
            if self.in_memory:
                self._kept[idx] = data
        return copy.copy(data)

    def __getitem__(self, idx: Any) -> Any:
        random = self.transform is not None or self.draw is not None
        if self.seed is None or not random or not hasattr(idx, "__index__"):
            return super().__getitem__(idx)
        number = self.indices()[int(idx)]
        with random_numbers(self.seed, int(self._epoch), number):
            data = self.get(number)
            return data if self.transform is None else self.transform(data)

    def set_epoch(self, epoch: int) -> None:
        """Other random numbers in every epoch."""
        self._epoch.fill_(epoch)

    def _original(self, index: int) -> Data:
        draw = self.draw
        if draw is None or self._sizes[index] <= draw.num_nodes:
            data = self._whole_graph(index)
            if isinstance(draw, RandomPatches):
                data = draw(data)  # the halo of nothing, as graphs of a batch are alike
        elif isinstance(draw, RandomPatches):
            data = self._patches(index, draw)
        else:
            data = self._drawn(index, draw)
        data.graph = self.store.mesh_number(index)
        return data

    def _whole_graph(self, index: int) -> Data:
        if self._whole:
            data: Data = self.store[index]
        else:
            data = Data(**self.store.arrays_of(index, self._read))
            data.num_nodes = int(self._sizes[index])
        if self._makes_edges:
            data.edge_index = self._edges_of(index)
        return data

    def _drawn(self, index: int, draw: RandomNodes) -> Data:
        size = int(self._sizes[index])
        drawn = draw.choose(size, lambda nodes: self.store.rows_of(index, ["pos"], nodes)["pos"])
        data = self._rows(index, drawn)
        return scaled(data, size / draw.num_nodes)

    def _patches(self, index: int, draw: RandomPatches) -> Data:
        drawn = draw.choose(self._neighbourhoods(index))
        data = self._rows(index, drawn.nodes)
        data.edge_index, data.halo = drawn.edge_index, drawn.halo
        return scaled(data, drawn.share)

    def _rows(self, index: int, nodes: Tensor) -> Data:
        arrays = [array for array in self._read if array != "edge_index"]
        data = Data(**self.store.rows_of(index, arrays, nodes))
        data.num_nodes = len(nodes)
        return data

    def _neighbourhoods(self, index: int) -> Neighbourhoods:
        def work_out() -> Neighbourhoods:
            mesh = with_edges(self.store[index])
            return Neighbourhoods(mesh.pos, mesh.edge_index)

        return self._once(self._near, self.store.mesh_number(index), work_out)

    def _edges_of(self, index: int) -> Tensor:
        def work_out() -> Tensor:
            return with_edges(self.store[index]).edge_index.to(torch.int32)

        return self._once(self._edges, self.store.mesh_number(index), work_out).long()

    def _once(
        self, kept: dict[int, _OfMesh], mesh: int, work_out: Callable[[], _OfMesh]
    ) -> _OfMesh:
        """What is worked out of a mesh, kept while there is room and the graphs are not."""
        if mesh in kept:
            return kept[mesh]
        made = work_out()
        if not self.in_memory and self._edge_bytes < EDGE_BYTES:
            kept[mesh] = made
            self._edge_bytes += made.nbytes
        return made

    def __repr__(self) -> str:
        return f"StoreDataset({self.store.path}, {len(self)} graphs)"
