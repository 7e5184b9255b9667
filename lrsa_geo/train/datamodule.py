"""Batches of graphs from a MeshStore."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from lrsa_geo.data import (
    MeshStore,
    Split,
    StepView,
    StoreDataset,
    is_one_file,
    make_split,
    open_store,
    transform_of,
)
from lrsa_geo.mesh import RandomNodes, RandomPatches
from lrsa_geo.nn import GraphLayout
from lrsa_geo.simulate import make_store, recipe_class
from lrsa_geo.train.batches import GraphLists, NodeBatches
from lrsa_geo.train.config import DataConfig

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


def split_of(config: DataConfig, store: MeshStore) -> Split:
    """The parts of a store: those of ``split_file`` if there is one, or of ``split``.

    Series are split as wholes: the steps of one are in one part.

    Raises:
        ValueError: it asks for what the store does not have.
    """
    store = store.series if isinstance(store, StepView) else store
    if config.split_file is not None:
        return Split.load(config.split_file, len(store))
    return make_split(store, config.split)


def training_graphs(config: DataConfig, store: MeshStore) -> list[int]:
    """Numbers of the graphs of a store that a configuration trains on.

    Raises:
        ValueError: there is none.
    """
    split = split_of(config, store)
    if not split.train:
        raise ValueError(f"data.split leaves no graph to train on: {split}")
    return split.train


class _EpochSampler(DistributedSampler):
    """Tells the data set the epoch, on which its random numbers depend."""

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        assert isinstance(self.dataset, StoreDataset)
        self.dataset.set_epoch(epoch)


def _batch(
    graphs: list[Data],
    layout: Callable[[Batch], GraphLayout] | None,
    together: bool,
    prepare: Callable[[Batch], None] | None,
) -> Batch:
    batch = Batch.from_data_list(graphs)
    if prepare is not None:
        prepare(batch)
    if layout is not None:
        batch.layout = layout(batch).together() if together else layout(batch)
    return batch


class StoreDataModule(lightning.LightningDataModule):
    """Loaders of the three parts of a store.

    The order of an epoch's batches depends on the seed and the number of the epoch alone, so a run
    that was resumed sees the batches that an unbroken one would have seen.

    Args:
        store: the graphs.
        config: batch size, split, workers.
        arrays: arrays that the model and its objective read.
        seed: of the order of the training graphs.
        layout: works out what a model's layers need to know of a batch, see :func:`layout_of`; kept
            in the batch as ``layout``, and moved with it.
        together: of training batches, the form for a compiled model, see
            :meth:`GraphLayout.together`.
        hops: edges that messages pass one after the other in a step of training.
        prepare: puts into a training batch what the loss looks for, see :meth:`Objective.prepare`.
    """

    def __init__(
        self,
        store: MeshStore,
        config: DataConfig,
        arrays: list[str],
        seed: int,
        layout: Callable[[Batch], GraphLayout] | None = None,
        together: bool = False,
        hops: int = 0,
        prepare: Callable[[Batch], None] | None = None,
    ) -> None:
        super().__init__()
        self.hops = hops
        self.prepare = prepare
        self.layout = layout
        self.together = together
        self.store = store
        self.config = config
        self.arrays = list(dict.fromkeys(arrays))
        self.seed = seed
        self.split = split_of(config, store)
        self._epoch = 0  # that the training begins with

    def dataset(self, part: Part) -> StoreDataset:
        """The graphs of a part; those for training with their augmentation."""
        store, graphs = self.store, getattr(self.split, part)
        if part != "train":
            return self._dataset(store, graphs, self.arrays, None)
        draw = self._draw() if self._draws_while_reading(store) else None
        return self._dataset(store, graphs, self.arrays, self._augmentation(store), draw)

    def samples(self, part: Part) -> StoreDataset:
        """One graph for each number of the split, in its order."""
        return self.dataset(part)

    def _augmentation(self, store: MeshStore) -> BaseTransform | None:
        """What the configuration does to the training graphs of a store once they are read."""
        steps: list[Any] = list(self.config.augment)
        draw = None if self._draws_while_reading(store) else self._draw()
        return transform_of([*steps, *([] if draw is None else [draw])], store.fields)

    def _draw(self) -> RandomNodes | RandomPatches | None:
        """What draws the nodes of training graphs."""
        drawn, patch = self.config.nodes_per_graph, self.config.patch
        if drawn is None:
            return None
        if patch is None or not self.hops:
            return RandomNodes(drawn, stratified=self.config.stratified)
        return RandomPatches(drawn, patch, self.hops)

    def _draws_while_reading(self, store: MeshStore) -> bool:
        """Whether of training graphs the drawn nodes alone are read."""
        if self.config.in_memory or self.config.augment or isinstance(store, StepView):
            return False
        return "edge_index" not in self.arrays or isinstance(self._draw(), RandomPatches)

    def _dataset(
        self,
        store: MeshStore,
        graphs: list[int],
        arrays: list[str],
        transform: BaseTransform | None,
        draw: RandomNodes | RandomPatches | None = None,
    ) -> StoreDataset:
        in_memory = self.config.in_memory
        return StoreDataset(store, graphs, arrays, transform, in_memory, self.seed, draw)

    def _loader(self, part: Part) -> DataLoader:
        dataset = self.dataset(part)
        trainer = self.trainer  # None where the loaders are used on their own
        world_size, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        batch_size: int | None = self.config.batch_size
        graphs: Any = dataset
        sampler: DistributedSampler | None = None
        if self.config.max_nodes is not None:
            sampler = self._node_batches(dataset, part == "train", world_size, rank)
            graphs, batch_size = GraphLists(dataset), None  # the sampler says what a batch has
        elif part == "train":
            sampler = _EpochSampler(dataset, world_size, rank, seed=self.seed)
        if sampler is not None and part == "train":
            sampler.set_epoch(self._epoch)
        return DataLoader(
            graphs,
            batch_size,
            sampler=sampler,
            collate_fn=partial(
                _batch,
                layout=self.layout,
                together=self.together and part == "train",
                prepare=self.prepare if part == "train" else None,
            ),
            num_workers=self.config.num_workers,
            persistent_workers=self.config.num_workers > 0,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Copy a batch with its layout to a GPU, beside the work that it still has."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def _node_batches(
        self, dataset: StoreDataset, shuffle: bool, world_size: int, rank: int
    ) -> NodeBatches:
        assert self.config.max_nodes is not None
        sizes = dataset.sizes
        if shuffle and self.config.nodes_per_graph is not None:
            sizes = np.minimum(sizes, self.config.nodes_per_graph)
        most, batch_size = self.config.max_nodes, self.config.batch_size
        return NodeBatches(dataset, sizes, most, batch_size, world_size, rank, self.seed, shuffle)

    def check(self) -> None:
        """Find out what is wrong with the configuration before the training does.

        Raises:
            ValueError: a setting of the loaders is impossible, or the augmentation does not work on
                the first graph.
        """
        for part in PARTS:
            self._loader(part)
        if not self.config.augment and self.config.nodes_per_graph is None:
            return
        graphs = self.dataset("train")
        try:
            graph = graphs[len(graphs) - 1]
        except Exception as error:  # a transform may raise anything
            raise ValueError(f"data.augment: {type(error).__name__}: {error}") from error
        lacking = [a for a in self.arrays if not isinstance(graph, Data) or graph.get(a) is None]
        if lacking:
            raise ValueError(f"data.augment: the transforms leave no {lacking} in a graph")

    def state_dict(self) -> dict[str, int]:
        """For the checkpoint: the epoch that comes next."""
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return {"epoch": progress.processed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """From the checkpoint: workers read ahead before Lightning tells the sampler the epoch."""
        self._epoch = state_dict["epoch"]

    def train_dataloader(self) -> DataLoader:
        """Shuffled training graphs."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Validation graphs in order; no loader if there are none."""
        return self._loader("val") if self.split.val else []

    def test_dataloader(self) -> DataLoader:
        """Test graphs in order."""
        return self._loader("test")


def prepare_store(config: DataConfig) -> MeshStore:
    """Open the store of a configuration, made first if it is missing and a recipe is named.

    Raises:
        StoreError: the file is missing, or its contents are not those that were written (which is
            looked at unless ``verify`` is false).
    """
    if config.recipe is not None and is_one_file(config.path) and not Path(config.path).exists():
        settings = {} if config.samples is None else {"samples": config.samples}
        recipe = recipe_class(config.recipe)(**settings)
        return make_store(recipe, config.path)
    store = open_store(config.path)
    if config.verify:
        store.verify()
    return store
