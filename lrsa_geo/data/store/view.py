"""StoreView: a store seen in another way."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from lrsa_geo.data.store.store import MeshStore


class StoreView(MeshStore):
    """A store seen in another way: what a view does not change is that of the store.

    Args:
        store: what is seen.
    """

    def __init__(self, store: MeshStore) -> None:
        self.store = store
        self.path, self.version = store.path, store.version
        self.fields, self.provenance = store.fields, store.provenance
        self.sha256 = store.sha256

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes of every graph."""
        return self.store.num_nodes

    @property
    def num_steps(self) -> np.ndarray:
        """Steps of every graph."""
        return self.store.num_steps

    @property
    def is_series(self) -> bool:
        """Whether the graphs of the store are series."""
        return self.store.is_series

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that every graph has."""
        return self.store.arrays

    def __len__(self) -> int:
        return len(self.store)

    def mesh_number(self, index: int) -> int:
        """A number that graphs on one and the same mesh of the file share."""
        return self.store.mesh_number(index)

    def _graph(
        self, index: int, only: Container[str] | None = None, nodes: np.ndarray | None = None
    ) -> dict[str, Any]:
        return self.store._graph(index, only, nodes)

    def window(self, index: int, first: int, last: int, arrays: list[str]) -> dict[str, Tensor]:
        """Steps ``first`` to ``last - 1`` of some arrays of a series."""
        return self.store.window(index, first, last, arrays)

    def read(self, array: str) -> np.ndarray:
        """One array of all graphs of the store, concatenated, as it is on disk."""
        return self.store.read(array)

    def pieces(self, array: str) -> Iterator[np.ndarray]:
        """The same in pieces."""
        return self.store.pieces(array)

    def verify(self) -> None:
        """Recompute the digest of the store."""
        self.store.verify()

    def close(self) -> None:
        """Give the files of the store back to the system."""
        self.store.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__
