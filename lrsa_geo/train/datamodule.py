"""Batches of graphs from a MeshStore."""

from __future__ import annotations

from pathlib import Path

import lightning
from torch.utils.data import Dataset, DistributedSampler
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from lrsa_geo.data import MeshStore, Split, make_split
from lrsa_geo.mesh import Axis, mirrored, with_edges
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


class StoreSubset(Dataset):
    """Some graphs of a store, reduced to the arrays that training needs.

    Args:
        store: where they are.
        indices: which ones.
        arrays: which arrays of each.
        in_memory: keep what has been read.
        mirrors: axis and position of planes; every graph counts once more with its mirror image in
            each of them (and in each combination).
    """

    def __init__(
        self,
        store: MeshStore,
        indices: list[int],
        arrays: list[str],
        in_memory: bool,
        mirrors: dict[Axis, float] | None = None,
    ) -> None:
        self.store = store
        self.indices = indices
        self.arrays = arrays
        self.in_memory = in_memory
        self.mirrors = list((mirrors or {}).items())
        self._kept: dict[int, Data] = {}

    def __len__(self) -> int:
        return len(self.indices) << len(self.mirrors)

    def __getitem__(self, number: int) -> Data:
        if number in self._kept:
            return self._kept[number]
        image, number_of_original = divmod(number, len(self.indices))
        index = self.indices[number_of_original]
        whole = self.store[index]
        if "edge_index" in self.arrays:
            whole = with_edges(whole)
        data = Data(**{array: whole[array] for array in self.arrays})
        data.num_nodes = whole.num_nodes
        data.graph = index
        for bit, (axis, position) in enumerate(self.mirrors):
            if image >> bit & 1:
                data = mirrored(data, axis, position, self.store.fields)
        if self.in_memory:
            self._kept[number] = data
        return data


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

    def _loader(self, indices: list[int], train: bool = False) -> DataLoader:
        mirrors = self.config.mirrors if train else None
        subset = StoreSubset(self.store, indices, self.arrays, self.config.in_memory, mirrors)
        sampler: DistributedSampler | None = None
        if train:
            trainer = self.trainer  # None where the loaders are used on their own
            world_size, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
            sampler = DistributedSampler(subset, world_size, rank, seed=self.seed)
        return DataLoader(
            subset,
            self.config.batch_size,
            sampler=sampler,
            num_workers=self.config.num_workers,
            persistent_workers=self.config.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader:
        """Shuffled training graphs."""
        return self._loader(self.split.train, train=True)

    def val_dataloader(self) -> DataLoader:
        """Validation graphs in order."""
        return self._loader(self.split.val)

    def test_dataloader(self) -> DataLoader:
        """Test graphs in order."""
        return self._loader(self.split.test)


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
