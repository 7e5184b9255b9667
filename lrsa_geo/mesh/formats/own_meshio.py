"""meshio with more cell types, and without prints: a copy of its modules for this library alone.

meshio 5.3 numbers cells that it cannot build, and does not know data types that VTK 5.1 files have;
and it prints its warnings, of which some mean that the mesh is wrong. All of it sits in tables and
functions of its modules, which other users of meshio in this process must find as they are. So its
modules are loaded a second time under another name, and only those are completed. No reading
changes them again, hence no lock is needed in threads.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, Reader, only_step

_NAME = "_meshio_of_lrsa_geo"
_SERIOUS = ("cannot handle", "not closed", "corrupt")  # what meshio only warns of
_LOOSE = {2: "poly_vertex", 4: "poly_line", 6: "triangle_strip"}  # written, but not read
# Names of cells -> dimension, nodes.
_MORE_CELLS = {
    **{"wedge15": (3, 15), "pyramid13": (3, 13), "wedge12": (3, 12), "hexahedron24": (3, 24)},
    **{"pixel": (2, 4), "voxel": (3, 8), "quad6": (2, 6), "triangle7": (2, 7), "tetra4": (3, 4)},
    **{"penta_prism": (3, 10), "hexa_prism": (3, 12)},
}
_MORE_VTK_TYPES = {
    **{"int": "int32", "unsigned_int": "uint32", "short": "int16", "unsigned_short": "uint16"},
    **{"char": "int8", "signed_char": "int8", "unsigned_char": "uint8"},
    **{"long": "int64", "unsigned_long": "uint64"},
}


def _warn(text: str, highlight: bool = True) -> None:
    if any(word in text for word in _SERIOUS):
        raise ValueError(" ".join(text.split()))


def _load() -> None:
    """Put the second copy into ``sys.modules``, without the formats that are not asked for."""
    spec = importlib.util.find_spec("meshio")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("meshio is not installed; install it with `pip install meshio`")
    package = importlib.util.module_from_spec(
        importlib.machinery.ModuleSpec(_NAME, None, is_package=True)
    )
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[_NAME] = package
    common = module("_common")
    common.warn = _warn  # before the formats take it from there
    common.num_nodes_per_cell.update({name: nodes for name, (_, nodes) in _MORE_CELLS.items()})
    dimensions = module("_mesh").topological_dimension
    dimensions.update({name: dim for name, (dim, _) in _MORE_CELLS.items()})
    dimensions.update({"poly_vertex": 0, "poly_line": 1, "triangle_strip": 2})
    med = {"QU9": "quad9", "TR7": "triangle7", "H27": "hexahedron27", "P18": "wedge18"}
    module("med._med").med_to_meshio_type.update(med)
    module("xdmf.main").translate_mixed_cells = _mixed_cells
    vtk = module("_vtk_common")
    vtk.vtk_to_meshio_type.setdefault(11, "voxel")
    vtk.meshio_to_vtk_type.update(
        {name: number for number, name in (_LOOSE | {11: "voxel"}).items()}
    )
    module("vtk._vtk_51").vtk_to_numpy_dtype_name.update(_MORE_VTK_TYPES)


def _mixed_cells(numbers: np.ndarray) -> list[Any]:
    """XDMF's mixed cells: type, for some the count, nodes; meshio knows few of the types."""
    kinds = module("xdmf.common").xdmf_idx_to_meshio_type
    widths = module("_common").num_nodes_per_cell
    block = module("_mesh").CellBlock
    found: list[tuple[str, list[np.ndarray]]] = []
    place = 0
    while place < len(numbers):
        kind = kinds.get(int(numbers[place]))
        if kind is None:
            raise ValueError(f"mixed cells have the unknown type {numbers[place]}")
        width = widths[kind]
        if kind in ("vertex", "line"):
            place += 1
            if numbers[place] != width:
                raise ValueError(f"a cell '{kind}' has {numbers[place]} nodes, expected {width}")
        nodes = numbers[place + 1 : place + 1 + width]
        if len(nodes) < width:
            raise ValueError("mixed cells end within a cell")
        if not found or found[-1][0] != kind:
            found.append((kind, []))
        found[-1][1].append(nodes)
        place += 1 + width
    return [block(kind, np.array(rows)) for kind, rows in found]


def module(name: str) -> Any:
    """A module of the copy, such as ``"vtk"``."""
    return import_module(f"{_NAME}.{name}")


_load()
_VTK_NAMES: dict[int, str] = module("_vtk_common").vtk_to_meshio_type
_VTK_NUMBERS = {name: number for number, name in _VTK_NAMES.items()} | {"tetra4": 10}
_vtk_order: Callable[[str], np.ndarray | None] = module("_vtk_common").meshio_to_vtk_order


def reader(format_name: str) -> Reader:
    """meshio's reader of a format, such as ``"med"``."""
    read = module(format_name).read

    def read_file(path: Path, step: int) -> RawMesh:
        only_step(path, step)
        return from_meshio(path, read(str(path)))

    return read_file


def from_meshio(path: Path, mesh: Any) -> RawMesh:
    """The plain form of a ``meshio.Mesh``."""
    blocks: Blocks = []
    for block in mesh.cells:
        if block.type not in _VTK_NUMBERS:
            raise MeshError(
                f"{path}: has cells of the unknown type '{block.type}', expected VTK's linear or"
                " quadratic cells; export with elements of order 1 or 2"
            )
        nodes = np.asarray(block.data)
        order = _vtk_order(block.type)
        blocks.append((_VTK_NUMBERS[block.type], nodes if order is None else nodes[:, order]))
    cell_data = {}
    for name, parts in mesh.cell_data.items():
        if any(part is None for part in parts):
            raise MeshError(f"{path}: cell field '{name}' has no values on some cells; complete it")
        if parts:
            cell_data[name] = np.concatenate([np.asarray(part) for part in parts])
    point_data = {name: np.asarray(values) for name, values in mesh.point_data.items()}
    return RawMesh(np.asarray(mesh.points), blocks, point_data, cell_data)


def to_meshio(raw: RawMesh) -> Any:
    """The mesh as meshio's writers take it: 3-D points, tensors flattened."""
    cells = []
    for number, nodes in raw.blocks:
        name = _LOOSE.get(number) or _VTK_NAMES[number]
        order = _vtk_order(name)
        cells.append((name, nodes if order is None else nodes[:, np.argsort(order)]))
    ends = np.cumsum([len(nodes) for _, nodes in raw.blocks])[:-1]
    return module("_mesh").Mesh(
        np.pad(raw.pos, ((0, 0), (0, 3 - raw.pos.shape[1]))),
        cells,
        {name: _flat(values) for name, values in raw.point_data.items()},
        {name: np.split(_flat(values), ends) for name, values in raw.cell_data.items()},
    )


def _flat(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.uint8) if values.dtype == bool else values
    return values.reshape(len(values), -1) if values.ndim > 2 else values
