"""Read mesh files and point clouds.

==================  ===========================================================================
read through        extensions
==================  ===========================================================================
this library        ``.vtu .vtp``, their pieces (``.pvtu .pvtp``), lists of files and times
                    (``.pvd .series``), ``.inp`` (Abaqus, CalculiX), ``.frd`` (CalculiX),
                    ``.bdf .fem .nas`` (Nastran), ``.su2``, ``.med .rmed`` (Salome)
meshio              ``.vtk .xdmf .xmf``
netCDF4             ``.e .exo .ex2 .exii .g`` (Exodus; extra ``formats``)
Gmsh                ``.msh .unv .mesh`` (extra ``formats``)
trimesh             ``.stl .ply .obj .off .glb .gltf .3mf``; polygons of OBJ and OFF come as
                    triangles
pyvista             ``.case .foam .vtm .vti .vtr .vts .vtkhdf``, pieces (``.pvti .pvtr .pvts``),
                    what meshio does not know of ``.vtk`` (surfaces, structured grids, colours,
                    normals), and most ``.cgns`` (extra ``viz``)
numpy               point clouds: ``.npz .csv .xyz``
==================  ===========================================================================

Whatever the reader, cells of a type have its number of nodes, and nodes inside their edges lie
there; a file in which they do not is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.mesh.cells import to_table
from lrsa_geo.mesh.checks import check_cells, check_field, check_places
from lrsa_geo.mesh.collapsed import has_collapsed, resolve_collapsed
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.face_graph import face_graph
from lrsa_geo.mesh.formats import NOT_READ, READERS, Format, RawMesh, check_file
from lrsa_geo.mesh.mesh_data import MeshData

MESH_SUFFIXES = tuple(READERS)
"""Extensions of the files that are read."""


def read_mesh(path: str | Path, step: int = 0) -> MeshData:
    """Read a mesh or a point cloud; nothing in the file is ever executed.

    It may be called from several threads at once, and leaves the libraries that it uses, the
    process's output and its warnings as they are.

    Args:
        path: file; its extension says the format.
        step: which step of a time series (XDMF, PVD, VTKHDF, Exodus, Gmsh, FRD, MED, CGNS,
            EnSight, OpenFOAM), -1 for the last. All of them: :func:`open_series`.

    Returns:
        A :class:`MeshData` with

        - ``pos [N, D]``, of the file's precision; D is 2 if z is missing or 0 everywhere
          (up to rounding);
        - if there are cells, ``cells [K, V] int32``, padded with -1, and ``cell_types [K] int8``,
          VTK's numbers, with the nodes of a cell in VTK's order;
        - if the file has steps, ``times [T] float64`` of all of them: the file's times, their
          numbers where it has none;
        - ``point_data`` and ``cell_data``: name -> array ``[N, ...]`` or ``[K, ...]``, as the file
          has it, but ``[N]`` where it has one component.

        Nodes and cells keep the order of the file; a cell with a node at two of its corners becomes
        what it is (a quad a triangle, a hexahedron a wedge). An STL has no nodes, so corners at
        exactly the same place become one.

        A mesh with polyhedra has no ``cells``, but what its faces tell: ``edge_index``, ``measure``
        and ``boundary``, with the fields of its cells averaged to the nodes
        (:func:`~lrsa_geo.mesh.face_graph.face_graph`).

    A file may hold what a mesh does not, such as springs; that is left out with a warning.

    Raises:
        MeshError: the file is missing, damaged, or no mesh; the message says what to do.
    """
    reading = read_closely(path, step)
    for note in reading.left_out:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return reading.mesh


@dataclass(frozen=True)
class Reading:
    """A mesh that was read, and what was done to it on the way.

    Attributes:
        mesh: as :func:`read_mesh` returns it.
        left_out: what the file holds and a mesh does not, a sentence each.
        collapsed: cells with a node at two of their corners that became what they are.
        flattened: the largest |z| that was taken for rounding of 0.
    """

    mesh: MeshData
    left_out: list[str]
    collapsed: int = 0
    flattened: float = 0.0


def read_closely(path: str | Path, step: int = 0) -> Reading:
    """Read a mesh as :func:`read_mesh` does, and tell what was done to it.

    Raises:
        MeshError: the file is missing, damaged, or no mesh.
    """
    path = Path(path)
    format_ = format_of(path)
    with explained(path):
        return reading_of(path, format_.read(path, step))


def format_of(path: Path) -> Format:
    """The format of a file, whose header has been checked.

    Raises:
        MeshError: unknown extension, or the file is missing, empty or damaged.
    """
    suffix = path.suffix.lower()
    format_ = READERS.get(suffix)
    if format_ is None and suffix in NOT_READ:
        raise MeshError(f"{path}: is not read: a file '{suffix}' {NOT_READ[suffix]}")
    if format_ is None:
        raise MeshError(
            f"{path}: unknown extension '{path.suffix}', expected one of {' '.join(READERS)};"
            " rename or convert the file"
        )
    check_file(path, format_.may_be_empty)
    if format_.check is not None:
        with explained(path):
            format_.check(path)
    return format_


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of readers name the file and what to do.

    Raises:
        MeshError: instead of any other error.
    """
    try:
        with np.errstate(all="ignore"):  # of this thread alone; what is not finite is found later
            yield
    except MeshError:
        raise
    except (Exception, SystemExit) as error:
        raise MeshError(
            f"{path}: cannot be read as {path.suffix} ({type(error).__name__}:"
            f" {error or 'the reader gives no reason'}); check that the extension is right and the"
            " file complete, or open it in the program that made it and export it again"
        ) from error


