"""Exodus, ``.e .exo .ex2 .exii .g``, through netCDF4.

https://sandialabs.github.io/seacas-docs/exodusII-new.pdf. meshio knows one step, few element names
and takes variables by position; VTK drops variables that are not on all blocks: hence this reader
of the handful of arrays.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.mesh.cells import POLYGON, Blocks, blocks_from_offsets
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import DEFLATE_RATIO, RawMesh, check_counts, check_names
from lrsa_geo.mesh.formats.exodus_sets import sets_of, side_nodes
from lrsa_geo.mesh.formats.netcdf import check_header

SUFFIXES = (".e", ".exo", ".ex2", ".exii", ".g")
_netcdf = threading.Lock()  # the C library may not be entered by two threads

# Element names without their number of nodes -> nodes -> VTK type.
_POINTS, _LINES = {1: 1}, {2: 3, 3: 21}
_TRIANGLES, _QUADS = {3: 5, 6: 22, 7: 34}, {4: 9, 8: 23, 9: 28}
_SHELLS = {**_QUADS, **_TRIANGLES, 2: 3}
_TETRAHEDRA, _HEXAHEDRA = {4: 10, 10: 24}, {8: 12, 20: 25, 27: 29}
_WEDGES, _PYRAMIDS = {6: 13, 15: 26, 18: 32}, {5: 14, 13: 27, 14: 74}
_FAMILIES = {
    **dict.fromkeys(("SPHERE", "CIRCLE", "POINT", "VERTEX", "NODEELEM"), _POINTS),
    **dict.fromkeys(("BAR", "BEAM", "EDGE", "TRUSS", "ROD", "LINE"), _LINES),
    **dict.fromkeys(("TRI", "TRIANGLE", "TRISHELL"), _TRIANGLES),
    **dict.fromkeys(("QUAD", "QUADSHELL", "QUADRILATERAL"), _QUADS),
    **dict.fromkeys(("SHELL", "MEMBRANE"), _SHELLS),
    **dict.fromkeys(("TET", "TETRA", "TETRAHEDRON"), _TETRAHEDRA),
    **dict.fromkeys(("HEX", "HEXAHEDRON"), _HEXAHEDRA),
    **dict.fromkeys(("WEDGE", "PENTA", "PRISM"), _WEDGES),
    **dict.fromkeys(("PYRAMID", "PYRA"), _PYRAMIDS),
}
# Places of VTK's nodes in Exodus' order, which has the upright edges before those of the top.
_HEX = [*range(12), *range(16, 20), *range(12, 16)]
_WEDGE = [*range(9), *range(12, 15), *range(9, 12)]
_ORDERS = {
    13: [0, 2, 1, 3, 5, 4],  # the first triangle of a wedge looks outwards in VTK
    25: _HEX,
    29: [*_HEX, 23, 24, 25, 26, 21, 22, 20],
    26: _WEDGE,
    32: [*_WEDGE, 15, 16, 17],
}


def read(path: Path, step: int) -> RawMesh:
    """Read one step, one thread at a time; node and side sets become fields of 0 and 1."""
    with _open(path) as file:
        return _Exodus(path, file).mesh(step)


def check(path: Path) -> None:
    """Sizes of variables and dimensions."""
    check_header(path)
    size = path.stat().st_size
    with _open(path) as file:
        limit = DEFLATE_RATIO * size if file.data_model.startswith("NETCDF4") else size
        declared = [
            (f"bytes of '{name}'", int(np.prod([float(n) for n in v.shape])) * v.dtype.itemsize)
            for name, v in file.variables.items()
            if hasattr(v.dtype, "itemsize")  # not text
        ] + [(f"as dimension '{name}'", len(d)) for name, d in file.dimensions.items()]
    check_counts(path, declared, limit)


def contents(path: Path) -> list[str]:
    """Lines about its blocks."""
    check(path)
    with _open(path) as file:
        exodus = _Exodus(path, file)
        return [
            f"block {number} '{name}': {rows:,} cells {kind}"
            for number, name, kind, rows in exodus.blocks()
        ]


class _Opened:
    """The file, while no other thread is in the library."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            import netCDF4
        except ImportError as error:
            raise MeshError(
                f"{self.path}: Exodus files need netCDF4; install it with `pip install netCDF4`"
                f" ({error})"
            ) from error
        _netcdf.acquire()
        try:
            self.file = netCDF4.Dataset(self.path)
        except BaseException:
            _netcdf.release()
            raise
        self.file.set_auto_mask(False)
        return self.file

    def __exit__(self, *error: object) -> None:
        try:
            self.file.close()
        finally:
            _netcdf.release()


_open = _Opened


