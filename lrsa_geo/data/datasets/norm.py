"""Four data sets of NORM (arXiv 2302.08166): fields on one mesh, or from one mesh to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import PublishedFileError, check_array, find_file, read_mat
from lrsa_geo.data.datasets.base import Card, Cases, FirstAndLast, cell_tensors, floats
from lrsa_geo.mesh.cells import TETRA, TRIANGLE, Blocks
from lrsa_geo.mesh.fields import Field, Fields

NORM = "the repository github.com/gengxiangc/NORM, folder datasets, and its Google Drive folder"
_NODE_BY_NODE = (
    "NORM normalises every node by its own mean and deviation over the training graphs, and trains"
    " on the relative L2 of normalised values; the published error is of physical values"
)


@dataclass(frozen=True)
class MatMesh:
    """Where a mesh is in a MATLAB file.

    Args:
        file: name of the file.
        points: array of the coordinates, ``[nodes, D]`` or its transpose.
        cells: array of the node numbers of triangles ``[K, 3]`` or tetrahedra ``[K, 4]``, or its
            transpose; for one of several names, the first that the file has with such a shape.
        first: number of the first node: 1 as in MATLAB, or 0; None where it is not known.
        dim: D.
    """

    file: str
    points: str
    cells: tuple[str, ...]
    first: int | None = 1
    dim: int = 2

    def read(self, folder: Path, source: str, nodes: int) -> tuple[Path, np.ndarray, Blocks]:
        """Path, positions ``[nodes, D]`` and the cells with node numbers from 0.

        Raises:
            PublishedFileError: missing, or not a mesh of so many nodes.
        """
        path = find_file(folder, self.file, source)
        points = read_mat(path, [self.points])[self.points]
        points = points.T if points.ndim == 2 and points.shape[1] != self.dim else points
        check_array(path, self.points, points, (nodes, self.dim))
        name, cells = self._cells(path)
        first = min(1, int(cells.min())) if self.first is None else self.first
        cells = cells.astype(np.int64) - first
        if cells.min() < 0 or cells.max() >= nodes:
            raise PublishedFileError(
                f"{path}: array '{name}' does not hold the numbers of {nodes} nodes from {first}"
                " on; it is not the published file"
            )
        cell_type = TRIANGLE if cells.shape[1] == 3 else TETRA
        return path, points, [(cell_type, cells)]

    def _cells(self, path: Path) -> tuple[str, np.ndarray]:
        found: dict[str, tuple[int, ...]] = {}
        for name in self.cells:
            try:
                array = read_mat(path, [name])[name]
            except PublishedFileError:
                if len(self.cells) == 1:
                    raise
                continue
            found[name] = array.shape
            for cells in (array, array.T):
                if cells.ndim == 2 and cells.shape[1] in (3, 4) and cells.size:
                    return name, cells
        raise PublishedFileError(
            f"{path}: expected cells [K, 3] or [K, 4] in {' or '.join(self.cells)}, found {found};"
            " it is not the published file"
        )


@dataclass(frozen=True)
class MatFields:
    """Where two fields and their mesh are in MATLAB files.

    Args:
        file: of the fields.
        arrays: input and target, each ``[samples, nodes]``.
        mesh: their mesh.
    """

    file: str
    arrays: tuple[str, str]
    mesh: MatMesh


@dataclass(frozen=True)
class FieldToField(FirstAndLast):
    """One field to another on the same mesh: the first samples train, the last test.

    Args:
        card: its name, source and traps.
        files: where the fields and the mesh are.
        columns: what the input and the target are.
        nodes: of the mesh.
        samples, train, test: see :class:`FirstAndLast`.
    """

    files: MatFields
    columns: tuple[Field, Field]
    nodes: int
    samples: int
    train: int
    test: int

    @property
    def fields(self) -> dict[str, Fields]:
        """``x``: the input; ``y``: the target."""
        return {"x": self.columns[:1], "y": self.columns[1:]}

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        path = find_file(folder, self.files.file, self.card.source)
        arrays = read_mat(path, self.files.arrays)
        for name, array in arrays.items():
            check_array(path, name, array, (self.samples, self.nodes))
        given, target = arrays.values()
        mesh_path, points, blocks = self.files.mesh.read(folder, self.card.source, self.nodes)
        pos, cells = floats(points), cell_tensors(blocks)

        def graph(case: int) -> Data:
            x, y = floats(given[case, :, None]), floats(target[case, :, None])
            return Data(pos=pos, x=x, y=y, **cells)

        return Cases(*self.parts, graph, list(dict.fromkeys([path, mesh_path])))


IRREGULAR_DARCY = FieldToField(
    Card("darcy_norm", NORM, (_NODE_BY_NODE,)),
    MatFields(
        "datasets/Darcy.mat",
        ("c_field", "u_field"),
        MatMesh("datasets/Darcy.mat", "MeshNodes", ("MeshElements",)),
    ),
    (Field("coefficient"), Field("solution")),
    nodes=2290,
    samples=1200,
    train=1000,
    test=200,
)
"""NORM case 1: diffusion coefficient -> pressure in a plane domain."""

TURBULENCE = FieldToField(
    Card("turbulence_norm", NORM),
    MatFields(
        "datasets/Turbulence.mat",
        ("Input", "Output"),
        MatMesh("datasets/Turbulence.mat", "nodes", ("elements",)),
    ),
    (Field("input_field"), Field("output_field")),
    nodes=2673,
    samples=400,
    train=300,
    test=100,
)
"""NORM case 2: a field of turbulent flow in a pipe -> another."""

_BASIS = "datasets/Composites_LBO_basis/Composites_LBO_basis.mat"
COMPOSITE = FieldToField(
    Card("composite_norm", NORM),
    MatFields(
        "datasets/Composites.mat",
        ("T_field", "D_field"),
        MatMesh(_BASIS, "Points", ("Faces", "Elements"), first=None, dim=3),
    ),
    (Field("temperature"), Field("deformation")),
    nodes=8232,
    samples=1200,
    train=400,
    test=100,
)
"""NORM case 4: temperature of a curved composite part -> its deformation."""


@dataclass(frozen=True)
class HeatTransfer(FirstAndLast):
    """NORM case 3: a field on a surface mesh -> the temperature in the solid.

    A graph is both meshes: first the ``inputs`` nodes of the surface, with measure 1 and boundary
    1, then the ``outputs`` nodes of the solid, with measure 0 and boundary 0. By the layer's rule a
    node of measure 0 is passive: the solid reads the field and does not influence it. ``x`` is 0 in
    the solid; ``y`` is NaN on the surface, where no target exists: losses and errors leave it out.

    Files: ``HeatTransfer.mat`` with ``input [samples, inputs]``, ``output [samples, outputs]``;
    ``lbe_ev_input.mat`` with the triangles, ``Part_Mesh.mat`` with the tetrahedra.
    """

    inputs: int = 186
    outputs: int = 7199
    samples: int = 300
    train: int = 100
    test: int = 100

    card: Card = Card(
        "heat_transfer_norm",
        NORM,
        (
            _NODE_BY_NODE,
            "only the nodes of the solid (boundary 0) have a target",
        ),
        partial=True,
    )
    surface: ClassVar[MatMesh] = MatMesh(
        "datasets/HeatTransfer_LBO_basis/lbe_ev_input.mat", "Points", ("Faces",), 0, 3
    )
    solid: ClassVar[MatMesh] = MatMesh(
        "datasets/HeatTransfer_LBO_basis/Part_Mesh.mat", "points", ("elements",), 1, 3
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``x``: field on the surface; ``y``: temperature in the solid."""
        return {"x": (Field("surface_field"),), "y": (Field("temperature"),)}

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        path = find_file(folder, "datasets/HeatTransfer.mat", self.card.source)
        arrays = read_mat(path, ["input", "output"])
        given, target = arrays["input"], arrays["output"]
        check_array(path, "input", given, (self.samples, self.inputs))
        check_array(path, "output", target, (self.samples, self.outputs))
        surface_path, surface, triangles = self.surface.read(folder, self.card.source, self.inputs)
        solid_path, solid, tetrahedra = self.solid.read(folder, self.card.source, self.outputs)
        pos = floats(np.concatenate([surface, solid]))
        is_input = torch.arange(len(pos)) < self.inputs
        shifted = [(cell_type, nodes + self.inputs) for cell_type, nodes in tetrahedra]
        cells = cell_tensors([*triangles, *shifted])

        def graph(case: int) -> Data:
            x, y = torch.zeros(len(pos), 1), torch.full((len(pos), 1), torch.nan)
            x[is_input, 0], y[~is_input, 0] = floats(given[case]), floats(target[case])
            measure, boundary = is_input.float(), is_input.to(torch.int8)
            return Data(pos=pos, x=x, y=y, measure=measure, boundary=boundary, **cells)

        return Cases(*self.parts, graph, [path, surface_path, solid_path])
