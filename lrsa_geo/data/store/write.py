"""Writing MeshStore files: check and spool graphs, then pack them into a file of known size."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from torch_geometric.data import Data

from lrsa_geo.data.store.format import (
    FORMAT,
    KIND_OF_ARRAY,
    KINDS,
    NAMED_ARRAYS,
    SERIES_KINDS,
    VERSION,
    VERSION_WITHOUT_SERIES,
    StoreError,
    blocks,
    digest,
)
from lrsa_geo.mesh.fields import Fields, total_width

COMPRESSIONS = (None, "gzip", "lzf")
_CHUNK_BYTES = (
    1 << 16
)  # of compressed arrays: a small graph should not unpack much more than itself

# The arrays of a file, by their full names, as what can be sliced: of a file, or still in a spool.
Arrays = dict[str, np.ndarray] | dict[str, h5py.Dataset]
Form = Mapping[str, tuple[np.dtype, list[int]]]  # type and shape of each array of a graph


def write_sized(
    path: Path,
    graphs: Iterable[Data],
    forms: Iterable[Form],
    fields: dict[str, Fields],
    provenance: dict[str, Any],
    compression: str | None = None,
) -> None:
    """Write a whole store of graphs whose arrays are known beforehand: each goes to disk once."""
    with h5py.File(path, "w", libver=("v108", "latest")) as file:
        target = _SizedFile(file, forms, fields, compression)
        target.extend(graphs)
        target.finish()
        _label(file, fields, provenance, [])


def write_file(
    path: Path,
    sources: list[Arrays],
    fields: dict[str, Fields],
    provenance: dict[str, Any],
    compression: str | None = None,
    earlier: list[str] | None = None,
) -> None:
    """Write a whole store: the graphs of each source after those of the one before."""
    with h5py.File(path, "w", libver=("v108", "latest")) as file:  # attributes above 64 KiB
        pack(file, sources, compression)
        _label(file, fields, provenance, earlier or [])


def _label(
    file: h5py.File, fields: dict[str, Fields], provenance: dict[str, Any], earlier: list[str]
) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION if "state" in file else VERSION_WITHOUT_SERIES
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    file.attrs["fields"] = json.dumps(
        {array: [f.to_dict() for f in described] for array, described in fields.items()}
    )
    file.attrs["earlier"] = json.dumps(earlier)
    file.attrs["sha256"] = digest(file)


def pack(file: h5py.File, sources: list[Arrays], compression: str | None = None) -> None:
    """Lay the arrays of the sources behind each other into an empty file.

    An array that is not compressed becomes one contiguous range of bytes.
    """
    for name in sources[0]:
        parts = [source[name] for source in sources]
        if name.startswith("offsets/"):
            sizes = np.concatenate([np.diff(part[:]) for part in parts])
            file[name] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            continue
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        storage = _storage(shape, parts[0].dtype, compression)
        dataset = file.create_dataset(name, shape, parts[0].dtype, **storage)
        first = 0
        for part in parts:
            for block in blocks(part):
                dataset[first : first + len(block)] = block
                first += len(block)


def _storage(shape: tuple[int, ...], dtype: np.dtype, compression: str | None) -> dict[str, Any]:
    if compression is None or 0 in shape:
        return {}
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
    rows = min(shape[0], max(1, _CHUNK_BYTES // row_bytes))
    return {"chunks": (rows, *shape[1:]), "compression": compression, "shuffle": True}


class Spool:
    """Graphs on their way into a store, each array in a nameless file of its own.

    The operating system removes the files however the process ends.

    Args:
        folder: where there is room for them: that of the store.
        fields: columns of ``x``, ``y`` and ``cond``.
        like: arrays of a store that the graphs must match.
    """

    def __init__(self, folder: Path, fields: dict[str, Fields], like: Arrays | None = None) -> None:
        self._folder = folder
        self._fields = fields
        self._files: dict[str, BinaryIO] = {}
        self._rows: dict[str, int] = {}
        self._offsets: dict[str, list[int]] = {kind: [0] for kind in (*KINDS, *SERIES_KINDS)}
        # Type and shape of a row of each array, fixed by the first graph.
        self._form: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        for name, array in (like or {}).items():
            kind, _, short = name.partition("/")
            if kind != "offsets":
                self._form[short] = array.dtype, array.shape[1:]

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def __len__(self) -> int:
        return len(self._offsets["node"]) - 1

    def extend(self, graphs: Iterable[Data]) -> None:
        """Check and take graphs, one by one.

        Raises:
            StoreError: there is none, or one does not fit; the message names its number.
        """
        for number, data in enumerate(graphs):
            self._add(_arrays_of(data, number, self._fields), number)
        if not len(self):
            raise StoreError("no graph to write")

    def _add(self, arrays: dict[str, np.ndarray], number: int) -> None:
        if not self._form:
            self._form = {array: (rows.dtype, rows.shape[1:]) for array, rows in arrays.items()}
        if arrays.keys() != self._form.keys():
            raise StoreError(
                f"graph {number} has arrays {sorted(arrays)}, the ones before it"
                f" {sorted(self._form)}; all graphs of a store have the same"
            )
        for array, rows in arrays.items():
            dtype, shape = self._form[array]
            if rows.shape[1:] != shape:
                raise StoreError(
                    f"graph {number}: '{array}' has rows of shape {rows.shape[1:]}, those before it"
                    f" of {shape}"
                )
            if rows.dtype != dtype:
                raise StoreError(
                    f"graph {number}: '{array}' is of type {rows.dtype}, those before it of {dtype}"
                )
            self._put(array, rows)
            self._rows[array] = self._rows.get(array, 0) + len(rows)
        counts = {
            "node": len(arrays["pos"]),
            "cell": len(arrays.get("cells", ())),
            "edge": len(arrays.get("edge_index", ())),
            "state": len(arrays.get("states", ())),
            "step": len(arrays.get("times", ())),
        }
        for kind, offsets in self._offsets.items():
            offsets.append(offsets[-1] + counts[kind])

    def _kept_offsets(self) -> dict[str, np.ndarray]:
        """Where each graph begins, by the names of the file; those of series if there are some."""
        kinds = (*KINDS, *(SERIES_KINDS if "states" in self._form else ()))
        return {f"offsets/{kind}": np.asarray(self._offsets[kind], np.int64) for kind in kinds}

    def _put(self, array: str, rows: np.ndarray) -> None:
        if array not in self._files:
            self._files[array] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._files[array].write(rows.tobytes())

    def arrays(self) -> dict[str, np.ndarray]:
        """What was taken, by the full names of a store's arrays."""
        found = self._kept_offsets()
        for array, (dtype, row_shape) in self._form.items():
            file, shape = self._files[array], (self._rows[array], *row_shape)
            file.flush()
            found[f"{KIND_OF_ARRAY[array]}/{array}"] = (
                np.empty(shape, dtype) if 0 in shape else np.memmap(file, dtype, "r", 0, shape)
            )
        return found


