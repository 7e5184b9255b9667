"""GraphReader: from mesh files to graphs, named fields to columns of ``x`` and ``y``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.columns import (
    boundary_markers,
    cond_row,
    has_field,
    is_plane_vector,
    may_have_boundary,
    node_columns,
    node_field,
    refuse_sizes,
)
from lrsa_geo.data.course import Course
from lrsa_geo.data.series_reader import SeriesReading, series_graph
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Field, Fields, column_slices, split_unit
from lrsa_geo.mesh.merge import merge_nodes
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.read import read_mesh
from lrsa_geo.mesh.series import MeshSeries, open_series
from lrsa_geo.mesh.surfaces import BoundaryNodes
from lrsa_geo.mesh.transforms import NodeMeasure

_AXES = {2: ("x", "y"), 3: ("x", "y", "z")}
_SYMMETRIC = ("xx", "yy", "zz", "xy", "yz", "xz")  # VTK's order


@dataclass(frozen=True)
class GraphReader:
    """Read mesh files as graphs: which of their fields are inputs and which are targets.

    A name is that of a node field, or of a cell field, which is moved to the nodes by
    :func:`cell_to_node`; as an input it may also be ``boundary_distance``, ``boundary_offset`` or
    ``normal``, worked out from the cells. The graph gets ``measure`` of :class:`NodeMeasure` and,
    if it has cells that can have a boundary, ``boundary`` of :class:`BoundaryNodes`. A mesh with
    polyhedra brings both, and ``edge_index``, with it.

    Positions keep the precision of the file: far from the origin (map coordinates in metres have
    seven digits before the point) float32 would move nodes by decimetres. They are worked out
    relative to the mesh before they become float32. All other numbers are float32.

    At a node that no cell holds, a field of cells has no value: it is NaN in ``y``, which is not
    trained on, and refused in ``x``.

    A reader is kept with the store and the model that it made, so that new files are read alike.

    Args:
        inputs: columns of ``x``.
        targets: columns of ``y``.
        cond: columns of ``cond``.
        boundary: field of whole numbers >= 0 to take ``boundary`` from, "" to work it out.
        step: step of a time series, -1 for the last.
        dim: dimension of the positions, 2 or 3; 0 for any.
        merge_nodes: greatest distance between nodes that are made one, in the file's units; None
            to leave them.
        of_cells: targets that the files hold on cells, where predictions go as well.
        series: the files are series, each of which becomes one graph (:meth:`read_series`); None
            where one step of a file is a graph.
    """

    inputs: Fields = ()
    targets: Fields = ()
    cond: Fields = ()
    boundary: str = ""
    step: int = 0
    dim: int = 0
    merge_nodes: float | None = None
    of_cells: tuple[str, ...] = ()
    series: SeriesReading | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        fields = {"inputs": self.inputs, "targets": self.targets, "cond": self.cond}
        return {
            **{name: [field.to_dict() for field in listed] for name, listed in fields.items()},
            **{"boundary": self.boundary, "step": self.step, "dim": self.dim},
            **({} if self.merge_nodes is None else {"merge_nodes": self.merge_nodes}),
            **({"of_cells": list(self.of_cells)} if self.of_cells else {}),
            **({} if self.series is None else {"series": self.series.to_dict()}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GraphReader:
        """The inverse of :meth:`to_dict`; what an older version did not write has its default."""
        fields = {
            name: tuple(Field.from_dict(field) for field in values.get(name, ()))
            for name in ("inputs", "targets", "cond")
        }
        others = (values.get("boundary", ""), values.get("step", 0), values.get("dim", 0))
        merge, of_cells = values.get("merge_nodes"), tuple(values.get("of_cells", ()))
        series = values.get("series")
        how = None if series is None else SeriesReading.from_dict(series)
        listed = (fields["inputs"], fields["targets"], fields["cond"])
        return cls(*listed, *others, merge, of_cells, how)

    @property
    def fields(self) -> dict[str, Fields]:
        """Columns of the arrays of its graphs."""
        if self.series is None:
            arrays = {"x": self.inputs, "y": self.targets, "cond": self.cond}
        else:
            inputs = self.series.fields(self.inputs)
            cond = "cond_t" if self.series.cond_in_time else "cond"
            arrays = {**inputs, "states": self.targets, cond: self.cond}
        return {array: fields for array, fields in arrays.items() if fields}

    def read(
        self, path: str | Path, cond: Mapping[str, float] | None = None, *, truth: bool = True
    ) -> tuple[MeshData, MeshData]:
        """The mesh as :func:`read_mesh` gives it, with nodes merged if it merges, and its graph.

        Args:
            path: mesh file.
            cond: name -> value of each column of ``cond``.
            truth: demand the targets; otherwise the graph has ``y`` only if the file has them all.

        Raises:
            MeshError: the file cannot be read, or lacks a field.
        """
        mesh = self.prepared(read_mesh(path, self.step), path)
        return mesh, self.graph(mesh, cond, truth=truth, where=path)

    def read_series(
        self,
        source: str | Path | Sequence[str | Path],
        cond: Mapping[str, float] | Course | None = None,
        *,
        truth: bool = True,
    ) -> tuple[MeshSeries, MeshData]:
        """A series of meshes, and its graph, whose targets are ``states [N, T, K]``.

        The graph has ``times [T]`` too, ``x_t [N, T, F]`` with the inputs that change with time,
        ``pos_t [N, T, D]`` if nodes move, and the rest from its first step. Inputs that are worked
        out from the cells are those of the first step.

        Args:
            source: see :func:`open_series`.
            cond: name -> value of each column of ``cond``, or the course of those of ``cond_t``.
            truth: demand the targets and two steps; otherwise the graph has ``states`` only if the
                files have all targets, and a file without steps is the first step of a series.

        Raises:
            MeshError: the files cannot be read, or lack a field; the message names step and time.
        """
        series = open_series(source, one_step=not truth)
        return series, series_graph(self, series, cond, truth)

    def prepared(self, mesh: MeshData, where: object = "mesh") -> MeshData:
        """The mesh whose graph is made: with nodes at one place made one, if it merges."""
        if self.merge_nodes is None:
            return mesh
        merged = merge_nodes(mesh, self.merge_nodes, where)
        if mesh.get("times") is not None:
            merged.times = mesh.times
        return merged

    def graph(
        self,
        mesh: Data,
        cond: Mapping[str, float] | None = None,
        *,
        truth: bool = True,
        where: object = "mesh",
    ) -> MeshData:
        """The graph of a mesh; arguments and errors of :meth:`read`."""
        if self.dim and mesh.pos.shape[1] != self.dim:
            raise MeshError(
                f"{where}: positions have shape {list(mesh.pos.shape)}, expected [N, {self.dim}] as"
                " in the first file (z that is 0 everywhere is left out); leave the file out"
            )
        data = MeshData(pos=mesh.pos)
        if mesh.get("cells") is not None:
            data.cells, data.cell_types = mesh.cells, mesh.cell_types
        of_faces = mesh.get("edge_index") is not None  # polyhedra: there are no cells to ask
        if of_faces:
            data.edge_index = mesh.edge_index
        measure = (mesh if of_faces else NodeMeasure()(mesh)).measure
        data.measure = measure.float()
        if not data.measure.isfinite().all() or (measure.any() and not data.measure.any()):
            raise MeshError(
                f"{where}: areas or volumes of its cells do not fit into float32, positions are up"
                f" to {float(mesh.pos.abs().max()):.3g}; give them in another unit"
            )
        if self.boundary:
            data.boundary = boundary_markers(mesh, self.boundary, where)
        elif of_faces:
            data.boundary = mesh.boundary
        elif may_have_boundary(mesh):
            data.boundary = BoundaryNodes()(mesh).boundary
        if self.inputs:
            data.x = self._sized(mesh, self.inputs, where, inputs=True)
        if self.targets and (truth or all(has_field(mesh, f.name) for f in self.targets)):
            data.y = self._sized(mesh, self.targets, where)
        if self.cond:
            data.cond = cond_row(self.cond, cond, where)
        return data

    def _sized(self, mesh: Data, fields: Fields, where: object, inputs: bool = False) -> Tensor:
        """Columns as float32, which holds their sizes."""
        values = node_columns(mesh, fields, where, geometry=inputs, known=inputs)
        for name, columns in column_slices(fields).items():
            refuse_sizes(values[:, columns], name, where)
        return values.float()


def reader_for(
    mesh: Data,
    inputs: Iterable[str] = (),
    targets: Iterable[str] = (),
    cond: Iterable[str] = (),
    boundary: str = "",
    step: int = 0,
    where: object = "mesh",
    merge_nodes: float | None = None,
    series: SeriesReading | None = None,
) -> GraphReader:
    """A reader for meshes like this one: it tells scalars from vectors and tensors.

    Args:
        mesh: from :func:`read_mesh`.
        inputs, targets, cond: names, each perhaps with a unit in brackets: ``"p [Pa]"``.
        boundary, step, merge_nodes, series: see :class:`GraphReader`.
        where: name of the mesh for messages.

    Raises:
        MeshError: it lacks a field, or a name is there twice.
    """

    def describe(wanted: str, geometry: bool) -> Field:
        name, unit = (wanted, "1") if has_field(mesh, wanted) else split_unit(wanted)
        values = node_field(mesh, name, where, geometry)
        width = values.shape[1]
        dim = mesh.pos.shape[1]
        components: tuple[str, ...] = tuple(map(str, range(width))) if width > 1 else ()
        if width == 3 and dim == 2 and is_plane_vector(values):
            components = _AXES[2]
        elif width in _AXES:
            components = _AXES[width]
        elif width == 6:
            components = _SYMMETRIC
        elif width == 9:
            components = tuple(a + b for a in _AXES[3] for b in _AXES[3])
        elif width == 4:
            components = tuple(a + b for a in _AXES[2] for b in _AXES[2])
        return Field(name, unit, components)

    described = tuple(describe(name, False) for name in targets)
    reader = GraphReader(
        tuple(describe(name, True) for name in inputs),
        described,
        tuple(Field(*split_unit(name)) for name in cond),
        boundary,
        step,
        mesh.pos.shape[1],
        merge_nodes,
        tuple(field.name for field in described if field.name not in mesh.point_data),
        series,
    )
    for kind, fields in (("input", reader.inputs), ("target", reader.targets)):
        names = [field.name for field in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise MeshError(f"{where}: {kind} '{twice[0]}' is asked for twice; name it once")
    if both := {f.name for f in reader.inputs} & {f.name for f in reader.targets}:
        raise MeshError(
            f"{where}: '{min(both)}' is an input and a target, so there is nothing to predict;"
            " leave it out of one of them"
        )
    refuse_names_of_results(described, (*reader.inputs, *described), where)
    return reader


def refuse_names_of_results(targets: Fields, fields: Fields, where: object) -> None:
    """Refuse fields that have the name of what is written beside a target's truth.

    Raises:
        MeshError: a field is called ``F_predicted`` or ``F_error``, and ``F`` is a target.
    """
    names = {field.name for field in fields}
    for target in targets:
        for end in ("_predicted", "_error"):
            if target.name + end in names:
                raise MeshError(
                    f"{where}: '{target.name}{end}' is what a prediction of '{target.name}' is"
                    " written as, and one would replace the other; rename the field, or leave it"
                    " out of the inputs and targets"
                )
