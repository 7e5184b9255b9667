"""Cells of unstructured meshes: VTK's types, the padded table, and the measure of a cell.

A table of cells is ``cells [K, V]``, padded with -1 where a cell has fewer than V nodes, and
``cell_types [K]``, VTK's numbers (https://vtk.org/doc/nightly/html/vtkCellType_8h.html). Nodes of
a cell are in VTK's order: the corners first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

VERTEX, LINE, TRIANGLE, POLYGON, QUAD, TETRA = 1, 3, 5, 7, 9, 10
Blocks = list[tuple[int, np.ndarray]]

# For each VTK type, the linear shape that its corners span.
_SHAPES = {
    "points": (1, 2),
    "line": (3, 21, 35, 68, 75),
    "polyline": (4,),
    "triangle": (5, 22, 34, 69, 76),
    "quad": (9, 23, 28, 30, 70, 77),
    "polygon": (7,),
    "strip": (6,),
    "pixel": (8,),
    "tetra": (10, 24, 71, 78),
    "voxel": (11,),
    "hexahedron": (12, 25, 29, 33, 72, 79),
    "wedge": (13, 26, 31, 32, 73, 80),
    "pyramid": (14, 27, 37, 74, 81),
    "penta_prism": (15,),
    "hexa_prism": (16,),
}
_SHAPE_OF_TYPE = {number: shape for shape, types in _SHAPES.items() for number in types}
# Shapes not named here have no other nodes than corners.
_CORNERS = {"line": 2, "triangle": 3, "quad": 4, "tetra": 4, "hexahedron": 8, "wedge": 6}
_CORNERS |= {"pyramid": 5}
# Corners in order around a flat cell.
_OUTLINES = {"triangle": (0, 1, 2), "quad": (0, 1, 2, 3), "pixel": (0, 1, 3, 2)}
# Tetrahedra that fill a cell, all with the same orientation.
_HEXAHEDRON = ((0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6))
_VOXEL = tuple(tuple((0, 1, 3, 2, 4, 5, 7, 6)[i] for i in tetra) for tetra in _HEXAHEDRON)
_TETRAHEDRA: dict[str, tuple[tuple[int, ...], ...]] = {
    "tetra": ((0, 1, 2, 3),),
    "hexahedron": _HEXAHEDRON,
    "voxel": _VOXEL,
    "wedge": ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)),
    "pyramid": ((0, 1, 2, 4), (0, 2, 3, 4)),
}
_DIMENSIONS = {
    **dict.fromkeys(_SHAPES, 3),
    **dict.fromkeys(("triangle", "quad", "polygon", "strip", "pixel"), 2),
    **{"points": 0, "line": 1, "polyline": 1},
}
# What a cell is when only its number of nodes is known: (D, nodes) -> VTK type.
TYPE_OF_WIDTH = {
    **{(2, 3): 5, (2, 4): 9, (2, 6): 22, (2, 8): 23, (2, 9): 28},
    **{(3, 3): 5, (3, 4): 10, (3, 8): 12, (3, 10): 24, (3, 20): 25, (3, 27): 29},
    **{(dim, width): number for dim in (2, 3) for width, number in ((1, 1), (2, 3))},
}

# How many nodes a cell of each VTK type has; Lagrange and Bezier cells of order 1 or 2 alone, whose
# nodes are those of the ordinary types (a Bezier cell of order 2 has control points off the mesh).
_WIDTHS: dict[int, tuple[int, ...]] = {
    **{1: (1,), 3: (2,), 5: (3,), 8: (4,), 9: (4,), 10: (4,), 11: (8,), 12: (8,), 13: (6,)},
    **{14: (5,), 15: (10,), 16: (12,), 21: (3,), 22: (6,), 23: (8,), 24: (10,), 25: (20,)},
    **{26: (15,), 27: (13,), 28: (9,), 29: (27,), 30: (6,), 31: (12,), 32: (18,), 33: (24,)},
    **{34: (7,), 35: (4,), 37: (19,)},
    **{68: (2, 3), 69: (3, 6, 7), 70: (4, 8, 9), 71: (4, 10), 72: (8, 20, 27), 73: (6, 15, 18)},
    **{74: (5, 13, 14)},
    **{75: (2,), 76: (3,), 77: (4,), 78: (4,), 79: (8,), 80: (6,), 81: (5,)},
}
_LEAST = {2: 1, 4: 2, 6: 3, 7: 3}  # types of any width


def is_known(cell_type: int) -> bool:
    """Whether a VTK type can stand in a table of cells."""
    return cell_type in _SHAPE_OF_TYPE


def expected_widths(cell_type: int, width: int) -> tuple[int, ...]:
    """How many nodes a cell of this type can have, if not ``width``; else nothing."""
    least = _LEAST.get(cell_type)
    if least is not None:
        return () if width >= least else (least,)
    return () if width in _WIDTHS[cell_type] else _WIDTHS[cell_type]


def shape_of(cell_type: int) -> str:
    """The linear shape that the corners of a VTK type span, such as ``"wedge"``."""
    return _SHAPE_OF_TYPE[cell_type]


def cell_dimensions(cell_types: np.ndarray) -> np.ndarray:
    """Topological dimension of each cell, ``[K]``: 0 for vertices to 3 for solids."""
    table = np.full(128, -1)
    for number, shape in _SHAPE_OF_TYPE.items():
        table[number] = _DIMENSIONS[shape]
    return table[cell_types]


def corner_counts(cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """Corners of each cell, ``[K]``: the nodes that are not inside an edge, a facet or the cell."""
    counts = (cells >= 0).sum(1)
    for name, corners in _CORNERS.items():
        counts[np.isin(cell_types, _SHAPES[name])] = corners
    return counts


def corner_count(cell_type: int) -> int:
    """Corners of a cell of a type that has a fixed number of them."""
    return _CORNERS[_SHAPE_OF_TYPE[cell_type]]


def to_table(blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of cells of one type and width -> ``cells [K, V] int32``, ``cell_types [K] int8``."""
    total = sum(len(nodes) for _, nodes in blocks)
    cells = np.full((total, max(nodes.shape[1] for _, nodes in blocks)), -1, dtype=np.int32)
    cell_types = np.empty(total, dtype=np.int8)
    start = 0
    for number, nodes in blocks:
        stop = start + len(nodes)
        cells[start:stop, : nodes.shape[1]] = nodes
        cell_types[start:stop] = number
        start = stop
    return cells, cell_types


