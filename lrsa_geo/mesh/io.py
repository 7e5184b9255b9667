"""The two doors of the mesh files: :func:`read_mesh` and :func:`write_mesh`.

==================  ===========================================================================
read through        extensions
==================  ===========================================================================
this library        ``.vtu .vtp``
meshio              ``.vtk .xdmf .xmf .msh .inp .bdf .fem .nas .med .e .exo .ex2 .cgns``
trimesh             ``.stl .ply .obj .off .glb .gltf .3mf``; polygons of OBJ and OFF come as
                    triangles
pyvista             ``.case .foam``, what meshio does not know of ``.vtk`` (surfaces, structured
                    grids, colours, normals), and most ``.cgns`` (extra ``viz``)
numpy               point clouds: ``.npz .csv .xyz``
==================  ===========================================================================

Written are VTU, legacy VTK and XDMF: the formats that can hold every cell and every field.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import meshio
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.files import atomic_path
from lrsa_geo.mesh.cells import (
    VERTEX,
    cell_dimensions,
    cell_measures,
    is_known,
    table_of,
    to_blocks,
    to_table,
)
from lrsa_geo.mesh.checks import MeshError, check_file, check_header
from lrsa_geo.mesh.formats import READERS, RawMesh, quiet, to_meshio

__all__ = [
    "MESH_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "MeshError",
    "cell_to_node",
    "node_to_cell",
    "read_mesh",
    "write_mesh",
]

MESH_SUFFIXES = tuple(READERS)
WRITTEN_SUFFIXES = (".vtu", ".vtk", ".xdmf")


def read_mesh(path: str | Path, step: int = 0) -> Data:
    """Read a mesh or a point cloud; nothing in the file is ever executed.

    Args:
        path: file; its extension says the format.
        step: which step of a time series (XDMF, EnSight, OpenFOAM), -1 for the last.

    Returns:
        A ``Data`` with

        - ``pos [N, D]``, of the file's precision; D is 2 if z is missing or 0 everywhere;
        - if there are cells, ``cells [K, V] int32``, padded with -1, and ``cell_types [K] int8``,
          VTK's numbers, with the nodes of a cell in VTK's order;
        - ``point_data`` and ``cell_data``: name -> array ``[N, ...]`` or ``[K, ...]``, as the file
          has it, but ``[N]`` where it has one component.

        Nodes and cells keep the order of the file. An STL has no nodes, so corners at exactly the
        same place become one.

    Raises:
        MeshError: the file is missing, damaged, or no mesh; the message says what to do.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MeshError(
            f"{path}: unknown extension '{path.suffix}', expected one of {' '.join(READERS)};"
            " rename or convert the file"
        )
    check_file(path, may_be_empty=path.suffix.lower() == ".foam")
    try:
        with quiet():
            check_header(path)
            raw = reader(path, step)
        return _to_data(path, raw)
    except MeshError:
        raise
    except (Exception, SystemExit) as error:
        raise MeshError(
            f"{path}: cannot be read as {path.suffix} ({type(error).__name__}:"
            f" {error or 'the reader gives no reason'}); check that the extension is right and the"
            " file complete, or open it in the program that made it and export it again"
        ) from error


