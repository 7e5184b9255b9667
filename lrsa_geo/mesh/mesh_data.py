"""MeshData: a mesh, or the graph of one, that batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.mesh.cell_table import CellTable
from lrsa_geo.mesh.cells import TYPE_OF_WIDTH, is_known
from lrsa_geo.mesh.errors import MeshError

# What the first axis of an array of a mesh counts; `cond` has one row for each graph.
# Name -> axes; the last ones are of series.
NODE_ARRAYS = {"x": 2, "y": 2, "measure": 1, "boundary": 1, "passive": 1, "given": 2, "later": 2}
NODE_ARRAYS |= {"halo": 1, "states": 3, "x_t": 3, "pos_t": 3}
_TABLES = ("point_data", "cell_data")


class MeshData(Data):
    """A mesh or point cloud, as a PyG ``Data`` whose cells batch as its edges do.

    What :func:`read_mesh`, ``MeshStore[i]`` and ``GraphReader`` return. N nodes, K cells, E edges,
    B graphs; all but ``pos`` may be absent:

    - ``pos [N, D]``, ``x [N, F]``, ``y [N, C]``, ``measure [N]``, ``boundary [N]``,
      ``cond [B, P]``, ``edge_index [2, E]``, ``edge_attr [E, A]``;
    - ``cells [K, V]``, padded with -1, and ``cell_types [K]``, VTK's numbers;
    - ``point_data`` and ``cell_data``: name -> array of N or K rows;
    - of a series of T steps ``states [N, T, C]``, ``times [T]``, and what else is known of each
      time: ``x_t [N, T, F]``, ``pos_t [N, T, D]``, ``cond_t [T, P]``.

    In ``Batch.from_data_list`` the nodes of each graph's cells move up by the nodes before them,
    padding stays -1, and tables of different widths are padded to the widest; ``batch[i]`` gives
    the graph back as it was. Names inside ``point_data`` and ``cell_data`` mean nothing to PyG,
    be it "index", "face" or "batch".
    """

    @property
    def cells(self) -> CellTable:
        """Nodes of each cell, ``[K, V]``, -1 where it has fewer than V."""
        return self._store.cells

    @cells.setter
    def cells(self, cells: Tensor | None) -> None:
        self._store.cells = CellTable.of(cells)

    def __setitem__(self, key: str, value: Any) -> None:
        self._store[key] = CellTable.of(value) if key == "cells" else value

    def table(self, where: object = "data") -> tuple[np.ndarray, np.ndarray]:
        """``cells [K, V]`` and ``cell_types [K]`` as arrays, see :func:`table_of`."""
        return table_of(self, where)

    @property
    def is_passive(self) -> Tensor:
        """``[N] bool``: nodes that read the field and do not influence it.

        Those of measure 0, and those marked in ``passive``.
        """
        passive = torch.zeros(len(self.pos), dtype=torch.bool, device=self.pos.device)
        if self.get("measure") is not None:
            passive |= self.measure == 0
        if self.get("passive") is not None:
            passive |= self.passive.bool()
        return passive

    @property
    def markers(self) -> list[int]:
        """The values that occur in ``boundary``, ascending; none if there is no boundary."""
        boundary = self.get("boundary")
        return [] if boundary is None else boundary.unique().tolist()

    def to_dict(self) -> dict[str, Any]:
        """The arrays by name, cells as a plain tensor: for ``torch.save`` and other programs."""
        arrays = super().to_dict()
        if isinstance(arrays.get("cells"), CellTable):
            arrays["cells"] = arrays["cells"].plain()
        return arrays

    def validate(self, raise_on_error: bool = True) -> bool:
        """Check shapes and node numbers.

        Raises:
            MeshError: the first fault, with name, shape found and shape expected. With
                ``raise_on_error=False`` all are warned of.
        """
        faults = list(self._faults())
        for fault in faults:
            if raise_on_error:
                raise MeshError(fault)
            warnings.warn(fault, stacklevel=2)
        return not faults

    def _faults(self) -> Iterator[str]:
        pos = self.get("pos")
        if pos is None or pos.dim() != 2 or pos.shape[1] not in (2, 3):
            yield f"'pos' {_found(pos)}, expected [N, 2] or [N, 3]"
            return
        nodes = len(pos)
        for name, axes in NODE_ARRAYS.items():
            expected: list[int | str] = [nodes, "*", "*"]
            yield from _shape(name, self.get(name), expected[:axes])
        yield from _shape(
            "cond", self.get("cond"), [self.num_graphs if _is_batch(self) else 1, "*"]
        )
        cells, edges = self.get("cells"), self.get("edge_index")
        yield from _shape("cells", cells, ["K", "V"])
        yield from _shape("edge_index", edges, [2, "E"])
        if cells is not None and cells.dim() == 2:
            yield from _shape("cell_types", self.get("cell_types"), [len(cells)])
            yield from _in_range("cells", cells, -1, nodes)
        if edges is not None and edges.dim() == 2:
            yield from _shape("edge_attr", self.get("edge_attr"), [edges.shape[1], "*"])
            yield from _in_range("edge_index", edges, 0, nodes)
        if self.get("cell_types") is not None:
            unknown = [int(t) for t in self.cell_types.unique() if not is_known(int(t))]
            if unknown:
                yield f"'cell_types' holds {unknown}, expected VTK's linear or quadratic cells"
        rows = {"point_data": nodes, "cell_data": 0 if cells is None else len(cells)}
        for table, count in rows.items():
            for name, values in (self.get(table) or {}).items():
                if values.dim() == 0 or len(values) != count:
                    yield f"'{name}' of `{table}` {_found(values)}, expected {count} rows"

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """The axis along which PyG joins an array."""
        if self._is_plain(key, value):
            return 0
        return super().__cat_dim__(key, value, *args, **kwargs)

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """What PyG adds to the numbers in an array, for each graph before."""
        if self._is_plain(key, value):
            return 0
        if key == "pos":
            return _Increment.of(self)
        if key == "cells":
            if not isinstance(value, CellTable) and value.numel() and int(value.min()) < 0:
                raise ValueError(
                    f"`cells` of shape {list(value.shape)} is padded with -1 and a plain tensor,"
                    " to which an offset cannot be added; set it as an attribute:"
                    " `data.cells = cells`"
                )
            return self.num_nodes
        return super().__inc__(key, value, *args, **kwargs)

    def _is_plain(self, key: str, value: Any) -> bool:
        """Whether nothing in an array counts nodes, by its name or for want of one.

        The names inside ``point_data`` and ``cell_data`` arrive here like those of the mesh.
        """
        is_special = key in ("pos", "cells", "face") or "index" in key or "batch" in key
        return not is_special or self._store.get(key) is not value


class _Increment(Tensor):
    """An increment of 0 that knows the mesh it is for.

    PyG's collate takes the names of arrays from the first graph, and silently drops what only later
    ones have. It stacks the increments of all graphs: the one place where they meet.
    """

    _names: tuple[list[str], ...]

    @staticmethod
    def of(data: Data) -> _Increment:
        increment: _Increment = torch.zeros((), dtype=torch.long).as_subclass(_Increment)
        store = data._store
        arrays = [key for key in ("cells", *_TABLES) if key in store]
        increment._names = (arrays, *(sorted(store[key]) for key in _TABLES if key in store))
        return increment

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.stack:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        names = [increment._names for increment in args[0]]
        for number, other in enumerate(names):
            if other != names[0]:
                raise MeshError(
                    f"graph {number} has {_listed(other)}, graph 0 has {_listed(names[0])}; the"
                    " graphs of a batch need the same"
                )
        return torch.zeros(len(names), dtype=torch.long)


def _listed(names: tuple[list[str], ...]) -> str:
    arrays, *tables = names
    fields = dict(zip([key for key in arrays if key in _TABLES], tables, strict=True))
    return ", ".join(f"`{a}` {fields[a]}" if a in fields else f"`{a}`" for a in arrays) or "neither"


def table_of(data: Data, where: object = "data") -> tuple[np.ndarray, np.ndarray]:
    """``cells [K, V]`` and ``cell_types [K]`` of a graph; K = 0 if it has no cells.

    Types that are missing are guessed from D and V.

    Raises:
        MeshError: they cannot be guessed, or ``data`` is a batch of plain ``Data``, whose cells all
            count from the first node of their own graph; the message begins with ``where``.
    """
    cells, cell_types = data.get("cells"), data.get("cell_types")
    if cells is None:
        return np.empty((0, 1), dtype=np.int32), np.empty(0, dtype=np.int8)
    if _is_batch(data) and not isinstance(data, MeshData):
        raise MeshError(f"{where}: the cells of a batch of `Data` do not batch; use `MeshData`")
    if cell_types is None:
        number = TYPE_OF_WIDTH.get((data.pos.shape[1], cells.shape[1]))
        if number is None or (cells < 0).any():
            raise MeshError(
                f"{where}: cells of shape {list(cells.shape)} can be several types; set"
                " `data.cell_types` to VTK's numbers"
            )
        cell_types = torch.full((len(cells),), number, dtype=torch.int8)
    return cells.detach().cpu().numpy(), cell_types.detach().cpu().numpy()


def positions_of(data: Data) -> np.ndarray:
    """``pos`` as a float64 array."""
    return data.pos.detach().cpu().double().numpy()


def _is_batch(data: Data) -> bool:
    return isinstance(data, Batch)


def _found(values: Any) -> str:
    return "is missing" if values is None else f"has shape {list(values.shape)}"


def _shape(name: str, values: Tensor | None, expected: list[int | str]) -> Iterator[str]:
    """A fault if there are values and their shape is another; words stand for any number."""
    if values is None:
        return
    fits = values.dim() == len(expected) and all(
        isinstance(wanted, str) or wanted == found
        for wanted, found in zip(expected, values.shape, strict=True)
    )
    if not fits:
        yield f"'{name}' {_found(values)}, expected [{', '.join(map(str, expected))}]"


def _in_range(name: str, numbers: Tensor, lowest: int, nodes: int) -> Iterator[str]:
    if numbers.numel() and not lowest <= int(numbers.min()) <= int(numbers.max()) < nodes:
        yield (
            f"'{name}' points at nodes {int(numbers.min())} to {int(numbers.max())}, expected"
            f" {max(lowest, 0)} to {nodes - 1}"
        )