def to_blocks(cells: np.ndarray, cell_types: np.ndarray) -> Blocks:
    """The inverse of :func:`to_table`: runs of neighbouring cells of one type and width."""
    if not len(cells):
        return []
    key = np.stack([cell_types.astype(np.int64), (cells >= 0).sum(1)], 1)
    starts = [0, *(np.flatnonzero((key[1:] != key[:-1]).any(1)) + 1), len(key)]
    return [
        (int(key[first, 0]), cells[first:last, : key[first, 1]]) for first, last in pairwise(starts)
    ]


def blocks_from_offsets(types: np.ndarray, starts: np.ndarray, nodes: np.ndarray) -> Blocks:
    """Cells in VTK's compressed form, cell k being ``nodes[starts[k]:starts[k + 1]]``."""
    if not len(types):
        return []
    widths = np.diff(starts)
    changes = np.flatnonzero((np.diff(types) != 0) | (np.diff(widths) != 0)) + 1
    return [
        (int(types[a]), nodes[starts[a] : starts[b]].reshape(b - a, widths[a]))
        for a, b in pairwise([0, *changes, len(types)])
    ]


def cell_measures(pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """Length, area or volume of each cell, ``[K] float64``; 1 for a vertex.

    A curved cell is measured by its corners alone, a warped face by its triangles.
    """
    return np.abs(signed_measures(pos, cells, cell_types, flat=False))


def signed_measures(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray, flat: bool = True
) -> np.ndarray:
    """Measure of each cell, ``[K] float64``, with the sign of its orientation.

    Solids and, if ``flat``, cells in the x-y plane have one; of other cells the sign says nothing.
    """
    is_plane = flat and pos.shape[1] == 2
    pos = np.pad(pos.astype(np.float64), ((0, 0), (0, 3 - pos.shape[1])))
    measures = np.empty(len(cells))
    for rows, _, shape, nodes in shape_groups(cells, cell_types):
        measures[rows] = _measure(shape, pos[nodes], is_plane)
    return measures


def shape_groups(
    cells: np.ndarray, cell_types: np.ndarray
) -> Iterator[tuple[np.ndarray, int, str, np.ndarray]]:
    """Cells of one type and width at a time: their numbers, type, shape, and nodes ``[K, V]``."""
    widths = (cells >= 0).sum(1)
    keys = cell_types.astype(np.int64) * (cells.shape[1] + 1) + widths
    for key in np.flatnonzero(np.bincount(keys)):
        number, width = divmod(int(key), cells.shape[1] + 1)
        rows = np.flatnonzero(keys == key)
        alike = cells if len(rows) == len(cells) else cells[rows]
        yield rows, number, _SHAPE_OF_TYPE[number], alike[:, :width]


def _measure(shape: str, corner: np.ndarray, is_plane: bool) -> np.ndarray:
    """``corner [K, V, 3]`` -> measures ``[K]``; in the x-y plane areas have a sign."""
    width = corner.shape[1]
    if shape == "points":
        return np.full(len(corner), float(width))
    if shape == "polyline":
        return np.linalg.norm(np.diff(corner, axis=1), axis=2).sum(1)
    if shape == "line":
        return np.linalg.norm(corner[:, 1] - corner[:, 0], axis=1)
    if shape == "strip":
        triangles = np.stack([corner[:, i : i + 3] for i in range(width - 2)])
        return sum((_area(t, False) for t in triangles), np.zeros(len(corner)))
    if _DIMENSIONS[shape] == 2:
        outline = list(_OUTLINES.get(shape, range(width)))
        return _area(corner[:, outline], is_plane)
    tetrahedra = _TETRAHEDRA.get(shape) or _prism(5 if shape == "penta_prism" else 6)
    volume = np.zeros(len(corner))
    for a, b, c, d in tetrahedra:
        (x1, y1, z1), (x2, y2, z2), (x3, y3, z3) = (
            (corner[:, i] - corner[:, a]).T for i in (b, c, d)
        )
        volume += x1 * (y2 * z3 - z2 * y3) - y1 * (x2 * z3 - z2 * x3) + z1 * (x2 * y3 - y2 * x3)
    volume /= 6
    return volume


def _prism(sides: int) -> tuple[tuple[int, ...], ...]:
    """A prism over a polygon, as wedges over the triangles of the polygon."""
    wedges = [(0, i, i + 1, sides, sides + i, sides + i + 1) for i in range(1, sides - 1)]
    return tuple(tuple(w[i] for i in tetra) for w in wedges for tetra in _TETRAHEDRA["wedge"])


def _area(outline: np.ndarray, is_plane: bool) -> np.ndarray:
    """Area of flat polygons ``[K, V, 3]``."""
    spokes = outline[:, 1:] - outline[:, :1]
    normal = np.cross(spokes[:, :-1], spokes[:, 1:]).sum(1) / 2
    return normal[:, 2] if is_plane else np.linalg.norm(normal, axis=1)
