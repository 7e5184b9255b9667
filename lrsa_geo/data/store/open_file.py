"""A MeshStore file as one process has it open: mapped arrays, graphs by number."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Container
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from lrsa_geo.data.store.header import Offsets

_CHUNK_CACHE_BYTES = 1 << 20  # of each compressed array in each process
_READ_AHEAD = 1 << 17  # what a system reads around a page that is asked for, by default
RESIDENT_BYTES = 1 << 30  # of a mapped file in the memory of a process, see OpenFile.graph


class OpenFile:
    """A store's file as one process has it open.

    Args:
        path: the file.
        arrays: kind of each array.
        offsets: of each kind, ``[G + 1]``.
        size_of_all: bytes of the files of which it is one, if they are read as one store.

    Attributes:
        digests: that of the file, and those of the states that it was appended to.
    """

    def __init__(
        self,
        path: Path,
        arrays: dict[str, str],
        offsets: Offsets,
        size_of_all: int | None = None,
    ) -> None:
        self.pid = os.getpid()
        # No locks: what is written is a new file, and network file systems may not have them.
        self.file = h5py.File(path, "r", locking=False, rdcc_nbytes=_CHUNK_CACHE_BYTES)
        attrs = self.file.attrs
        self.digests = [str(attrs["sha256"]), *json.loads(attrs.get("earlier", "[]"))]
        self._map: mmap.mmap | None = None
        if os.name == "posix":  # elsewhere HDF5's file descriptor is not Python's
            # The file that is open, whatever bears its name by now.
            self._map = mmap.mmap(self.file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ)
        self._arrays = [
            (array, self._rows_of(f"{kind}/{array}"), kind) for array, kind in arrays.items()
        ]
        self._offsets = offsets
        # Graphs of the mean size that fill this file's share of RESIDENT_BYTES; of little all.
        size = size_of_all or path.stat().st_size
        self._reads_between_drops = 0
        if size > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            num_graphs = len(offsets["node"]) - 1
            self._reads_between_drops = max(1, RESIDENT_BYTES * num_graphs // size)
        self._reads = 0.0

    def _rows_of(self, name: str) -> np.ndarray | h5py.Dataset:
        dataset = self.file[name]
        offset = dataset.id.get_offset()  # None for chunks and for an array without rows
        if self._map is None or offset is None:
            return dataset
        values = np.frombuffer(self._map, dataset.dtype, dataset.size, offset)
        return values.reshape(dataset.shape)

    def graph(
        self, index: int, only: Container[str] | None = None, nodes: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Copies of the arrays of a graph (or ``only`` some) as tensors, and ``num_nodes``.

        Of arrays of nodes, only the rows of ``nodes`` are read, if these are given.

        Pages of the mapped file count as memory of this process until the kernel needs it for
        something else. They are handed back now and then, so that they never grow with the file.
        """
        ends = self._ends(index)
        num_nodes = ends["node"][1] - ends["node"][0]
        values: dict[str, Any] = {}
        for array, rows, kind in self._arrays:
            if only is None or array in only:
                part = rows[slice(*ends[kind])]  # mapped, or of a compressed file read
                if nodes is not None and kind == "node":
                    part = self._picked(part, nodes)
                part = part.T if array == "edge_index" else part
                values[array] = torch.from_numpy(part.copy())
                if kind == "state":
                    values[array] = self._by_node(values[array], num_nodes)
        values["num_nodes"] = num_nodes
        self._hand_back(1.0)
        return values

    def window(self, index: int, first: int, last: int, only: Container[str]) -> dict[str, Tensor]:
        """Copies of the steps ``first`` to ``last - 1`` of some arrays of a series.

        Each is one contiguous read. The steps exist.
        """
        ends = self._ends(index)
        num_nodes, num_steps = (ends[kind][1] - ends[kind][0] for kind in ("node", "step"))
        values: dict[str, Tensor] = {}
        for array, rows, kind in self._arrays:
            if array in only:
                each = num_nodes if kind == "state" else 1
                start = ends[kind][0]
                part = torch.from_numpy(rows[start + first * each : start + last * each].copy())
                values[array] = self._by_node(part, num_nodes) if kind == "state" else part
        self._hand_back((last - first) / num_steps)
        return values

    def _picked(self, rows: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """Some rows; where they are far apart, the system is told to read nothing between them."""
        far_apart = rows.nbytes > _READ_AHEAD * len(nodes)
        if self._map is None or not far_apart or not hasattr(mmap, "MADV_RANDOM"):
            return rows[nodes]
        self._map.madvise(mmap.MADV_RANDOM)
        try:
            return rows[nodes]
        finally:
            self._map.madvise(mmap.MADV_NORMAL)

    def _ends(self, index: int) -> dict[str, tuple[int, int]]:
        """First row of a graph, and the one behind its last, among those of each kind."""
        return {k: (int(rows[index]), int(rows[index + 1])) for k, rows in self._offsets.items()}

    def close(self) -> None:
        """Give back the file, and the map where no array of it is read any more."""
        self._arrays = []
        self._map = None
        self.file.close()

    @staticmethod
    def _by_node(rows: Tensor, num_nodes: int) -> Tensor:
        """``[T N, K]`` -> ``[N, T, K]``, without a copy."""
        steps = len(rows) // num_nodes if num_nodes else 0
        return rows.reshape(steps, num_nodes, rows.shape[1]).transpose(0, 1)

    def _hand_back(self, share: float) -> None:
        """Count a read of a share of a graph; now and then hand the pages back to the kernel."""
        if not self._reads_between_drops or self._map is None:
            return
        self._reads += share
        if self._reads >= self._reads_between_drops:
            self._reads = 0.0
            self._map.madvise(mmap.MADV_DONTNEED)
