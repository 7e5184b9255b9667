"""Collapsed cells, turned into what they are.

Some programs write a triangle as a quad with a node twice, and tetrahedra, pyramids and wedges as
hexahedra. Taken as they stand, their facets match those of no neighbour, and inner nodes become
boundary.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np

from lrsa_geo.mesh.cells import corner_count, shape_groups, shape_of, signed_measures
from lrsa_geo.mesh.topology import edges_of, facets_of, places_of_inner_nodes

_SQUARE: list[list[float]] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
_PLACES: dict[str, list[list[float]]] = {  # of the corners, to tell which way a cell is turned
    "quad": _SQUARE,
    "hexahedron": _SQUARE + [[x, y, 1] for x, y, _ in _SQUARE],
    "wedge": [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]],
    "pyramid": [*_SQUARE, [0.5, 0.5, 1]],
}
# Types that can collapse -> order; shape and order -> type.
_ORDER = {9: 1, 12: 1, 13: 1, 14: 1, 23: 2, 25: 2, 26: 2, 27: 2}
_TYPE = {
    **{("triangle", 1): 5, ("tetra", 1): 10, ("wedge", 1): 13, ("pyramid", 1): 14},
    **{("triangle", 2): 22, ("tetra", 2): 24, ("wedge", 2): 26, ("pyramid", 2): 27},
}


def has_collapsed(cell_type: int, nodes: np.ndarray) -> bool:
    """Whether some cell ``[K, V]`` of a type has an edge whose ends are one node. Fast."""
    if cell_type not in _ORDER:
        return False
    columns = nodes.T
    return any(bool((columns[a] == columns[b]).any()) for a, b in edges_of(shape_of(cell_type)))


def repeats_a_corner(cell_type: int, nodes: np.ndarray) -> np.ndarray:
    """``[K] bool``: cells ``[K, V]`` of a type that have a node at two of their corners."""
    columns = [np.ascontiguousarray(nodes[:, i]) for i in range(corner_count(cell_type))]
    repeats = np.zeros(len(nodes), dtype=bool)
    for one, other in combinations(columns, 2):
        repeats |= one == other
    return repeats


def resolve_collapsed(
    cells: np.ndarray, cell_types: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cells and types with collapsed cells as what they are, and how many stay as they were.

    A quad may be a triangle; a hexahedron, wedge or pyramid any of the lesser ones; of order 1 or
    2. Others, such as a hexahedron with one edge gone, have no type of their own and stay.
    """
    cells, cell_types, left = cells.copy(), cell_types.copy(), 0
    for rows, cell_type, _, nodes in shape_groups(cells, cell_types):
        if cell_type not in _ORDER:
            continue
        bad = np.flatnonzero(repeats_a_corner(cell_type, nodes))
        if not len(bad):
            continue
        nodes = nodes[bad]
        patterns = np.argmax(nodes[:, None, :] == nodes[:, :, None], axis=2)
        for pattern in np.unique(patterns, axis=0):
            here = (patterns == pattern).all(1)
            found = _lesser_cell(cell_type, tuple(pattern.tolist()))
            if found is None:
                left += int(here.sum())
                continue
            new_type, columns = found
            those = rows[bad[here]]
            cells[those] = -1
            cells[those[:, None], np.arange(len(columns))] = nodes[here][:, columns]
            cell_types[those] = new_type
    return cells, cell_types, left


@cache
def _lesser_cell(cell_type: int, pattern: tuple[int, ...]) -> tuple[int, list[int]] | None:
    """Type and nodes of the cell that is left, if node i of a cell is the same as pattern[i]."""
    shape, order = shape_of(cell_type), _ORDER[cell_type]
    corners = pattern[: len(_PLACES[shape])]
    found = _triangle(corners) if shape == "quad" else _solid(shape, corners)
    if found is None:
        return None
    name, nodes = found
    new_type = _TYPE[name, order]
    places = np.array(_PLACES[shape])
    pos = np.stack([places[np.array(corners) == node].mean(0) for node in nodes])
    plane = pos[:, :2] if name == "triangle" else pos
    table = np.arange(len(nodes))[None], np.array([_TYPE[name, 1]])
    # The first triangle of a linear wedge looks outwards in VTK: a negative volume by our formula.
    wanted = -1 if new_type == 13 else 1
    if signed_measures(plane, *table)[0] * wanted < 0:
        turned = {"triangle": (0, 2, 1), "tetra": (0, 2, 1, 3), "pyramid": (0, 3, 2, 1, 4)}
        nodes = [nodes[i] for i in turned.get(name, (3, 4, 5, 0, 1, 2))]
    if order == 2:
        inner = places_of_inner_nodes(cell_type, len(pattern))
        for a, b in edges_of(name):
            ends = {nodes[a], nodes[b]}
            middle = {
                pattern[k] for k, around in inner.items() if {corners[i] for i in around} == ends
            }
            if len(middle) != 1:
                return None
            nodes = [*nodes, middle.pop()]
    return new_type, nodes


def _ring(corners: list[int]) -> list[int]:
    return [c for i, c in enumerate(corners) if c != corners[i - 1]]


def _triangle(corners: tuple[int, ...]) -> tuple[str, list[int]] | None:
    ring = _ring(list(corners))
    return ("triangle", ring) if len(ring) == len(set(ring)) == 3 else None


def _solid(shape: str, corners: tuple[int, ...]) -> tuple[str, list[int]] | None:
    rings = [_ring([corners[i] for i in facet]) for facet in facets_of(shape)]
    if any(len(set(ring)) < len(ring) for ring in rings if len(ring) > 2):
        return None
    rings = [ring for ring in rings if len(ring) > 2]
    triangles = [ring for ring in rings if len(ring) == 3]
    quads = [ring for ring in rings if len(ring) == 4]
    nodes = set(corners)
    kind = len(nodes), len(triangles), len(quads)
    if kind == (4, 4, 0):
        return "tetra", [*triangles[0], *(nodes - set(triangles[0]))]
    if kind == (5, 4, 1):
        return "pyramid", [*quads[0], *(nodes - set(quads[0]))]
    if kind == (6, 2, 3) and not set(triangles[0]) & set(triangles[1]):
        sides = {frozenset((ring[i - 1], ring[i])) for ring in quads for i in range(4)}
        above = [
            [top for top in triangles[1] if frozenset((node, top)) in sides]
            for node in triangles[0]
        ]
        if all(len(tops) == 1 for tops in above):
            return "wedge", [*triangles[0], *(tops[0] for tops in above)]
    return None