def write_mesh(path: str | Path, data: Data, fields: Mapping[str, Tensor] | None = None) -> None:
    """Write a mesh with its own data and new fields; the file appears complete or not at all.

    Positions in the plane get z = 0, new vectors ``[N, 2]`` a third component 0, so that ParaView
    draws them as vectors. Legacy VTK pads the file's own ``[N, 2]`` arrays too. Tensors
    ``[N, 3, 3]`` become ``[N, 9]``, bool becomes uint8. A point cloud gets one vertex cell per
    node, without which ParaView draws nothing. XDMF puts its arrays into ``<path>.h5``.

    Args:
        path: ending in ``.vtu`` (the usual choice), ``.vtk`` or ``.xdmf``.
        data: from :func:`read_mesh`, or with ``pos [N, D]`` and perhaps ``cells [K, V]``.
        fields: name -> values ``[N]`` or ``[N, C]``.

    Raises:
        MeshError: unknown extension, or a field of the wrong length, with an impossible name or
            with the name of one that the mesh has.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise MeshError(
            f"{path}: cannot write '{path.suffix}', expected one of {' '.join(WRITTEN_SUFFIXES)};"
            " other formats lose fields or cells"
        )
    raw = _to_raw(path, data, fields or {})
    spell = {".vtu": _for_xml, ".vtk": _for_vtk}.get(suffix, str)
    raw.point_data = {spell(name): values for name, values in raw.point_data.items()}
    raw.cell_data = {spell(name): values for name, values in raw.cell_data.items()}
    try:
        with quiet():
            mesh = to_meshio(raw)
            if suffix == ".xdmf":
                _write_xdmf(path, mesh)
            else:
                with atomic_path(path) as temporary:
                    meshio.write(temporary, mesh, suffix[1:])
    except (Exception, SystemExit) as error:
        raise MeshError(
            f"{path}: cannot be written ({type(error).__name__}: {error}); check the folder and its"
            " permissions, and that the format can hold these cells and names: VTU holds the most"
        ) from error


def _for_xml(name: str) -> str:
    """meshio puts names into a VTU as they are."""
    return html.escape(name).encode("ascii", "xmlcharrefreplace").decode()


def _for_vtk(name: str) -> str:
    """Legacy VTK splits at spaces; VTK itself reads and writes them as %20."""
    return quote(name, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~")


def _write_xdmf(path: Path, mesh: meshio.Mesh) -> None:
    """meshio puts the arrays beside the file; here that second file has a name that says so."""
    arrays = path.with_name(path.name + ".h5")
    with atomic_path(path) as temporary, atomic_path(arrays) as temporary_arrays:
        written = temporary.with_suffix(".h5")
        try:
            meshio.xdmf.write(temporary, mesh)
            written.replace(temporary_arrays)
        finally:
            written.unlink(missing_ok=True)
        text = temporary.read_text(encoding="utf-8")
        name = html.escape(arrays.name)
        temporary.write_text(text.replace(written.name + ":", name + ":"), encoding="utf-8")


# --- checks of what was read or is to be written -------------------------------------------------


def _to_data(path: Path, raw: RawMesh) -> Data:
    pos = _native(raw.pos)
    if pos.ndim != 2 or pos.shape[1] not in (2, 3) or not len(pos):
        raise MeshError(
            f"{path}: positions have shape {list(pos.shape)}, expected [N, 2] or [N, 3] with N > 0;"
            " the file holds no mesh: export it again"
        )
    if pos.dtype not in (np.float32, np.float64):
        pos = pos.astype(np.float64)
    finite = np.isfinite(pos).all(1)
    if not finite.all():
        raise MeshError(
            f"{path}: {(~finite).sum():,} of {len(pos):,} nodes have coordinates that are NaN or"
            f" infinite, the first is node {finite.argmin()}; remove or repair them"
        )
    if pos.shape[1] == 3 and not pos[:, 2].any():
        pos = np.ascontiguousarray(pos[:, :2])
    data = Data(pos=torch.from_numpy(pos))
    blocks = [(number, nodes) for number, nodes in raw.blocks if len(nodes)]
    for number, nodes in blocks:
        _check_cells(path, number, nodes, len(pos))
    num_cells = sum(len(nodes) for _, nodes in blocks)
    if num_cells:
        cells, cell_types = to_table(blocks)
        data.cells, data.cell_types = torch.from_numpy(cells), torch.from_numpy(cell_types)
    data.point_data = _tensors(path, "node", raw.point_data, len(pos))
    data.cell_data = _tensors(path, "cell", raw.cell_data, num_cells)
    return data


def _check_cells(path: Path | str, number: int, nodes: np.ndarray, num_nodes: int) -> None:
    if not is_known(number):
        raise MeshError(
            f"{path}: has cells of the unknown VTK type {number}, expected linear or quadratic"
            " cells; convert the mesh (ParaView: Tetrahedralize)"
        )
    if not 0 <= nodes.min() <= nodes.max() < num_nodes:
        raise MeshError(
            f"{path}: cells of VTK type {number} point at nodes {nodes.min()} to {nodes.max()},"
            f" expected 0 to {num_nodes - 1}; the file is damaged: export it again"
        )


def _native(values: np.ndarray) -> np.ndarray:
    """A contiguous array in the machine's byte order, which a tensor can share."""
    values = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    return values if values.flags.writeable else values.copy()


def _tensors(path: Path, kind: str, arrays: dict[str, np.ndarray], rows: int) -> dict[str, Tensor]:
    tensors = {}
    for name, values in arrays.items():
        _check_field(path, kind, name, values.shape, rows)
        if values.dtype.kind not in "biufc":
            raise MeshError(
                f"{path}: {kind} field '{name}' has type {values.dtype}, expected numbers;"
                " remove it or make it numbers"
            )
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        tensors[name] = torch.from_numpy(_native(values))
    return tensors


def _check_field(path: Path, kind: str, name: str, shape: tuple[int, ...], rows: int) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MeshError(
            f"{path}: the name of {kind} field {name!r} is not UTF-8 ({error}); rename it"
        ) from error
    if not name.strip() or not name.isprintable():
        raise MeshError(f"{path}: {kind} field {name!r} has no printable name; rename it")
    if not shape or shape[0] != rows:
        raise MeshError(
            f"{path}: {kind} field '{name}' has shape {list(shape)}, expected {rows:,} rows,"
            f" one per {kind}"
        )


