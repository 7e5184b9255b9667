"""Check mesh files for what spoils training, before a store is made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lrsa_geo.data.check.fields import FieldStatistics
from lrsa_geo.data.check.findings import Finding, Findings, Kind
from lrsa_geo.data.check.meshes import faults_of_mesh
from lrsa_geo.data.check.steps import check_series
from lrsa_geo.data.geometry import KnownMeshes
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.read import Reading, read_closely, read_mesh

UNREADABLE = Kind(
    "files that cannot be read",
    "error",
    "`data make` stops at the first of them; --skip-bad leaves them out",
)
NO_CELLS = Kind(
    "files without cells among meshes",
    "error",
    "a point cloud has no edges, measure or boundary, and all graphs of a store have the same"
    " arrays: export it with its cells; `data make --skip-bad` leaves it out",
)
DIMENSION = Kind(
    "files of another dimension",
    "error",
    "plane and solid meshes do not go into one store: make one of each; `data make --skip-bad`"
    " leaves them out",
)
LACKING = Kind(
    "fields that some files lack",
    "warning",
    "as inputs or targets they are refused where they are missing: write them everywhere, or leave"
    " these files out with --skip-bad",
)
NOT_FINITE = Kind(
    "fields with values that are NaN or infinite",
    "warning",
    "as an input or target such a field is refused: repair it, or leave these files out with"
    " --skip-bad; where a part of the mesh has no such field this is as it should be",
)
COLLAPSED = Kind(
    "collapsed cells",
    "note",
    "a quad with a node at two corners is read as the triangle that it is, a hexahedron as a wedge,"
    " pyramid or tetrahedron",
)
FLATTENED = Kind("z that is rounding of 0", "note", "the mesh is read as a plane one")
LEFT_OUT = Kind("parts of files that are left out", "note", "a mesh has no place for them")
MATERIALS = Kind(
    "whole numbers on cells",
    "note",
    "they stand for kinds such as materials, whose mean at a node is none of them: take a"
    " column for each, --inputs 'NAME=1' 'NAME=2'",
)
ONE_MESH = Kind(
    "files on one mesh, whatever its rounding",
    "note",
    "a random split trains and tests on the same mesh; if the model should work on new meshes use"
    " `data split --by geometry`",
)


def check_files(files: Sequence[str | Path], step: int = 0) -> list[Finding]:
    """Check mesh files for what spoils training, before a store is made of them.

    Each kind of fault is one finding, with a count, examples and advice: what
    :func:`lrsa_geo.data.check_store` finds in the graphs of a store, files that cannot be read or
    are unlike the others, and what reading makes of them (collapsed cells, z that is rounding).
    All floating-point fields are looked at as if they were targets; of a file with several steps
    also how they change from step to step.

    Args:
        files: mesh files.
        step: of time series, -1 for the last.

    Returns:
        Findings, errors first.
    """
    findings = Findings()
    statistics = FieldStatistics(findings)
    known = KnownMeshes(lambda number: read_mesh(files[number], step))
    dimensions: dict[str, int] = {}
    without_cells: list[str] = []
    holders: dict[str, list[str]] = defaultdict(list)
    for number, path in enumerate(files):
        where = str(path)
        try:
            reading = read_closely(path, step)
        except MeshError as error:
            findings.add(UNREADABLE, where, str(error).removeprefix(f"{path}: "))
            continue
        mesh = reading.mesh
        dimensions[where] = mesh.pos.shape[1]
        if mesh.get("cells") is None:
            without_cells.append(where)
        statistics.add_extent(where, mesh.pos.numpy())
        _of_reading(where, reading, findings)
        for kind, what, value in faults_of_mesh(mesh):
            findings.add(kind, where, what, value)
        for name in _fields(where, mesh, findings, statistics):
            holders[name].append(where)
        if len(mesh.get("times", ())) > 1:
            check_series(where, findings)
        if (first := known.number(number, mesh)) != number:
            findings.add(ONE_MESH, where, f"has the mesh of {files[first]}")
    _alike(dimensions, without_cells, holders, findings)
    statistics.judge()
    return findings.listed()


def _of_reading(where: str, reading: Reading, findings: Findings) -> None:
    if reading.collapsed:
        findings.add(COLLAPSED, where, f"{reading.collapsed:,} cells have a node at two corners")
    if reading.flattened:
        findings.add(FLATTENED, where, f"|z| is at most {reading.flattened:.2g}")
    for note in reading.left_out:
        findings.add(LEFT_OUT, where, note)


def _fields(
    where: str, mesh: MeshData, findings: Findings, statistics: FieldStatistics
) -> list[str]:
    """Look at the fields of a mesh, and name them."""
    for of, fields in (("node", mesh.point_data), ("cell", mesh.cell_data)):
        for name, values in fields.items():
            if not values.is_floating_point():
                if of == "cell" and (kinds := _kinds(name, values)):
                    listed = ", ".join(map(str, kinds[:4])) + ", ..." * (len(kinds) > 4)
                    findings.add(MATERIALS, where, f"'{name}' has the values {listed}")
                continue
            bad = int((~values.isfinite()).sum())
            if bad:
                what = f"{of} field '{name}' is NaN or infinite at {bad:,} places"
                findings.add(NOT_FINITE, where, what)
            statistics.add(where, name, values.reshape(len(values), -1).double().numpy())
    return [*dict.fromkeys([*mesh.point_data, *mesh.cell_data])]


def _kinds(name: str, values: Tensor) -> list[int]:
    """The numbers of a field of cells, if they may stand for materials.

    Gmsh's own numbers of its geometry are in every file of it.
    """
    whole = values.dtype not in (torch.bool, torch.uint8) and not values.is_complex()
    if values.dim() != 1 or not whole or name.startswith("gmsh:"):
        return []
    kinds: list[int] = values.unique().tolist()
    return kinds if len(kinds) > 1 else []


def _alike(
    dimensions: dict[str, int],
    without_cells: list[str],
    holders: dict[str, list[str]],
    findings: Findings,
) -> None:
    """Files that are unlike most of the others."""
    usual = Counter(dimensions.values()).most_common(1)[0][0] if dimensions else 0
    for where, dim in dimensions.items():
        if dim != usual:
            findings.add(DIMENSION, where, f"has positions of {dim} coordinates, most have {usual}")
    if len(without_cells) < len(dimensions):
        for where in without_cells:
            findings.add(NO_CELLS, where, "has no cells")
    for name, having in holders.items():
        lacking = [where for where in dimensions if where not in having]
        if lacking:
            what = f"missing in {len(lacking):,} of {len(dimensions):,} files, such as {lacking[0]}"
            findings.add(LACKING, f"'{name}'", what)
