"""Mesh files through meshio, trimesh, pyvista and numpy, all in one plain form: :class:`RawMesh`.

Errors of the libraries leave this module as they are; :mod:`lrsa_geo.mesh.io` explains them.
"""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h5py
import meshio
import numpy as np
import trimesh
from meshio._common import num_nodes_per_cell
from meshio._mesh import topological_dimension
from meshio._vtk_common import meshio_to_vtk_order, meshio_to_vtk_type, vtk_to_meshio_type
from meshio.abaqus._abaqus import abaqus_to_meshio_type
from meshio.vtk import _vtk_51

from lrsa_geo.mesh import vtk_child
from lrsa_geo.mesh.cells import LINE, POLYGON, QUAD, TRIANGLE, Blocks, blocks_from_offsets
from lrsa_geo.mesh.checks import MeshError
from lrsa_geo.mesh.vtk_xml import read_vtk_xml

# What meshio 5.3 lacks: cells that it numbers but cannot build, data types of VTK 5.1 files, and
# common plane, axisymmetric and shell elements of Abaqus.
vtk_to_meshio_type.setdefault(11, "voxel")
_LOOSE = {2: "poly_vertex", 4: "poly_line", 6: "triangle_strip"}  # written, but not read
meshio_to_vtk_type.update({name: number for number, name in (_LOOSE | {11: "voxel"}).items()})
for _name, _dim, _nodes in [
    *[("wedge15", 3, 15), ("pyramid13", 3, 13), ("wedge12", 3, 12), ("hexahedron24", 3, 24)],
    *[("pixel", 2, 4), ("voxel", 3, 8), ("quad6", 2, 6), ("triangle7", 2, 7), ("tetra4", 3, 4)],
    *[("penta_prism", 3, 10), ("hexa_prism", 3, 12)],
]:
    topological_dimension.setdefault(_name, _dim)
    num_nodes_per_cell.setdefault(_name, _nodes)
topological_dimension.update({"poly_vertex": 0, "poly_line": 1, "triangle_strip": 2})
_vtk_51.vtk_to_numpy_dtype_name.update(
    {"int": "int32", "unsigned_int": "uint32", "short": "int16", "unsigned_short": "uint16"}
    | {
        "char": "int8",
        "signed_char": "int8",
        "unsigned_char": "uint8",
        "long": "int64",
        "unsigned_long": "uint64",
    }
)

for _nodes, _cell in [(3, "triangle"), (4, "quad"), (6, "triangle6"), (8, "quad8")]:
    for _family in ("CPS", "CPE", "CAX", "M3D", "S", "DC2D", "R3D"):
        for _variant in ("", "R", "H"):
            abaqus_to_meshio_type.setdefault(f"{_family}{_nodes}{_variant}", _cell)

_TYPE_OF_NAME = {name: number for number, name in vtk_to_meshio_type.items()} | {"tetra4": 10}
_SERIOUS = ("cannot handle", "not closed", "corrupt")  # what meshio only warns of


@dataclass
class RawMesh:
    """What a file holds: positions ``[N, 2 or 3]``, blocks of cells, arrays on nodes and cells."""

    pos: np.ndarray
    blocks: Blocks = field(default_factory=list)
    point_data: dict[str, np.ndarray] = field(default_factory=dict)
    cell_data: dict[str, np.ndarray] = field(default_factory=dict)


Reader = Callable[[Path, int], RawMesh]


@contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Catch what the libraries print, and silence their warnings."""
    said = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("ignore")
        yield said


# --- meshio --------------------------------------------------------------------------------------


def _meshio_reader(read: Callable[[str], meshio.Mesh]) -> Reader:
    def reader(path: Path, step: int) -> RawMesh:
        _only_step(path, step)
        with quiet() as said:
            mesh = read(str(path))
        _raise_if_serious(said.getvalue())
        return _from_meshio(path, mesh)

    return reader


def _only_step(path: Path, step: int) -> None:
    if step not in (0, -1):
        raise MeshError(f"{path}: has one step, expected `step` 0, got {step}")


def _raise_if_serious(said: str) -> None:
    if any(word in said for word in _SERIOUS):
        raise ValueError(" ".join(said.split()))


def _from_meshio(path: Path, mesh: meshio.Mesh) -> RawMesh:
    blocks: Blocks = []
    for block in mesh.cells:
        if block.type not in _TYPE_OF_NAME:
            raise MeshError(
                f"{path}: has cells of the unknown type '{block.type}', expected VTK's linear or"
                " quadratic cells; export with elements of order 1 or 2"
            )
        nodes = np.asarray(block.data)
        order = meshio_to_vtk_order(block.type)
        blocks.append((_TYPE_OF_NAME[block.type], nodes if order is None else nodes[:, order]))
    cell_data = {}
    for name, parts in mesh.cell_data.items():
        if any(part is None for part in parts):
            raise MeshError(f"{path}: cell field '{name}' has no values on some cells; complete it")
        if parts:
            cell_data[name] = np.concatenate([np.asarray(part) for part in parts])
    point_data = {name: np.asarray(values) for name, values in mesh.point_data.items()}
    return RawMesh(np.asarray(mesh.points), blocks, point_data, cell_data)


# What meshio drops or refuses in legacy VTK files.
_BEYOND_MESHIO = re.compile(
    rb"^(?:DATASET[ \t]+(?!UNSTRUCTURED_GRID)\w+|COLOR_SCALARS|NORMALS|TEXTURE_COORDINATES"
    rb"|GLOBAL_IDS|PEDIGREE_IDS)\b",
    re.MULTILINE | re.IGNORECASE,
)


def _read_vtk(path: Path, step: int) -> RawMesh:
    text = path.read_bytes()
    if _BEYOND_MESHIO.search(text):
        return _read_pyvista(path, step)
    raw = _meshio_reader(meshio.vtk.read)(path, step)
    if re.search(rb"^CELL_DATA", text, re.MULTILINE) and not raw.cell_data:
        return _read_pyvista(path, step)  # meshio forgets them where there are polygons
    raw.point_data = {unquote(name): values for name, values in raw.point_data.items()}
    raw.cell_data = {unquote(name): values for name, values in raw.cell_data.items()}
    return raw


def _read_cgns(path: Path, step: int) -> RawMesh:
    with h5py.File(path, "r") as file:
        known = "Base/Zone1/GridElements" in file  # the one layout that meshio reads: its own
    return (_meshio_reader(meshio.cgns.read) if known else _read_pyvista)(path, step)


def _read_vtk_xml(path: Path, step: int) -> RawMesh:
    _only_step(path, step)
    return RawMesh(*read_vtk_xml(path))


def _read_nastran(path: Path, step: int) -> RawMesh:
    text = path.read_text(encoding="utf-8")
    if "BEGIN BULK" not in text:  # some programs write the bulk data alone
        text = "BEGIN BULK\n" + text
    if not re.search(r"^ENDDATA", text.partition("BEGIN BULK")[2], re.MULTILINE):
        raise MeshError(f"{path}: has no ENDDATA; the file is truncated: copy or export it again")
    return _meshio_reader(lambda _: meshio.nastran.read(io.StringIO(text)))(path, step)


def _read_xdmf(path: Path, step: int) -> RawMesh:
    if b'"Temporal"' not in path.read_bytes():
        return _meshio_reader(meshio.xdmf.read)(path, step)
    with quiet() as said, meshio.xdmf.TimeSeriesReader(path) as series:
        if not -series.num_steps <= step < series.num_steps:
            raise MeshError(
                f"{path}: has steps 0 to {series.num_steps - 1}, got `step` {step}; choose one"
            )
        points, cells = series.read_points_cells()
        _, point_data, cell_data = series.read_data(step)
    _raise_if_serious(said.getvalue())
    return _from_meshio(path, meshio.Mesh(points, cells, point_data, cell_data))


def to_meshio(raw: RawMesh) -> meshio.Mesh:
    """The mesh as meshio's writers take it: 3-D points, tensors flattened."""
    cells = []
    for number, nodes in raw.blocks:
        name = _LOOSE.get(number) or vtk_to_meshio_type[number]
        order = meshio_to_vtk_order(name)
        cells.append((name, nodes if order is None else nodes[:, np.argsort(order)]))
    ends = np.cumsum([len(nodes) for _, nodes in raw.blocks])[:-1]
    return meshio.Mesh(
        np.pad(raw.pos, ((0, 0), (0, 3 - raw.pos.shape[1]))),
        cells,
        {name: _flat(values) for name, values in raw.point_data.items()},
        {name: np.split(_flat(values), ends) for name, values in raw.cell_data.items()},
    )


