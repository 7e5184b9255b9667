"""Columns of graphs from the fields of a mesh: node fields, markers of the boundary, parameters."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from lrsa_geo.mesh.averages import cell_to_node, nodes_without_cells
from lrsa_geo.mesh.cells import cell_dimensions
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Fields, scalars_of
from lrsa_geo.mesh.mesh_data import positions_of, table_of
from lrsa_geo.mesh.surfaces import DistanceToBoundary, SurfaceNormals

# Inputs that are worked out from the cells, where a file has no field of that name.
GEOMETRY: dict[str, BaseTransform] = {
    "boundary_distance": DistanceToBoundary(),
    "boundary_offset": DistanceToBoundary(),
    "normal": SurfaceNormals(),
}
_FLAT = 1e-9  # of the largest: what rounding leaves of a component that is 0


def has_field(mesh: Data, name: str) -> bool:
    """Whether a mesh has a field of nodes or cells of this name."""
    return name in mesh.point_data or name in mesh.cell_data


def node_field(mesh: Data, name: str, where: object, geometry: bool = False) -> Tensor:
    """Values as ``[N, C]``, whatever their shape in the file.

    A field of cells is averaged. ``"NAME=VALUE"`` is 1 where the field NAME has that value and 0
    elsewhere; of a field of cells, the share of the cells around a node that have it.

    Args:
        mesh: from :func:`read_mesh`.
        name: of a field.
        where: name of the mesh for messages.
        geometry: the column is an input: it may come from the cells.

    Raises:
        MeshError: there is no such field, it is complex, or a mean of numbers of cells that stand
            for kinds such as materials.
    """
    if name in mesh.point_data:
        values = mesh.point_data[name]
    elif name in mesh.cell_data:
        values = cell_to_node(mesh, mesh.cell_data[name])
        _refuse_mixed_numbers(mesh, name, values, where, "input" if geometry else "target")
    elif geometry and name in GEOMETRY:
        try:
            values = GEOMETRY[name](mesh)[name]
        except ValueError as error:
            raise MeshError(f"{where}: input '{name}': {error}") from error
    elif (kind := _kind(mesh, name)) is not None:
        values = kind
    else:
        known = [*mesh.point_data, *mesh.cell_data, *(GEOMETRY if geometry else ())]
        by_lower = {other.lower(): other for other in known}
        near = difflib.get_close_matches(name.lower(), by_lower, 1)
        raise MeshError(
            f"{where}: has no field '{name}', it has {', '.join(known) or 'none'}"
            + (f"; did you mean '{by_lower[near[0]]}'?" if near else "")
        )
    if values.is_complex():
        raise MeshError(f"{where}: field '{name}' is complex, expected real numbers")
    return values.double().reshape(len(values), -1)


def node_columns(
    mesh: Data,
    fields: Fields,
    where: object,
    *,
    geometry: bool = False,
    known: bool = False,
) -> Tensor:
    """``[N, columns]`` float64 of a mesh.

    Args:
        mesh: from :func:`read_mesh`.
        fields: which.
        where: name of the mesh for messages.
        geometry: they may be worked out from the cells.
        known: refuse fields of cells at nodes that no cell holds, where they are NaN otherwise.

    Raises:
        MeshError: there is no such field, it has other components, or values that are none.
    """
    columns = []
    for described in fields:
        values = node_field(mesh, described.name, where, geometry)
        if values.shape[1] == 3 and described.components == ("x", "y"):
            if not is_plane_vector(values):
                raise MeshError(
                    f"{where}: vector '{described.name}' has a z component that is not 0,"
                    " expected a plane vector as in the first file"
                )
            values = values[:, :2]
        if values.shape[1] != described.width:
            raise MeshError(
                f"{where}: field '{described.name}' has {values.shape[1]} components, expected"
                f" {described.width} as in the first file"
            )
        bad = ~values.isfinite().all(1)
        is_of_cells = described.name not in mesh.point_data and described.name in mesh.cell_data
        is_of_cells |= mesh.get("edge_index") is not None  # of polyhedra, it may have been
        if bad.any() and is_of_cells:
            lonely = nodes_without_cells(mesh)
            if known and lonely.any():
                raise MeshError(
                    f"{where}: {'input' if geometry else 'target'} '{described.name}' is a"
                    f" field of cells, and no cell holds {int(lonely.sum()):,} of {len(bad):,}"
                    f" nodes, the first is node {int(lonely.nonzero()[0])}; remove these nodes"
                    " (ParaView: Clean to Grid)"
                )
            bad &= ~lonely  # a target may be unknown there
        if bad.any():
            raise MeshError(
                f"{where}: field '{described.name}' is NaN or infinite at {int(bad.sum()):,} of"
                f" {len(bad):,} nodes, the first is node {int(bad.nonzero()[0])}; repair the"
                " field or leave the file out"
            )
        columns.append(values)
    return torch.cat(columns, dim=1)


def is_plane_vector(values: Tensor) -> bool:
    """Whether ``[N, 3]`` has no z component, up to rounding."""
    return bool(values[:, 2].abs().max() <= _FLAT * values.abs().max())


def _kind(mesh: Data, name: str) -> Tensor | None:
    """The column ``NAME=VALUE``."""
    field, _, text = name.rpartition("=")
    try:
        wanted = float(text)
    except ValueError:
        return None
    if field in mesh.point_data:
        return (mesh.point_data[field] == wanted).double()
    if field in mesh.cell_data:
        return cell_to_node(mesh, (mesh.cell_data[field] == wanted).double())
    return None


def _refuse_mixed_numbers(mesh: Data, name: str, values: Tensor, where: object, role: str) -> None:
    """Whole numbers of cells are names of kinds; their mean at a node names none."""
    cells = mesh.cell_data[name]
    if cells.is_floating_point() or cells.is_complex():
        return
    cells = cells.double()
    square = cell_to_node(mesh, cells**2)
    mixed = square - values.double() ** 2 > 1e-6 * square.abs().clamp(min=1)
    if mixed.any():
        kinds = cells.unique().long().tolist()
        columns = " ".join(f"'{name}={kind}'" for kind in kinds[:3]) + " ..." * (len(kinds) > 3)
        raise MeshError(
            f"{where}: {role} '{name}' is a field of whole numbers on cells, which stand for kinds"
            f" such as materials: their mean at {int(mixed.sum()):,} nodes between kinds would be"
            f" none of them; take a column for each value, --{role}s {columns}, or store a property"
            " such as the stiffness, or a quantity that was counted, as floating-point numbers"
        )


def boundary_markers(mesh: Data, name: str, where: object) -> Tensor:
    """``[N] int8`` markers from a field of whole numbers of the nodes, or of the cells.

    Of a field of cells, the cells that lie on the boundary count (lines around faces, faces around
    solids): their nodes get their number, the lowest above 0 where several meet, and all others 0.
    Without such cells the cells around a node must agree.
    """
    if name in mesh.point_data or name not in mesh.cell_data:
        values = node_field(mesh, name, where)
    else:
        values = _of_boundary_cells(mesh, mesh.cell_data[name], name, where)
    whole = values.round()
    if (
        values.shape[1] != 1
        or not torch.equal(values, whole)
        or whole.min() < 0
        or whole.max() > 127
    ):
        raise MeshError(
            f"{where}: field '{name}' cannot mark the boundary, expected one whole number from 0 to"
            " 127 at each node"
        )
    return whole[:, 0].to(torch.int8)


def _of_boundary_cells(mesh: Data, values: Tensor, name: str, where: object) -> Tensor:
    cells, cell_types = table_of(mesh, where)
    dimensions = cell_dimensions(cell_types)
    on_boundary = dimensions == dimensions.max() - 1
    if values.dim() != 1 or not on_boundary.any():
        spread = cell_to_node(mesh, values.double())
        square = cell_to_node(mesh, values.double() ** 2)
        if values.dim() == 1 and (square - spread**2 > 1e-6 * square.clamp(min=1)).any():
            raise MeshError(
                f"{where}: field '{name}' differs between the cells around a node and the mesh has"
                " no cells on its boundary, so it cannot mark it; export the boundary's cells too"
            )
        return spread.reshape(len(mesh.pos), -1).nan_to_num()
    marks = np.full(len(mesh.pos), np.inf)
    numbers = values.double().numpy()
    for row in np.flatnonzero(on_boundary & (numbers != 0)):
        nodes = cells[row][cells[row] >= 0]
        marks[nodes] = np.minimum(marks[nodes], numbers[row])
    return torch.from_numpy(np.where(np.isinf(marks), 0, marks))[:, None]


def cond_row(fields: Fields, given: Mapping[str, float] | None, where: object) -> Tensor:
    """``[1, P]``: the parameters of one file; those of a vector are given by component."""
    fields = scalars_of(fields)
    missing = [f.name for f in fields if f.name not in (given or {})]
    if missing:
        raise MeshError(
            f"{where}: the parameters {missing} are not given"
            + (f", but {list(given)} are" if given else "")
            + "; give a table with a column for each"
        )
    assert given is not None
    row = torch.tensor([[given[f.name] for f in fields]], dtype=torch.float64)
    for f, value in zip(fields, row.T, strict=True):
        refuse_sizes(value, f.name, where)
    return row.float()


def refuse_sizes(values: Tensor, name: str, where: object) -> None:
    """Refuse what becomes infinite, or nothing, as float32."""
    sizes = values[values.isfinite()].abs()
    largest = float(sizes.max()) if len(sizes) else 0.0
    numbers = torch.finfo(torch.float32)
    if largest > numbers.max or 0 < largest < numbers.tiny:
        raise MeshError(
            f"{where}: '{name}' is up to {largest:.3g} in size, and graphs keep float32, which ends"
            f" at {numbers.tiny:.1e} and {numbers.max:.1e}; give it in another unit"
        )


def may_have_boundary(mesh: Data) -> bool:
    """Whether the cells fill the space that their positions span: solids, or a plane mesh."""
    cells, cell_types = table_of(mesh)
    if not len(cells):
        return False
    dim = cell_dimensions(cell_types).max()
    if dim == mesh.pos.shape[1]:
        return True
    return bool(dim == 2 and mesh.pos.shape[1] == 3 and _is_flat(positions_of(mesh)))


def _is_flat(pos: np.ndarray) -> bool:
    """Whether points lie in one plane of space, up to rounding."""
    away = pos - pos.mean(0)
    normal = np.linalg.svd(away.T @ away)[0][:, 2]
    rounding = 4 * np.finfo(np.float32).eps * np.abs(pos).max()
    return bool(np.abs(away @ normal).max() <= max(1e-6 * np.ptp(pos, axis=0).max(), rounding))
