"""The layout of a MeshStore file, and what reading and writing it share.

Format version 3 (G graphs; each array is the concatenation over graphs)::

    /                attrs: format, version, provenance (JSON), fields (JSON), sha256, and earlier
                     (JSON): the digests of the states that graphs were appended to
    /offsets/node    [G + 1] int64   graph g owns rows offsets[g]:offsets[g+1] of a node array
    /offsets/cell    [G + 1] int64   the same for cells,
    /offsets/edge    [G + 1] int64   and for edges
    /node/pos        [sum N, D]      and x, y, measure, boundary where they exist
    /cell/cells      [sum K, V]      node numbers within the graph, -1 where a cell has fewer;
                                     and cell_types [sum K], VTK's numbers
    /edge/edge_index [sum E, 2]      (transposed on disk), edge_attr [sum E, A]
    /graph/cond      [G, P]          and sample [G], group [G] (graphs that a split keeps together),
                                     about [G, Q] (facts that are no inputs, named in fields)

and where the graphs are series, of T steps each::

    /offsets/state   [G + 1] int64   graph g has T N rows, step by step,
    /offsets/step    [G + 1] int64   and T rows
    /state/states    [sum T N, K]    fields that change with time, and x_t [sum T N, F] (inputs that
                                     do and are known beforehand), pos_t [sum T N, D] (a mesh that
                                     moves; pos is its first step)
    /step/times      [sum T]         and cond_t [sum T, P]

so that a window of steps of one graph is one contiguous range of bytes. In memory ``states`` is
``[N, T, K]``.

An array is one contiguous range of bytes of the file, which a reader maps into memory, or
compressed in chunks. Version 2 has no series: graphs without are still written in it. In version 1
an array was in chunks without compression, and there was no ``earlier``; such files are read as
they are, more slowly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import h5py
import numpy as np

FORMAT = "lrsa_geo.MeshStore"
VERSION = 3
VERSION_WITHOUT_SERIES = 2
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
    "group": "graph",
    "about": "graph",
    "states": "state",
    "x_t": "state",
    "pos_t": "state",
    "times": "step",
    "cond_t": "step",
}
KINDS = ("node", "cell", "edge")
SERIES_KINDS = ("state", "step")
NAMED_ARRAYS = ("x", "y", "cond", "about", "states", "x_t", "cond_t")
_BLOCK_BYTES = 1 << 24


class StoreError(ValueError):
    """A file is not a readable MeshStore, or a graph cannot be kept in one."""


def datasets_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All arrays of a file by their full names (``node/pos``), sorted."""
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(keep)
    return dict(sorted(found.items()))


def blocks(rows: np.ndarray | h5py.Dataset, count: int | None = None) -> Iterator[np.ndarray]:
    """The rows of an array, or the first ``count`` of them, in pieces of about 16 MiB."""
    count = len(rows) if count is None else count
    row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    return (rows[first : min(first + step, count)] for first in range(0, count, step))


def digest(file: h5py.File) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays; reads them all."""
    sha = hashlib.sha256()
    for name, dataset in datasets_of(file).items():
        sha.update(f"{name} {dataset.dtype.str} {dataset.shape}".encode())
        for block in blocks(dataset):
            sha.update(np.ascontiguousarray(block).tobytes())
    return sha.hexdigest()
