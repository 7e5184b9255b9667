"""What may be wrong with one mesh: its places, its cells, and how they meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch_geometric.data import Data

from lrsa_geo.data.check.findings import Kind
from lrsa_geo.mesh.cells import cell_dimensions, cell_measures, signed_measures
from lrsa_geo.mesh.collapsed import resolve_collapsed
from lrsa_geo.mesh.merge import groups_of_nodes, hanging_nodes, repeated_cells
from lrsa_geo.mesh.mesh_data import positions_of, table_of

NO_NODES = Kind("no nodes", "error", "leave the graph out")
EXACTLY = Kind(
    "duplicate nodes, at exactly one place",
    "warning",
    "no edge joins the cells on both sides and both count as boundary: make the store with"
    " `data make --merge-nodes 0`, unless it is a crack or a contact",
)
NEARLY = Kind(
    "duplicate nodes, at nearly one place",
    "warning",
    "no edge joins the cells on both sides and both count as boundary: make the store with"
    " `data make --merge-nodes {value}`, unless it is a crack or a contact",
)
OWN_NODES = Kind(
    "cells that own their nodes",
    "warning",
    "every cell is an island without edges to others, and all nodes count as boundary (output of"
    " discontinuous elements): make the store with `data make --merge-nodes {value}`, which"
    " averages the fields where cells meet",
)
HANGING = Kind(
    "hanging nodes",
    "warning",
    "where a mesh is refined on one side only no edge joins both sides and both count as boundary:"
    " export a mesh whose cells meet at whole edges and faces, or triangulate it (ParaView:"
    " Delaunay; in the mesher: conforming refinement)",
)
TWICE = Kind(
    "duplicated cells",
    "error",
    "they count twice in the measure, and inner facets as boundary: export each cell once (one"
    " group or region for each cell)",
)
COLLAPSED = Kind(
    "collapsed cells that are no lesser type",
    "warning",
    "a node is at two of their corners and facets beside them count as boundary: split them into"
    " tetrahedra (ParaView: Tetrahedralize)",
)
STRAY = Kind(
    "nodes of no cell",
    "warning",
    "they have no edges, no measure and no value of a cell field (reference and construction"
    " points): remove them (ParaView: Clean to Grid) unless they are meant",
)
FLAT = Kind(
    "cells without area or volume",
    "error",
    "their measure is 0 and their normals are noise: repair the mesh, or leave the file out",
)
INVERTED = Kind(
    "cells numbered the other way round",
    "warning",
    "normals of a surface may point both ways and a solver would refuse them: repair the mesh if it"
    " is not meant",
)
FAR = Kind(
    "coordinates far from the origin",
    "note",
    "positions keep float64 and are centred before they become float32, so nothing is lost here;"
    " other programs may lose digits",
)

_TINY = 1e-8  # of the mesh's size: nodes nearer than that are at one place


def faults_of_mesh(data: Data) -> Iterator[tuple[Kind, str, float]]:
    """What is wrong with the positions and cells of one graph: kind, sentence, value."""
    pos = positions_of(data)
    if not len(pos):
        yield NO_NODES, "has no nodes", 0.0
        return
    cells, cell_types = table_of(data)
    if np.isfinite(pos).all():
        yield from _places(pos, cells)
    if len(cells):
        yield from _cells(pos, cells, cell_types)


def _places(pos: np.ndarray, cells: np.ndarray) -> Iterator[tuple[Kind, str, float]]:
    """Nodes at one place, which part the mesh where they are, and places far away."""
    size, away = float(np.ptp(pos, axis=0).max()), float(np.abs(pos).max())
    if size and away * np.finfo(np.float32).eps > 1e-5 * size:
        yield FAR, f"of size {size:.4g}, up to {away:.6g} from the origin", 0.0
    tolerance = _TINY * size
    groups = groups_of_nodes(pos, tolerance)
    several = len(pos) - int(groups.max()) - 1
    if not several:
        return
    counts = np.bincount(groups)
    first, second = np.flatnonzero(groups == np.argmax(counts > 1))[:2]
    exact = len(pos) - len(np.unique(pos, axis=0)) == several
    held = np.bincount(cells[cells >= 0], minlength=len(pos))
    kind = EXACTLY if exact else NEARLY
    if len(cells) > 1 and (held[counts[groups] > 1] == 1).all() and several >= len(cells) / 2:
        kind = OWN_NODES
    yield (
        kind,
        f"{several:,} nodes lie {'exactly' if exact else 'nearly'} where another one does, such as"
        f" nodes {first} and {second}",
        0.0 if exact else tolerance,
    )


def _cells(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray
) -> Iterator[tuple[Kind, str, float]]:
    used = np.zeros(len(pos), dtype=bool)
    used[cells[cells >= 0]] = True
    if not used.all():
        stray = (~used).sum()
        yield STRAY, f"{stray:,} nodes belong to no cell, the first is node {used.argmin()}", 0.0
    if not np.isfinite(pos).all():
        return
    yield from _topology(pos, cells, cell_types)
    measures = cell_measures(pos, cells, cell_types)
    dimensions = cell_dimensions(cell_types)
    size = float(np.ptp(pos, axis=0).max())
    flat = (measures <= 1e-12 * size**dimensions) & (dimensions > 0)
    if flat.any():
        what = f"{flat.sum():,} cells have no area or volume, the first is cell {flat.argmax()}"
        yield FLAT, what, 0.0
    if pos.shape[1] == 3:
        flat |= dimensions < 3  # a surface in space may be turned either way
    signed = np.where(flat, 0, signed_measures(pos, cells, cell_types))
    for cell_type in np.unique(cell_types):  # of some types, conventions differ
        sign = np.sign(signed) * (cell_types == cell_type)
        ahead, behind = int((sign > 0).sum()), int((sign < 0).sum())
        if ahead and behind:
            first = int(np.argmax(sign == (1 if ahead < behind else -1)))
            yield (
                INVERTED,
                f"{min(ahead, behind):,} of {ahead + behind:,} cells of VTK type {cell_type} are"
                f" inverted, or numbered the other way round, the first is cell {first}",
                0.0,
            )


def _topology(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray
) -> Iterator[tuple[Kind, str, float]]:
    """Cells that are there twice or repeat a node, and nodes that hang."""
    twice = repeated_cells(pos, cells, cell_types)
    if len(twice):
        what = f"{len(twice):,} cells have the nodes of another cell, the first is cell {twice[0]}"
        yield TWICE, what, 0.0
    _, _, collapsed = resolve_collapsed(cells, cell_types)
    if collapsed:
        yield COLLAPSED, f"{collapsed:,} cells have a node at two of their corners", 0.0
    hanging = hanging_nodes(pos, cells, cell_types)
    if len(hanging):
        yield (
            HANGING,
            f"{len(hanging):,} nodes hang on an edge or face of a neighbouring cell, the first is"
            f" node {hanging[0]}",
            0.0,
        )