class _SizedFile(Spool):
    """Graphs on their way into a store whose arrays already have their final size.

    Args:
        file: empty file.
        forms: of all graphs, in their order.
        fields: columns of ``x``, ``y`` and ``cond``.
        compression: of the arrays.
    """

    def __init__(
        self,
        file: h5py.File,
        forms: Iterable[Form],
        fields: dict[str, Fields],
        compression: str | None,
    ) -> None:
        super().__init__(Path(), fields)
        self._file = file
        self._datasets: dict[str, h5py.Dataset] = {}
        size: dict[str, int] = {}
        for form in forms:
            for array, (dtype, shape) in form.items():
                if array not in KIND_OF_ARRAY:
                    continue  # which is refused with the graph
                rows, *others = shape[::-1] if array == "edge_index" else shape
                if KIND_OF_ARRAY[array] == "state":
                    rows, others = rows * others[0], others[1:]
                size[array] = size.get(array, 0) + rows
                self._form.setdefault(array, (dtype, tuple(others)))
        for array, (dtype, row_shape) in self._form.items():
            whole = (size[array], *row_shape)
            name, options = f"{KIND_OF_ARRAY[array]}/{array}", _storage(whole, dtype, compression)
            self._datasets[array] = file.create_dataset(name, whole, dtype, **options)

    def _put(self, array: str, rows: np.ndarray) -> None:
        first = self._rows.get(array, 0)
        self._datasets[array][first : first + len(rows)] = rows

    def finish(self) -> None:
        """Write where each graph begins.

        Raises:
            StoreError: there were fewer graphs than forms.
        """
        for array, dataset in self._datasets.items():
            if self._rows[array] != len(dataset):
                raise StoreError(
                    f"'{array}' has {self._rows[array]} rows, expected {len(dataset)} by its forms"
                )
        for name, rows in self._kept_offsets().items():
            self._file[name] = rows


def _steps_of(data: Data, number: int) -> int:
    """T of a series, whose times are checked; 0 of a graph that is none."""
    series = [array for array, kind in KIND_OF_ARRAY.items() if kind in SERIES_KINDS]
    there = [array for array in series if data.get(array) is not None]
    if not there:
        return 0
    if missing := {"states", "times"} - set(there):
        raise StoreError(f"graph {number} has {there}, and so is a series, but no {missing}")
    times = data.times.detach().cpu().double()
    if times.dim() != 1 or not times.isfinite().all() or (times.diff() <= 0).any():
        raise StoreError(
            f"graph {number}: 'times' has shape {tuple(times.shape)} and reads"
            f" {[float(t) for t in times.flatten()[:4]]} ..., expected [T] numbers that increase"
        )
    return len(times)


def _arrays_of(data: Data, number: int, fields: dict[str, Fields]) -> dict[str, np.ndarray]:
    """The arrays of a graph as they go to disk, checked."""
    unknown = sorted(set(data.keys()) - KIND_OF_ARRAY.keys() - {"num_nodes"})
    if unknown:
        raise StoreError(f"graph {number}: a store keeps {list(KIND_OF_ARRAY)}, not {unknown}")
    if data.get("pos") is None:
        raise StoreError(f"graph {number} has no 'pos'")
    cells, edge_index = data.get("cells"), data.get("edge_index")
    wanted_rows = {
        "node": len(data.pos),
        "cell": 0 if cells is None else len(cells),
        "edge": 0 if edge_index is None else edge_index.shape[-1],
        "graph": 1,
        "state": len(data.pos),
        "step": _steps_of(data, number),
    }
    arrays = {}
    for array, kind in KIND_OF_ARRAY.items():
        value = data.get(array)
        if value is None:
            continue
        rows = value.detach().cpu().numpy()
        rows = rows.T if array == "edge_index" else rows
        wanted = wanted_rows[kind]
        if len(rows) != wanted:
            raise StoreError(
                f"graph {number}: '{array}' has shape {tuple(value.shape)},"
                f" expected {wanted} rows (one per {'node' if kind == 'state' else kind})"
            )
        if kind == "state":  # [N, T, K] -> [T N, K], step by step
            if rows.ndim != 3 or rows.shape[1] != wanted_rows["step"]:
                raise StoreError(
                    f"graph {number}: '{array}' has shape {tuple(value.shape)}, expected"
                    f" [{wanted}, {wanted_rows['step']}, columns], a row for each node and time"
                )
            rows = rows.transpose(1, 0, 2).reshape(-1, rows.shape[2])
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
