"""Batches of graphs from a MeshStore."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import lightning
from torch.utils.data import DistributedSampler
from torch_geometric.loader import DataLoader

from lrsa_geo.data import MeshStore, Split, StoreDataset, make_split, transform_of
from lrsa_geo.simulate import make_store, recipe_class
from lrsa_geo.train.config import DataConfig


def split_of(config: DataConfig, store: MeshStore) -> Split:
    """The parts of a store: those of ``split_file`` if there is one, or of ``split``.

    Raises:
        ValueError: it asks for what the store does not have.
    """
    if config.split_file is not None:
        return Split.load(config.split_file, len(store))
    return make_split(store, config.split)


class _EpochSampler(DistributedSampler):
    """Tells the data set the epoch, on which its random numbers depend."""

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        assert isinstance(self.dataset, StoreDataset)
        self.dataset.set_epoch(epoch)


class StoreDataModule(lightning.LightningDataModule):
    """Loaders of the three parts of a store.

    The order of an epoch's batches depends on the seed and the number of the epoch alone, so a run
    that was resumed sees the batches that an unbroken one would have seen.

    Args:
        store: the graphs.
        config: batch size, split, workers.
        arrays: arrays that the model and its objective read.
        seed: of the order of the training graphs.
    """

    def __init__(self, store: MeshStore, config: DataConfig, arrays: list[str], seed: int) -> None:
        super().__init__()
        self.store = store
        self.config = config
        self.arrays = list(dict.fromkeys(arrays))
        self.seed = seed
        self.split = split_of(config, store)

    def dataset(self, part: Literal["train", "val", "test"]) -> StoreDataset:
        """The graphs of a part; those for training with their augmentation."""
        transform = None
        if part == "train":
            transform = transform_of(self.config.augment, self.store.fields)
        return StoreDataset(
            self.store,
            getattr(self.split, part),
            self.arrays,
            transform,
            self.config.in_memory,
            self.seed,
        )

    def _loader(self, part: Literal["train", "val", "test"]) -> DataLoader:
        dataset = self.dataset(part)
        sampler = None
        if part == "train":
            trainer = self.trainer  # None where the loaders are used on their own
            world_size, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
            sampler = _EpochSampler(dataset, world_size, rank, seed=self.seed)
        return DataLoader(
            dataset,
            self.config.batch_size,
            sampler=sampler,
            num_workers=self.config.num_workers,
            persistent_workers=self.config.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader:
        """Shuffled training graphs."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader:
        """Validation graphs in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        """Test graphs in order."""
        return self._loader("test")


def prepare_store(config: DataConfig) -> MeshStore:
    """Open the store of a configuration, made first if it is missing and a recipe is named.

    Raises:
        StoreError: the file is missing, damaged, or made by another recipe.
    """
    if config.recipe is None:
        return MeshStore(config.path)
    if not Path(config.path).exists():
        settings = {} if config.samples is None else {"samples": config.samples}
        recipe = recipe_class(config.recipe)(**settings)
        return make_store(recipe, config.path)
    store = MeshStore(config.path)
    store.verify()
    return store
