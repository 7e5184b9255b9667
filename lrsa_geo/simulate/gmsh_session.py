"""gmsh, which has one state per process, as a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gmsh
import numpy as np

from lrsa_geo.jobs import SampleError

TRIANGLES, TETRAHEDRA = 2, 4  # gmsh's types of elements
VTK_TRIANGLE, VTK_TETRAHEDRON = 5, 10  # VTK's, for `Data.cell_types`


@contextmanager
def gmsh_session() -> Iterator[None]:
    """An empty, silent, single-threaded gmsh with sizes from fields alone; closed at the end.

    Raises:
        RuntimeError: gmsh is in use in this process.
    """
    if gmsh.isInitialized():
        raise RuntimeError("gmsh is in use in this process; call gmsh.finalize() first")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("General.NumThreads", 1)
        for option in ("ExtendFromBoundary", "FromPoints", "FromCurvature"):
            gmsh.option.setNumber(f"Mesh.MeshSize{option}", 0)
        yield
    finally:
        gmsh.finalize()


def mesh_of(element_type: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh that gmsh made: nodes that belong to a cell, and cells.

    Points that only shape a curve are nodes for gmsh, but belong to no cell.

    Args:
        element_type: ``TRIANGLES`` or ``TETRAHEDRA``.
        dim: D, coordinates to keep.

    Returns:
        ``points [N, D]``, ``cells [K, corners]`` and gmsh's ``tags [N]`` of the nodes, ascending.

    Raises:
        SampleError: there is no cell.
    """
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    _, corner_tags = gmsh.model.mesh.getElementsByType(element_type)
    if not len(corner_tags):
        raise SampleError("gmsh made no cells")
    number_of_tag = np.zeros(int(tags.max()) + 1, dtype=np.int64)
    number_of_tag[tags.astype(np.int64)] = np.arange(len(tags))
    used, cells = np.unique(number_of_tag[corner_tags.astype(np.int64)], return_inverse=True)
    corners = {TRIANGLES: 3, TETRAHEDRA: 4}[element_type]
    return coordinates.reshape(-1, 3)[used, :dim], cells.reshape(-1, corners), tags[used]


def grade(
    what: str,
    entities: list[int],
    near: float,
    far: float,
    *,
    reach: float,
    number: int,
    start: float = 0.01,
    sampling: int | None = None,
) -> int:
    """Element size ``near`` at some entities, growing to ``far`` at the distance ``reach``.

    Args:
        what: "PointsList", "CurvesList" or "SurfacesList".
        entities: their tags.
        near: size up to the distance ``start``.
        far: size from the distance ``reach`` on.
        reach: see ``far``.
        number: of the first of two fields of gmsh.
        start: see ``near``.
        sampling: points on each curve from which distance is measured.

    Returns:
        The number of the field of sizes.
    """
    fields = gmsh.model.mesh.field
    fields.add("Distance", number)
    fields.setNumbers(number, what, entities)
    if sampling is not None:
        fields.setNumber(number, "Sampling", sampling)
    fields.add("Threshold", number + 1)
    fields.setNumber(number + 1, "InField", number)
    for option, value in (
        ("SizeMin", near),
        ("SizeMax", far),
        ("DistMin", start),
        ("DistMax", reach),
    ):
        fields.setNumber(number + 1, option, value)
    return number + 1


def generate(dim: int, size_fields: list[int], number: int = 99) -> None:
    """Mesh with, everywhere, the smallest size that the fields ask for.

    Raises:
        SampleError: gmsh could not.
    """
    smallest = gmsh.model.mesh.field.add("Min", number)
    gmsh.model.mesh.field.setNumbers(smallest, "FieldsList", size_fields)
    gmsh.model.mesh.field.setAsBackgroundMesh(smallest)
    try:
        gmsh.model.mesh.generate(dim)
    except Exception as error:  # gmsh has no type of its own
        raise SampleError(f"gmsh: {error}") from error
