"""MeshStore: many meshes of different sizes in one HDF5 file (layout: ``format.py``)."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.reader import GraphReader
from lrsa_geo.data.store.format import StoreError, blocks, datasets_of, digest
from lrsa_geo.data.store.header import Header
from lrsa_geo.data.store.open_file import OpenFile
from lrsa_geo.data.store.write import COMPRESSIONS, Form, Spool, write_file, write_sized
from lrsa_geo.files import atomic_path
from lrsa_geo.mesh.fields import Fields
from lrsa_geo.mesh.mesh_data import MeshData


class MeshStore:
    """Random access to the graphs of one HDF5 file.

    ``store[i]`` reads graph ``i`` alone and returns it as a :class:`MeshData` (``pos``, ``x``,
    ``y``, ``cells``, ...). The file is opened on first use, once per
    process, so a store can be handed to the workers of a ``DataLoader``; the memory that a process
    needs does not depend on the size of the file.

    A file is never changed in place: writing and appending put a whole new file under its name.
    Who has the old one open goes on reading it, without locks. A process that opens it later (such
    as a worker) reads the same graphs where others were only appended, and refuses a file that
    holds something else. On a network file system keep the old file until its readers have ended.

    Args:
        path: file written by :meth:`write`.

    Attributes:
        fields: names, units and vector components of the columns of ``x``, ``y``, ``cond``, and of
            ``states``, ``x_t`` and ``cond_t`` where the graphs are series.
        provenance: how the file was made (recipe, seed, library versions); ``appended`` lists what
            :meth:`append` added.
        sha256: digest of the contents, see :meth:`verify`.
        version: format version of the file; 1 is read more slowly, see
            :func:`lrsa_geo.data.migrate`.

    Raises:
        StoreError: the file is missing, is not a MeshStore, or has a newer format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._opened: OpenFile | None = None
        self._size_of_all: int | None = None  # bytes, of the files of which this is one
        header = Header.read(self.path)
        self.version = header.version
        self.provenance = header.provenance
        self.fields = header.fields
        self.sha256 = header.sha256
        self._kinds, self._rows, self._offsets = header.kinds, header.rows, header.offsets

    @property
    def reader(self) -> GraphReader | None:
        """How mesh files became its graphs; None if they did not come from files."""
        values = self.provenance.get("reader")
        return None if values is None else GraphReader.from_dict(values)

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes of every graph, ``[G]``, without reading a graph."""
        return np.diff(self._offsets["node"])

    @property
    def num_steps(self) -> np.ndarray:
        """Steps of every graph, ``[G]``; 0 of graphs that are no series."""
        return np.diff(self._offsets["step"])

    @property
    def is_series(self) -> bool:
        """Whether its graphs are series: ``states [N, T, K]`` at ``times [T]``."""
        return "states" in self._kinds

    def mesh_number(self, index: int) -> int:
        """A number that graphs on one and the same mesh of the file share: that of the graph."""
        return index

    def window(self, index: int, first: int, last: int, arrays: list[str]) -> dict[str, Tensor]:
        """Steps ``first`` to ``last - 1`` of some arrays of a series; the rest is not read.

        Args:
            index: number of the graph.
            first, last: steps, counted from 0.
            arrays: among ``states``, ``x_t``, ``pos_t`` (``[N, last - first, columns]``),
                ``times`` and ``cond_t`` (``[last - first, ...]``).

        Raises:
            IndexError: there are no such steps.
        """
        index = range(len(self))[index]
        begin, end = self._offsets["step"][index : index + 2]
        steps = int(end - begin)
        if not 0 <= first < last <= steps:
            raise IndexError(
                f"{self.path}: graph {index} has {steps} steps, asked for are {first} to {last - 1}"
            )
        return self._open().window(index, first, last, arrays)

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that every graph has."""
        return list(self._kinds)

    def __len__(self) -> int:
        return len(self._offsets["node"]) - 1

    def __iter__(self) -> Iterator[MeshData]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> MeshData:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: graph {index} of {len(self)}")
        # `update` takes two thirds of the time that arguments of `MeshData` take.
        return MeshData().update(self._graph(int(index) % len(self)))

    def arrays_of(self, index: int, arrays: list[str]) -> dict[str, Tensor]:
        """Some arrays of graph ``index``; the others are not read."""
        return self._some(index, arrays, None)

    def rows_of(self, index: int, arrays: list[str], nodes: Tensor) -> dict[str, Tensor]:
        """The same at some nodes alone: of arrays of nodes no other row is read.

        Args:
            index: number of the graph.
            arrays: their names.
            nodes: ``[n]`` numbers of the nodes.
        """
        return self._some(index, arrays, nodes.numpy())

    def _some(self, index: int, arrays: list[str], nodes: np.ndarray | None) -> dict[str, Tensor]:
        graph = self._graph(range(len(self))[index], arrays, nodes)
        return {array: graph[array] for array in arrays}

    def _graph(
        self, index: int, only: Container[str] | None = None, nodes: np.ndarray | None = None
    ) -> dict[str, Any]:
        """The arrays of a graph, see :meth:`OpenFile.graph`."""
        return self._open().graph(index, only, nodes)

    def read(self, array: str) -> np.ndarray:
        """One array of all graphs, concatenated, as it is on disk; it must fit into memory."""
        dataset, rows = self._dataset(array)
        return dataset[:rows]

    def pieces(self, array: str) -> Iterator[np.ndarray]:
        """The rows that :meth:`read` gives, in order, in pieces of about 16 MiB.

        Raises:
            StoreError: the graphs have no such array.
        """
        return blocks(*self._dataset(array))

    def _dataset(self, array: str) -> tuple[h5py.Dataset, int]:
        """An array of the file, and its rows; a file that was appended to since has more."""
        if array not in self._kinds:
            raise StoreError(f"{self.path}: no array '{array}', it has {self.arrays}")
        kind = self._kinds[array]
        return self._open().file[kind][array], int(self._offsets[kind][-1])

    def _open(self) -> OpenFile:
        if self._opened is None or self._opened.pid != os.getpid():  # a fork opens its own
            opened = OpenFile(self.path, self._kinds, self._offsets, self._size_of_all)
            if self.sha256 not in opened.digests:
                raise StoreError(
                    f"{self.path}: the file was replaced by one with other contents since this"
                    " MeshStore was made; make a new MeshStore of it"
                )
            self._opened = opened
        return self._opened

    def close(self) -> None:
        """Give the file back to the system; the next read opens it again."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __repr__(self) -> str:
        return f"MeshStore({self.path}, {len(self)} graphs)"

    def verify(self) -> None:
        """Recompute the digest of the contents; reads the whole file.

        Raises:
            StoreError: the arrays are not those that were written.
        """
        opened = self._open()
        found, written = digest(opened.file), opened.digests[0]
        if found != written:
            raise StoreError(
                f"{self.path}: contents have SHA-256 {found}, the file was written with"
                f" {written}; delete it and make it again"
            )

    @staticmethod
    def write(
        path: str | Path,
        graphs: Iterable[Data],
        fields: dict[str, Fields],
        provenance: dict[str, Any] | None = None,
        compression: str | None = None,
        forms: Iterable[Form] | None = None,
    ) -> MeshStore:
        """Write graphs to ``path``, which appears complete or not at all.

        Unless their ``forms`` are known, the arrays are collected in nameless files next to
        ``path`` first, so there must be room for them twice.

        Args:
            path: target; an existing file is replaced when the last graph has been written.
            graphs: consumed one by one, so a generator of any length works.
            fields: meaning of the columns of ``x``, ``y`` and ``cond``, as far as they exist.
            provenance: anything JSON can hold that tells how the graphs were made.
            compression: ``"gzip"`` (smaller) or ``"lzf"`` (faster), both with HDF5's byte shuffle.
                Contents and digest are the same. Triangle meshes of 5,000 nodes take half the room
                and, out of the page cache, thirty times as long to read (2.4 ms, not 0.08), see
                ``tests/benchmarks/test_store_speed.py``: for slow disks and for keeping.
            forms: for each graph, name -> (NumPy type, shape) of each of its arrays.

        Raises:
            StoreError: there is no graph, a graph has no ``pos``, lacks an array that the first one
                has, or has an array of the wrong shape or type; the compression is unknown.
        """
        if compression not in COMPRESSIONS:
            raise StoreError(f"compression '{compression}', expected one of {COMPRESSIONS}")
        about = provenance or {}
        with atomic_path(path) as temporary:
            if forms is not None:
                write_sized(temporary, graphs, forms, fields, about, compression)
            else:
                with Spool(temporary.parent, fields) as spool:
                    spool.extend(graphs)
                    write_file(temporary, [spool.arrays()], fields, about, compression)
        return MeshStore(path)

    @staticmethod
    def append(
        path: str | Path, graphs: Iterable[Data], provenance: dict[str, Any] | None = None
    ) -> MeshStore:
        """Add graphs behind those of an existing store.

        The store is copied with the new graphs into a new file, which takes its name at the end: an
        append that fails or is killed leaves the old store as it was. So it costs reading the old
        store twice and writing it once, and room for a second copy: add many graphs in one call.
        The numbers of the old graphs, the fields and the compression stay.

        Args:
            path: an existing store.
            graphs: consumed one by one; each has the arrays of those in the store.
            provenance: how these graphs were made; kept with their first number and their count in
                ``provenance["appended"]``.

        Raises:
            StoreError: there is no store, it is damaged, a graph does not fit (see :meth:`write`),
                or another process changed the store meanwhile.
        """
        old = MeshStore(path)
        old.verify()  # a new digest must not cover up damage
        opened = old._open()
        before = datasets_of(opened.file)
        compression = next((d.compression for d in before.values() if d.compression), None)
        with atomic_path(path) as temporary, Spool(temporary.parent, old.fields, before) as spool:
            spool.extend(graphs)
            added = {"first": len(old), "graphs": len(spool), "provenance": provenance or {}}
            about = {**old.provenance, "appended": [*old.provenance.get("appended", []), added]}
            sources = [before, spool.arrays()]
            write_file(temporary, sources, old.fields, about, compression, opened.digests)
            if MeshStore(path).sha256 != opened.digests[0]:
                raise StoreError(
                    f"{path}: another process changed the store meanwhile; nothing was appended,"
                    " do it again"
                )
            opened.file.close()  # not every system renames over an open file
        return MeshStore(path)