class _Exodus:
    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.file = file
        dimension = file.dimensions.get("time_step")
        steps = 0 if dimension is None else len(dimension)
        self.times = np.arange(float(steps))
        if "time_whole" in file.variables:
            self.times = self.array("time_whole")

    def array(self, name: str) -> np.ndarray:
        return np.asarray(self.file.variables[name][:])

    def names(self, name: str) -> list[str]:
        """Rows of letters as text, in whatever encoding."""
        if name not in self.file.variables:
            return []
        variable = self.file.variables[name]
        variable.set_auto_chartostring(False)
        rows = np.asarray(variable[:])
        return [_text(b"".join(row.tolist())) for row in rows.reshape(len(rows), -1)]

    def blocks(self) -> Iterator[tuple[int, str, str, int]]:
        """Number from 1, name, element type, and size of each block that is not empty."""
        numbers = {
            int(match[1]) for v in self.file.variables if (match := re.match(r"connect(\d+)$", v))
        }
        names = self.names("eb_names")
        for number in sorted(numbers):
            connect = self.file.variables[f"connect{number}"]
            kind = _text(connect.getncattr("elem_type", encoding="latin-1").encode("latin-1"))
            rows = self.file.dimensions.get(f"num_el_in_blk{number}")
            size = len(connect) if rows is None else len(rows)
            name = names[number - 1] if number <= len(names) else ""
            if size:
                yield number, name, kind, size

    def mesh(self, step: int) -> RawMesh:
        steps = max(1, len(self.times))
        if not -steps <= step < steps:
            raise MeshError(
                f"{self.path}: has steps 0 to {steps - 1}, got `step` {step}; choose one"
            )
        step %= steps
        axes = [f"coord{a}" for a in "xyz" if f"coord{a}" in self.file.variables]
        pos = (
            np.stack([self.array(axis) for axis in axes], 1) if axes else self.array("coord").T
        ).astype(np.float64)
        if pos.shape[1] == 1:
            pos = np.pad(pos, ((0, 0), (0, 1)))
        blocks: Blocks = []
        kinds: list[str] = []
        rows: dict[int, slice] = {}
        total = 0
        for number, _, kind, _ in self.blocks():
            for cell_type, nodes in self.cells(number, kind):
                blocks.append((cell_type, nodes))
                kinds.append(kind)
            size = sum(len(nodes) for _, nodes in blocks) - total
            rows[number] = slice(total, total + size)
            total += size
        point_data = _vectors(self.node_fields(step))
        marks, notes = sets_of(
            self.array,
            self.names,
            set(self.file.variables),
            len(pos),
            partial(side_nodes, kinds, blocks, pos.shape[1] == 2),
        )
        point_data |= {name: mark for name, mark in marks.items() if name not in point_data}
        cell_data = _vectors(self.cell_fields(step, rows, total))
        times = self.times.astype(np.float64) if len(self.times) else None
        return RawMesh(pos, blocks, point_data, cell_data, notes, times=times)

    def cells(self, number: int, kind: str) -> Blocks:
        connect = self.array(f"connect{number}").astype(np.int64) - 1
        if kind.upper() == "NSIDED":  # polygons, after each other
            widths = self.array(f"ebepecnt{number}")
            starts = np.concatenate([[0], np.cumsum(widths)])
            return blocks_from_offsets(np.full(len(widths), POLYGON), starts, connect.reshape(-1))
        match = re.match(r"[A-Z]+", kind.upper())
        family = _FAMILIES.get(match[0] if match else "")
        width = connect.shape[1] if connect.ndim == 2 else 0
        named = re.search(r"\d+$", kind)
        if family is None or width not in family or (named and int(named[0]) != width):
            raise MeshError(
                f"{self.path}: block {number} has elements '{kind}' of {width} nodes, which are not"
                " read; export linear or quadratic ones, or leave the block out"
            )
        cell_type = family[width]
        order = _ORDERS.get(cell_type)
        return [(cell_type, connect if order is None else connect[:, order])]

    def node_fields(self, step: int) -> dict[str, np.ndarray]:
        names = self.names("name_nod_var")
        check_names(self.path, "node fields", names)
        if not len(self.times):
            return {}
        if "vals_nod_var" in self.file.variables:  # of older files: step, field, node
            values = self.file.variables["vals_nod_var"][step]
            return {name: np.asarray(values[i]) for i, name in enumerate(names)}
        found = {}
        for i, name in enumerate(names, 1):
            if f"vals_nod_var{i}" in self.file.variables:
                found[name] = np.asarray(self.file.variables[f"vals_nod_var{i}"][step])
        return found

    def cell_fields(self, step: int, rows: dict[int, slice], total: int) -> dict[str, np.ndarray]:
        """Where a block lacks a field its cells have NaN."""
        names = self.names("name_elem_var")
        check_names(self.path, "cell fields", names)
        if not len(self.times):
            return {}
        found = {}
        for i, name in enumerate(names, 1):
            values = np.full(total, np.nan)
            for number, part in rows.items():
                variable = f"vals_elem_var{i}eb{number}"
                if variable in self.file.variables:
                    values[part] = self.file.variables[variable][step]
            found[name] = values
        return found


def _text(letters: bytes) -> str:
    letters = letters.split(b"\0")[0].strip()
    try:
        return letters.decode("utf-8")
    except UnicodeDecodeError:
        return letters.decode("latin-1")


def _vectors(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``vX, vY, vZ`` as the vector ``v``, unless there is such a field already."""
    joined = dict(fields)
    for name in fields:
        parts = [name[:-1] + axis for axis in "XYZ"]
        vector = name[:-1].rstrip("_")
        if name[-1:] == "X" and vector and vector not in joined and all(p in joined for p in parts):
            joined[vector] = np.stack([joined.pop(part) for part in parts], 1)
    return joined
