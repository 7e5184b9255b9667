"""ShardedStore: several store files, read as one."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lrsa_geo.data.store.agree import check_alike, check_no_graph_twice
from lrsa_geo.data.store.format import StoreError
from lrsa_geo.data.store.names import is_one_file, missing_names, shard_files
from lrsa_geo.data.store.store import MeshStore

MAX_OPEN = 64  # files of a store that a process has open at a time


class ShardedStore(MeshStore):
    """Several MeshStore files as one store: the graphs of each after those of the one before.

    All that reads a MeshStore reads it, from training to comparison. Files are opened when a graph
    of theirs is read, at most 64 at a time in each process, and mapped into memory together no more
    than one file would be.

    Fields, units, arrays, types and, where they came from mesh files, the way of reading are those
    of all shards. ``sha256`` is the digest of theirs in order. ``provenance`` has what is the same
    for all, and in ``"shards"`` for each its file, its first graph, its digest and the rest.

    Args:
        path: pattern (``"shards/part-*.h5"``) or folder.
        files: those that it names, in the order of their graphs; by default all that are there, in
            natural order (2 before 10).

    Attributes:
        shards: the stores of the files.
        missing: names or numbers of shards that are known not to be there; a warning tells of them,
            too.

    Raises:
        StoreError: there is no file; one is no store; two do not agree, in the message by name; a
            graph is there twice.

    Examples:
        >>> import tempfile, torch
        >>> from torch_geometric.data import Data
        >>> from lrsa_geo.data import MeshStore, open_store
        >>> from lrsa_geo.mesh import Field
        >>> folder = tempfile.TemporaryDirectory()
        >>> for part in range(2):
        ...     graphs = [Data(pos=torch.rand(5 + i, 2), y=torch.rand(5 + i, 1)) for i in range(3)]
        ...     _ = MeshStore.write(f"{folder.name}/part-{part}.h5", graphs, {"y": (Field("p"),)})
        >>> store = open_store(f"{folder.name}/part-*.h5")
        >>> len(store), store.num_nodes.tolist(), store[4].num_nodes
        (6, [5, 6, 7, 5, 6, 7], 6)
        >>> store.close()
        >>> folder.cleanup()
    """

    def __init__(self, path: str | Path, files: Sequence[str | Path] | None = None) -> None:
        self.path = Path(path)
        names = shard_files(path) if files is None else [Path(file) for file in files]
        if not names:
            raise StoreError(f"{path}: no file to read")
        self.shards = [MeshStore(name) for name in names]
        first = self.shards[0]
        for other in self.shards[1:]:
            check_alike(first, other)
        check_no_graph_twice(self.shards)
        size = sum(name.stat().st_size for name in names)
        for shard in self.shards:
            shard._size_of_all = size
        self._recent: OrderedDict[int, None] = OrderedDict()  # open shards, the last used one last
        self._first = np.cumsum([0, *map(len, self.shards)])
        self._kinds, self._rows = first._kinds, first._rows
        self.fields = first.fields
        self.version = min(shard.version for shard in self.shards)
        digests = "\n".join(shard.sha256 for shard in self.shards)
        self.sha256 = hashlib.sha256(digests.encode()).hexdigest()
        self.provenance = self._joint_provenance()
        unnumbered = [s.path for s in self.shards if "shard" not in s.provenance]
        self.missing = [*self._missing_numbers(), *missing_names(unnumbered)]
        if self.missing:
            warnings.warn(
                f"{path}: one store of {len(names)} file{'s' * (len(names) > 1)}, of which"
                f" {', '.join(self.missing)} {'is' if len(self.missing) == 1 else 'are'} missing",
                stacklevel=2,
            )

    def _joint_provenance(self) -> dict[str, Any]:
        """What is the same for all shards, and what is each one's own."""
        made = [shard.provenance for shard in self.shards]
        own = {"appended", "shard"}  # which speak of the graphs of one file
        joint = {
            key: value
            for key, value in made[0].items()
            if key not in own and all(other.get(key) == value for other in made)
        }
        joint["shards"] = [
            {
                "file": str(shard.path),
                "first": int(first),
                "graphs": len(shard),
                "sha256": shard.sha256,
                **{key: value for key, value in shard.provenance.items() if key not in joint},
            }
            for first, shard in zip(self._first, self.shards, strict=False)
        ]
        return joint

    def _missing_numbers(self) -> list[str]:
        """Of shards that know their number and their count, those that are not there."""
        there: dict[tuple[str, int], set[int]] = defaultdict(set)
        for shard in self.shards:
            if (place := shard.provenance.get("shard")) is not None:
                recipe = json.dumps(shard.provenance.get("recipe"), sort_keys=True)
                there[recipe, place["of"]].add(place["number"])
        return [
            f"shard {number}/{of}"
            for (_, of), numbers in there.items()
            for number in sorted({*range(1, of + 1)} - numbers)
        ]

    def _opened_shard(self, number: int) -> MeshStore:
        """A shard that is to be read; the one that was read longest ago is closed for it."""
        self._recent[number] = None
        self._recent.move_to_end(number)
        if len(self._recent) > MAX_OPEN:
            oldest, _ = self._recent.popitem(last=False)
            self.shards[oldest].close()
        return self.shards[number]

    def place(self, index: int) -> tuple[int, int]:
        """Number of the shard of a graph, and that of the graph in it."""
        index = range(len(self))[index]
        shard = int(np.searchsorted(self._first, index, "right")) - 1
        return shard, index - int(self._first[shard])

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes of every graph, ``[G]``, without reading a graph."""
        return np.concatenate([shard.num_nodes for shard in self.shards])

    @property
    def num_steps(self) -> np.ndarray:
        """Steps of every graph, ``[G]``; 0 of graphs that are no series."""
        return np.concatenate([shard.num_steps for shard in self.shards])

    def _graph(
        self, index: int, only: Container[str] | None = None, nodes: np.ndarray | None = None
    ) -> dict[str, Any]:
        shard, number = self.place(index)
        return self._opened_shard(shard)._graph(number, only, nodes)

    def window(self, index: int, first: int, last: int, arrays: list[str]) -> dict[str, Tensor]:
        """Steps ``first`` to ``last - 1`` of some arrays of a series; the rest is not read."""
        shard, number = self.place(index)
        return self._opened_shard(shard).window(number, first, last, arrays)

    def read(self, array: str) -> np.ndarray:
        """One array of all graphs, concatenated, as it is on disk; it must fit into memory."""
        return np.concatenate([shard.read(array) for shard in self._in_turn()])

    def pieces(self, array: str) -> Iterator[np.ndarray]:
        """The same in pieces of about 16 MiB or less."""
        for shard in self._in_turn():
            yield from shard.pieces(array)

    def _in_turn(self) -> Iterator[MeshStore]:
        return map(self._opened_shard, range(len(self.shards)))

    def verify(self) -> None:
        """Recompute the digests of the contents; reads all files.

        Raises:
            StoreError: the arrays of one are not those that were written.
        """
        for shard in self._in_turn():
            shard.verify()

    def close(self) -> None:
        """Give the files back to the system; the next read opens what it needs again."""
        for number in self._recent:
            self.shards[number].close()
        self._recent.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recent": OrderedDict()}

    def __repr__(self) -> str:
        return f"ShardedStore({self.path}, {len(self.shards)} files, {len(self)} graphs)"


def open_store(path: str | Path) -> MeshStore:
    """A store by its name: a file, or a pattern or folder of files that are read as one.

    Args:
        path: ``"mine.h5"``; ``"shards/*.h5"``, in which ``**`` goes into folders; or a folder.

    Returns:
        A :class:`MeshStore`; of a pattern or a folder a :class:`ShardedStore`.

    Raises:
        StoreError: see both.
    """
    return MeshStore(path) if is_one_file(path) else ShardedStore(path)