def _flat(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.uint8) if values.dtype == bool else values
    return values.reshape(len(values), -1) if values.ndim > 2 else values


# --- trimesh -------------------------------------------------------------------------------------


def _read_trimesh(path: Path, step: int) -> RawMesh:
    _only_step(path, step)
    options: dict[str, Any] = {"process": False, "maintain_order": True, "skip_materials": True}
    mesh: Any = trimesh.load(path, force="mesh", **options)
    pos, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if path.suffix.lower() == ".stl":
        # A triangle soup: a mesh only once equal corners are one node, in order of appearance.
        _, first, node = np.unique(pos, axis=0, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        pos, faces = pos[np.sort(first)], rank[node.reshape(-1)][faces]
    return RawMesh(pos, [(TRIANGLE, faces)] if len(faces) else [])


def _read_stl(path: Path, step: int) -> RawMesh:
    start = path.read_bytes()
    triangles = int.from_bytes(start[80:84], "little")
    binary = len(start) == 84 + 50 * triangles
    if not binary and not start.lstrip().startswith(b"solid"):
        raise MeshError(
            f"{path}: declares {triangles:,} triangles, which take {84 + 50 * triangles:,} bytes,"
            f" found {len(start):,}; the file is truncated or not an STL: export it again"
        )
    if not binary and b"endsolid" not in start:
        raise MeshError(f"{path}: has no 'endsolid'; the file is truncated: export it again")
    return _read_trimesh(path, step)


def _read_ply(path: Path, step: int) -> RawMesh:
    """A surface or a point cloud, with the other columns of its elements as fields."""
    _only_step(path, step)
    with open(path, "rb") as file:
        loaded = trimesh.exchange.ply.load_ply(file, skip_materials=True, fix_texture=False)
    elements = loaded["metadata"]["_ply_raw"]
    columns = {kind: _ply_columns(path, elements.get(kind)) for kind in ("vertex", "face")}
    vertex, face = columns["vertex"], columns["face"]
    raw = RawMesh(np.column_stack([vertex.pop(axis) for axis in "xyz"]), point_data=vertex)
    for name in ("vertex_indices", "vertex_index"):
        if name in face:
            raw.blocks, raw.cell_data = _polygons(face.pop(name)), face
    return raw


def _ply_columns(path: Path, element: dict[str, Any] | None) -> dict[str, np.ndarray]:
    if not element or not element["length"]:
        return {}
    data, columns = element["data"], {}
    names = data.dtype.names if isinstance(data, np.ndarray) else list(data)
    for name in names:
        column = data[name]
        if column.dtype.names:  # a list property: its length, its values
            if (column["f0"] != column["f0"][0]).any():
                raise MeshError(f"{path}: binary lists '{name}' differ in length; save it as ASCII")
            column = column["f1"]
        elif column.dtype != object and column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if len(column) != element["length"]:
            raise MeshError(
                f"{path}: '{name}' has {len(column):,} values, expected {element['length']:,};"
                " the file is truncated: export it again"
            )
        columns[name] = column
    return columns


def _polygons(faces: Any) -> Blocks:
    """Faces, each a row of nodes, as blocks of neighbours with the same number of nodes."""
    blocks: list[tuple[int, list[np.ndarray]]] = []
    for nodes in faces:
        number = {2: LINE, 3: TRIANGLE, 4: QUAD}.get(len(nodes), POLYGON)
        if not blocks or len(blocks[-1][1][0]) != len(nodes):
            blocks.append((number, []))
        blocks[-1][1].append(nodes)
    return [(number, np.stack(rows).astype(np.int64)) for number, rows in blocks]


# --- pyvista -------------------------------------------------------------------------------------


def _read_pyvista(path: Path, step: int) -> RawMesh:
    if importlib.util.find_spec("pyvista") is None:
        raise MeshError(
            f"{path}: reading it takes pyvista, which is not installed; install it with"
            " `pip install 'lrsa_geo[viz]'`"
        )
    one_file = path.suffix.lower() not in (".case", ".foam")
    seconds = 20 + path.stat().st_size / 1e6 if one_file else 600
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "mesh.npz")
        child = [sys.executable, vtk_child.__file__, str(path.absolute()), str(step), str(out)]
        done = subprocess.run(
            child,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it says nothing"]
            raise ValueError(f"VTK's reader ended with status {done.returncode}: {lines[-1]}")
        with np.load(out, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    return RawMesh(
        arrays["pos"],
        blocks_from_offsets(arrays["types"], arrays["starts"], arrays["nodes"]),
        {name[2:]: values for name, values in arrays.items() if name.startswith("p:")},
        {name[2:]: values for name, values in arrays.items() if name.startswith("c:")},
    )


# --- point clouds --------------------------------------------------------------------------------


def _read_npz(path: Path, step: int) -> RawMesh:
    _only_step(path, step)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "pos" not in arrays:
        raise MeshError(f"{path}: has the arrays {sorted(arrays)}, expected 'pos' [N, 2 or 3]")
    return RawMesh(arrays.pop("pos"), point_data=arrays)


def _read_csv(path: Path, step: int) -> RawMesh:
    """Columns ``x, y`` and perhaps ``z`` by name, or the first three if there is no header."""
    _only_step(path, step)
    with open(path, encoding="utf-8-sig") as file:
        names = [name.strip().strip('"') for name in file.readline().split(",")]
    header = not all(map(_is_number, names))
    rows = np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2, encoding="utf-8-sig")
    return _cloud(path, rows, names if header else [])


def _read_xyz(path: Path, step: int) -> RawMesh:
    _only_step(path, step)
    return _cloud(path, np.loadtxt(path, ndmin=2, encoding="utf-8"), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cloud(path: Path, rows: np.ndarray, names: list[str]) -> RawMesh:
    names = names or [*"xyz"[: rows.shape[1]], *(f"column_{i}" for i in range(3, rows.shape[1]))]
    if len(names) != rows.shape[1] or len(set(names)) < len(names):
        raise MeshError(
            f"{path}: has {rows.shape[1]} columns called {names}, expected one name for each,"
            " all different; correct the first line"
        )
    columns = dict(zip(names, rows.T, strict=True))
    axes = [name for name in names if name.lower() in ("x", "y", "z")]
    axes.sort(key=str.lower)
    if [axis.lower() for axis in axes] not in (["x", "y"], ["x", "y", "z"]):
        raise MeshError(f"{path}: has the columns {names}, expected x, y and perhaps z among them")
    pos = np.column_stack([columns.pop(axis) for axis in axes])
    return RawMesh(pos, point_data={k: np.ascontiguousarray(v) for k, v in columns.items()})


READERS: dict[str, Reader] = {
    **dict.fromkeys((".vtu", ".vtp"), _read_vtk_xml),
    ".vtk": _read_vtk,
    **dict.fromkeys((".xdmf", ".xmf"), _read_xdmf),
    ".msh": _meshio_reader(meshio.gmsh.read),
    ".inp": _meshio_reader(meshio.abaqus.read),
    **dict.fromkeys((".bdf", ".fem", ".nas"), _read_nastran),
    ".med": _meshio_reader(meshio.med.read),
    **dict.fromkeys((".e", ".exo", ".ex2"), _meshio_reader(meshio.exodus.read)),
    ".cgns": _read_cgns,
    ".stl": _read_stl,
    ".ply": _read_ply,
    **dict.fromkeys((".obj", ".off", ".glb", ".gltf", ".3mf"), _read_trimesh),
    **dict.fromkeys((".case", ".foam"), _read_pyvista),
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".xyz": _read_xyz,
}
