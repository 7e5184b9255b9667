"""MeshStore: many meshes of different sizes in one HDF5 file.

Layout, format version 1 (G graphs; each array is the concatenation over graphs)::

    /                attrs: format, version, provenance (JSON), fields (JSON), sha256
    /offsets/node    [G + 1] int64   graph g owns rows offsets[g]:offsets[g+1] of a node array
    /offsets/cell    [G + 1] int64   the same for cells,
    /offsets/edge    [G + 1] int64   and for edges
    /node/pos        [sum N, D]      and x, y, measure, boundary where they exist
    /cell/cells      [sum K, V]      node numbers within the graph, -1 where a cell has fewer;
                                     and cell_types [sum K], VTK's numbers
    /edge/edge_index [sum E, 2]      (transposed on disk), edge_attr [sum E, A]
    /graph/cond      [G, P]          and sample [G]
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.fields import Field, Fields, total_width
from lrsa_geo.data.files import atomic_path

FORMAT = "lrsa_geo.MeshStore"
VERSION = 1
# The arrays of a Data that a store keeps, and what their first axis counts.
KIND_OF_ARRAY = {
    "pos": "node",
    "x": "node",
    "y": "node",
    "measure": "node",
    "boundary": "node",
    "cells": "cell",
    "cell_types": "cell",
    "edge_index": "edge",
    "edge_attr": "edge",
    "cond": "graph",
    "sample": "graph",
}
KINDS = ("node", "cell", "edge")
NAMED_ARRAYS = ("x", "y", "cond")
_CHUNK_BYTES = 1 << 18
_FLUSH_BYTES = 1 << 24


class StoreError(ValueError):
    """A file is not a readable MeshStore, or a graph cannot be kept in one."""


class MeshStore:
    """Random access to the graphs of one HDF5 file.

    ``store[i]`` reads graph ``i`` alone and returns it as a PyG ``Data`` with the arrays of
    DESIGN's table (``pos``, ``x``, ``y``, ``cells``, ...). The file is opened on first use, once
    per process, so a store can be handed to the workers of a ``DataLoader``.

    Args:
        path: file written by :meth:`write`.

    Attributes:
        fields: names, units and vector components of the columns of ``x``, ``y`` and ``cond``.
        provenance: how the file was made (recipe, seed, library versions).
        sha256: digest of the contents, see :meth:`verify`.

    Raises:
        StoreError: the file is missing, is not a MeshStore, or has a newer format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid: int | None = None
        attrs = self._read_header()
        self.provenance: dict[str, Any] = json.loads(attrs["provenance"])
        self.fields: dict[str, Fields] = {
            array: tuple(Field.from_dict(f) for f in described)
            for array, described in json.loads(attrs["fields"]).items()
        }
        self.sha256 = str(attrs["sha256"])

    def _read_header(self) -> dict[str, Any]:
        if not self.path.is_file():
            raise StoreError(f"{self.path}: no such file; make it with `lrsa-geo data make`")
        try:
            with h5py.File(self.path, "r") as file:
                attrs = dict(file.attrs)
                if attrs.get("format") != FORMAT:
                    raise StoreError(f"{self.path}: an HDF5 file, but not a {FORMAT}")
                if attrs["version"] > VERSION:
                    raise StoreError(
                        f"{self.path}: format version {attrs['version']}, this library reads up to"
                        f" {VERSION}; install a newer lrsa_geo"
                    )
                self._offsets = {kind: file[f"offsets/{kind}"][:] for kind in KINDS}
                self._arrays = {
                    array: kind
                    for array, kind in KIND_OF_ARRAY.items()
                    if kind in file and array in file[kind]
                }
        except (OSError, KeyError) as error:
            raise StoreError(f"{self.path}: not a readable HDF5 MeshStore ({error})") from error
        return attrs

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes of every graph, ``[G]``, without reading a graph."""
        return np.diff(self._offsets["node"])

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that every graph has."""
        return list(self._arrays)

    def __len__(self) -> int:
        return len(self._offsets["node"]) - 1

    def __iter__(self) -> Iterator[Data]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Data:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: graph {index} of {len(self)}")
        index = int(index) % len(self)
        data = Data()
        for array, kind in self._arrays.items():
            if kind == "graph":
                rows = self._handle[kind][array][index : index + 1]
            else:
                first, last = self._offsets[kind][index : index + 2]
                rows = self._handle[kind][array][first:last]
            data[array] = torch.from_numpy(rows.T.copy() if array == "edge_index" else rows)
        data.num_nodes = int(self.num_nodes[index])
        return data

    def read(self, array: str) -> np.ndarray:
        """One array of all graphs, concatenated, as it is on disk."""
        if array not in self._arrays:
            raise StoreError(f"{self.path}: no array '{array}', it has {self.arrays}")
        return self._handle[self._arrays[array]][array][:]

    @property
    def _handle(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():  # a forked worker opens its own
            self._file, self._pid = h5py.File(self.path, "r"), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": None}

    def __repr__(self) -> str:
        return f"MeshStore({self.path}, {len(self)} graphs)"

    def verify(self) -> None:
        """Recompute the digest of the contents.

        Raises:
            StoreError: the arrays are not those that were written.
        """
        found = _digest(self._handle)
        if found != self.sha256:
            raise StoreError(
                f"{self.path}: contents have SHA-256 {found}, the file was written with"
                f" {self.sha256}; delete it and make it again"
            )

    @staticmethod
    def write(
        path: str | Path,
        graphs: Iterable[Data],
        fields: dict[str, Fields],
        provenance: dict[str, Any] | None = None,
    ) -> MeshStore:
        """Write graphs to ``path``, which appears complete or not at all.

        Args:
            path: target; an existing file is replaced when the last graph has been written.
            graphs: consumed one by one, so a generator of any length works.
            fields: meaning of the columns of ``x``, ``y`` and ``cond``, as far as they exist.
            provenance: anything JSON can hold that tells how the graphs were made.

        Raises:
            StoreError: there is no graph, a graph has no ``pos``, lacks an array that the first one
                has, or has an array of the wrong shape.
        """
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            _write_graphs(file, graphs, fields)
            file.attrs["format"] = FORMAT
            file.attrs["version"] = VERSION
            file.attrs["provenance"] = json.dumps(provenance or {}, sort_keys=True)
            file.attrs["fields"] = json.dumps(
                {array: [f.to_dict() for f in described] for array, described in fields.items()}
            )
            file.attrs["sha256"] = _digest(file)
        return MeshStore(path)


def _write_graphs(file: h5py.File, graphs: Iterable[Data], fields: dict[str, Fields]) -> None:
    offsets: dict[str, list[int]] = {kind: [0] for kind in KINDS}
    pending: dict[str, list[np.ndarray]] = {}
    pending_bytes = 0
    row_shapes: dict[str, tuple[int, ...]] = {}
    for number, data in enumerate(graphs):
        arrays = _arrays_of(data, number, fields)
        if pending and arrays.keys() != pending.keys():
            raise StoreError(
                f"graph {number} has arrays {sorted(arrays)}, the ones before it"
                f" {sorted(pending)}; all graphs of a store have the same"
            )
        for array, rows in arrays.items():
            shape = row_shapes.setdefault(array, rows.shape[1:])
            if rows.shape[1:] != shape:
                raise StoreError(
                    f"graph {number}: '{array}' has rows of shape {rows.shape[1:]}, those before it"
                    f" of {shape}"
                )
            pending.setdefault(array, []).append(rows)
            pending_bytes += rows.nbytes
        counts = {"node": len(arrays["pos"])}
        counts["cell"] = len(arrays["cells"]) if "cells" in arrays else 0
        counts["edge"] = len(arrays["edge_index"]) if "edge_index" in arrays else 0
        for kind in KINDS:
            offsets[kind].append(offsets[kind][-1] + counts[kind])
        if pending_bytes > _FLUSH_BYTES:
            _flush(file, pending)
            pending_bytes = 0
    if len(offsets["node"]) == 1:
        raise StoreError("no graph to write")
    _flush(file, pending)
    for kind in KINDS:
        file[f"offsets/{kind}"] = np.asarray(offsets[kind], dtype=np.int64)


def _flush(file: h5py.File, pending: dict[str, list[np.ndarray]]) -> None:
    for array, parts in pending.items():
        if not parts:
            continue
        rows = np.concatenate(parts)
        name = f"{KIND_OF_ARRAY[array]}/{array}"
        if name not in file:
            row_bytes = max(1, rows.nbytes // max(1, len(rows)))
            chunk = (max(1, _CHUNK_BYTES // row_bytes), *rows.shape[1:])
            file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=chunk)
        else:
            dataset = file[name]
            dataset.resize(len(dataset) + len(rows), axis=0)
            dataset[-len(rows) or len(dataset) :] = rows
        parts.clear()


def _arrays_of(data: Data, number: int, fields: dict[str, Fields]) -> dict[str, np.ndarray]:
    """The arrays of a graph as they go to disk, checked."""
    unknown = sorted(set(data.keys()) - KIND_OF_ARRAY.keys() - {"num_nodes"})
    if unknown:
        raise StoreError(f"graph {number}: a store keeps {list(KIND_OF_ARRAY)}, not {unknown}")
    if data.get("pos") is None:
        raise StoreError(f"graph {number} has no 'pos'")
    arrays = {}
    for array, kind in KIND_OF_ARRAY.items():
        value = data.get(array)
        if value is None:
            continue
        rows = value.detach().cpu().numpy()
        rows = rows.T if array == "edge_index" else rows
        wanted = {"node": len(data.pos), "graph": 1}.get(kind)
        if wanted is not None and len(rows) != wanted:
            raise StoreError(
                f"graph {number}: '{array}' has shape {tuple(value.shape)},"
                f" expected {wanted} rows (one per {kind})"
            )
        if array in NAMED_ARRAYS:
            width = total_width(fields.get(array, ()))
            if rows.ndim != 2 or rows.shape[1] != width:
                raise StoreError(
                    f"graph {number}: '{array}' has shape {tuple(value.shape)}, but `fields` names"
                    f" {width} columns for it"
                )
        arrays[array] = rows
    for array in ("cells", "edge_index"):
        rows = arrays.get(array)
        lowest = -1 if array == "cells" else 0
        if (
            rows is not None
            and rows.size
            and not lowest <= rows.min() <= rows.max() < len(data.pos)
        ):
            raise StoreError(
                f"graph {number}: '{array}' points at nodes {rows.min()} to {rows.max()},"
                f" it has {len(data.pos)}"
            )
    return arrays


def _digest(file: h5py.File) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    for name in sorted(names):
        dataset = file[name]
        digest.update(f"{name} {dataset.dtype.str} {dataset.shape}".encode())
        rows = max(
            1, _FLUSH_BYTES // max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])))
        )
        for first in range(0, len(dataset), rows):
            digest.update(np.ascontiguousarray(dataset[first : first + rows]).tobytes())
    return digest.hexdigest()