def reading_of(path: Path, raw: RawMesh) -> Reading:
    """The mesh of what a format's reader gives.

    Raises:
        MeshError: positions, cells or fields are not those of a mesh.
    """
    reading = _to_data(path, raw)
    if raw.times is not None:
        reading.mesh.times = torch.from_numpy(raw.times.astype(np.float64))
    return reading


def _to_data(path: Path, raw: RawMesh) -> Reading:
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
    num_cells = sum(len(nodes) for _, nodes in raw.blocks)
    fields = {
        "point_data": _tensors(path, "node", raw.point_data, len(pos)),
        "cell_data": _tensors(path, "cell", raw.cell_data, num_cells),
    }
    if raw.faces is not None and pos.shape[1] == 3:
        data, note = face_graph(path, raw, pos, fields)
        return Reading(data, [*raw.notes, note])
    height, collapsed = 0.0, 0
    if pos.shape[1] == 3 and _is_plane(pos):
        height = float(np.abs(pos[:, 2]).max())
        pos = np.ascontiguousarray(pos[:, :2])
    data = MeshData(pos=torch.from_numpy(pos))
    blocks = [(number, nodes) for number, nodes in raw.blocks if len(nodes)]
    for number, nodes in blocks:
        check_cells(path, number, nodes, len(pos))
    check_places(path, blocks, pos)
    if num_cells:
        cells, cell_types = to_table(blocks)
        ends = np.cumsum([len(nodes) for _, nodes in blocks])
        parts = np.split(cells, ends[:-1])
        if any(has_collapsed(n, part) for (n, _), part in zip(blocks, parts, strict=True)):
            before = cell_types
            cells, cell_types, _ = resolve_collapsed(cells, cell_types)
            collapsed = int((cell_types != before).sum())
        data.cells, data.cell_types = torch.from_numpy(cells), torch.from_numpy(cell_types)
    data.point_data, data.cell_data = fields["point_data"], fields["cell_data"]
    return Reading(data, raw.notes, collapsed, height)


def _is_plane(pos: np.ndarray) -> bool:
    """Whether z is 0 everywhere, or no more than what rounding leaves of 0."""
    height = np.abs(pos[:, 2]).max()
    if height == 0:
        return True
    return bool(height <= 1e-12 * max(np.ptp(pos[:, 0]), np.ptp(pos[:, 1])))


def _native(values: np.ndarray) -> np.ndarray:
    """A contiguous array in the machine's byte order, which a tensor can share."""
    values = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    return values if values.flags.writeable else values.copy()


def _tensors(path: Path, kind: str, arrays: dict[str, np.ndarray], rows: int) -> dict[str, Tensor]:
    tensors = {}
    for name, values in arrays.items():
        check_field(path, kind, name, values.shape, rows)
        if values.dtype.kind not in "biufc":
            raise MeshError(
                f"{path}: {kind} field '{name}' has type {values.dtype}, expected numbers;"
                " remove it or make it numbers"
            )
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        tensors[name] = torch.from_numpy(_native(values))
    return tensors