def _to_raw(path: Path, data: Data, fields: Mapping[str, Tensor]) -> RawMesh:
    pos = _array(data.pos)
    if pos.ndim != 2 or pos.shape[1] not in (2, 3) or not len(pos):
        raise MeshError(f"{path}: `pos` has shape {list(pos.shape)}, expected [N, 2] or [N, 3]")
    cells, cell_types = table_of(data, path)
    blocks = to_blocks(cells, cell_types)
    if not blocks:
        blocks = [(VERTEX, np.arange(len(pos))[:, None])]
    for number, nodes in blocks:
        _check_cells(path, number, nodes, len(pos))
    raw = RawMesh(pos, blocks)
    for kind, target, rows in (
        ("point_data", raw.point_data, len(pos)),
        ("cell_data", raw.cell_data, len(cells)),
    ):
        for name, values in (data.get(kind) or {}).items():
            target[name] = _array(values)
            _check_field(path, kind, name, target[name].shape, rows)
    for name, values in fields.items():
        if name in raw.point_data:
            raise MeshError(
                f"{path}: the mesh already has a node field '{name}'; give the new one another"
                f" name, such as '{name}_predicted'"
            )
        array = _array(values)
        _check_field(path, "node", name, array.shape, len(pos))
        is_plane_vector = array.ndim == 2 and array.shape[1] == 2
        raw.point_data[name] = np.pad(array, ((0, 0), (0, 1))) if is_plane_vector else array
    return raw


def _array(values: Tensor) -> np.ndarray:
    values = torch.as_tensor(values).detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.half) else values).numpy()


# --- between nodes and cells ---------------------------------------------------------------------


def cell_to_node(data: Data, values: Tensor) -> Tensor:
    r"""Carry values from cells to nodes, each cell counted by its measure.

    .. math:: v_i = \sum_{c \ni i} m_c v_c \,\big/ \sum_{c \ni i} m_c

    over the cells c at node i that have the highest dimension there (where triangles bound solids,
    the solids). If their measures are all 0 they count alike. A node of no cell gets 0.

    Args:
        data: with ``pos [N, D]`` and ``cells [K, V]``.
        values: ``[K]`` or ``[K, C]``.

    Returns:
        ``[N]`` or ``[N, C]``, of the type of ``values`` if it is a float.
    """
    cells, cell_types = table_of(data)
    _check_field(Path("data"), "cell", "values", tuple(values.shape), len(cells))
    node, cell = cells[cells >= 0], np.nonzero(cells >= 0)[0]
    num_nodes = len(data.pos)
    dim = cell_dimensions(cell_types)
    highest = np.full(num_nodes, -1)
    np.maximum.at(highest, node, dim[cell])
    kept = dim[cell] == highest[node]
    node, cell = node[kept], cell[kept]
    weight = cell_measures(_array(data.pos), cells, cell_types)[cell]
    total = np.bincount(node, weight, num_nodes)
    weight = np.where(total[node] > 0, weight, 1.0)
    total = np.bincount(node, weight, num_nodes)

    dtype = values.dtype if values.is_floating_point() else torch.get_default_dtype()
    share = torch.from_numpy(weight / total[node]).to(values.device)
    share = share.reshape(-1, *[1] * (values.dim() - 1))
    rows = torch.from_numpy(cell).to(values.device)
    out = torch.zeros(num_nodes, *values.shape[1:], dtype=torch.float64, device=values.device)
    index = torch.from_numpy(node).long().to(values.device)
    return out.index_add(0, index, share * values.double()[rows]).to(dtype)


def node_to_cell(data: Data, values: Tensor) -> Tensor:
    """Carry values from nodes to cells: the mean over the nodes of each cell.

    Args:
        data: with ``pos [N, D]`` and ``cells [K, V]``.
        values: ``[N]`` or ``[N, C]``.

    Returns:
        ``[K]`` or ``[K, C]``, of the type of ``values`` if it is a float.
    """
    _check_field(Path("data"), "node", "values", tuple(values.shape), len(data.pos))
    cells = data.cells.long().to(values.device)
    there = (cells >= 0).reshape(*cells.shape, *[1] * (values.dim() - 1))
    dtype = values.dtype if values.is_floating_point() else torch.get_default_dtype()
    corners = torch.where(there, values.double()[cells.clamp(min=0)], 0.0)
    return (corners.sum(1) / there.sum(1)).to(dtype)
