"""Topology of a mesh: edges between its nodes, and the facets that bound it.

Conventions of nodes and cell types are those of :mod:`lrsa_geo.mesh.cells`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from lrsa_geo.mesh.cells import cell_dimensions, shape_groups, shape_of

Tuples = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Shape:
    """A cell's corners, its edges in the order of VTK's mid-edge nodes, and its facets."""

    corners: int
    edges: Tuples
    facets: Tuples


def _around(corners: int, first: int = 0) -> Tuples:
    return tuple((first + i, first + (i + 1) % corners) for i in range(corners))


def _prism(sides: int) -> _Shape:
    up = tuple((i, sides + i) for i in range(sides))
    walls = tuple((i, j, sides + j, sides + i) for i, j in _around(sides))
    ends = (tuple(range(sides)), tuple(range(sides, 2 * sides)))
    return _Shape(2 * sides, _around(sides) + _around(sides, sides) + up, ends + walls)


_TETRA = _Shape(
    4, ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)), tuple(combinations(range(4), 3))
)
_PYRAMID = _Shape(
    5,
    _around(4) + tuple((i, 4) for i in range(4)),
    ((0, 1, 2, 3), *((i, j, 4) for i, j in _around(4))),
)
_SHAPES = {
    "line": _Shape(2, ((0, 1),), ((0,), (1,))),
    "triangle": _Shape(3, _around(3), _around(3)),
    "quad": _Shape(4, _around(4), _around(4)),
    "tetra": _TETRA,
    "hexahedron": _prism(4),
    "wedge": _prism(3),
    "pyramid": _PYRAMID,
    "penta_prism": _prism(5),
    "hexa_prism": _prism(6),
}
# Cells that are another one with its corners in another order.
REORDERED = {"pixel": ("quad", (0, 1, 3, 2)), "voxel": ("hexahedron", (0, 1, 3, 2, 4, 5, 7, 6))}
_QUADRATIC_LINEAR_QUAD = 30  # has nodes on two of its four edges
# Nodes inside facets, after those inside edges: (shape, how many) -> the corners around each.
_HEXAHEDRON_SIDES = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
_HEXAHEDRON_FACES = (
    *((0, 3, 7, 4), (1, 2, 6, 5), (0, 1, 5, 4), (3, 2, 6, 7)),
    *((0, 1, 2, 3), (4, 5, 6, 7)),
)
_FACE_NODES: dict[tuple[str, int], Tuples] = {
    ("hexahedron", 4): _HEXAHEDRON_SIDES,
    ("hexahedron", 6): _HEXAHEDRON_FACES,
    ("hexahedron", 7): _HEXAHEDRON_FACES,
    ("pyramid", 1): ((0, 1, 2, 3),),
    ("pyramid", 6): ((0, 1, 2, 3), *((i, j, 4) for i, j in _around(4))),
    ("wedge", 3): ((0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
}


@dataclass(frozen=True)
class _Group:
    """Cells of one shape and width, with their nodes' meanings.

    Attributes:
        rows: ``[K]`` numbers of the cells.
        nodes: ``[K, V]`` nodes, corners first.
        shape: its corners, edges and facets.
        inner: node of the cell -> the corners of the edge, facet or cell in which it lies.
    """

    rows: np.ndarray
    nodes: np.ndarray
    shape: _Shape
    inner: dict[int, tuple[int, ...]]


def _mesh_groups(cells: np.ndarray, cell_types: np.ndarray) -> list[_Group]:
    groups = []
    for rows, cell_type, name, nodes in shape_groups(cells, cell_types):
        width = nodes.shape[1]
        if name == "points":
            continue
        if name == "strip":  # neighbouring triangles
            for i in range(width - 2):
                groups.append(_Group(rows, nodes[:, i : i + 3], _SHAPES["triangle"], {}))
            continue
        if name == "polyline":  # neighbouring lines
            for i in range(width - 1):
                groups.append(_Group(rows, nodes[:, i : i + 2], _SHAPES["line"], {}))
            continue
        if name in REORDERED:
            name, order = REORDERED[name]
            nodes = nodes[:, order]
        if name == "polygon":
            shape = _Shape(width, _around(width), _around(width))
        else:
            shape = _SHAPES[name]
        groups.append(_Group(rows, nodes, shape, _inner_nodes(name, shape, cell_type, width)))
    return groups


def _inner_nodes(
    name: str, shape: _Shape, cell_type: int, width: int
) -> dict[int, tuple[int, ...]]:
    """Where the nodes beyond the corners lie: on edges first, then in facets, then inside."""
    edges = ((0, 1), (2, 3)) if cell_type == _QUADRATIC_LINEAR_QUAD else shape.edges
    places = list(edges) if name != "line" or width == 3 else []
    rest = width - shape.corners - len(places)
    places += _FACE_NODES.get((name, rest), ())
    everywhere = tuple(range(shape.corners))
    return {
        node: places[node - shape.corners] if node - shape.corners < len(places) else everywhere
        for node in range(shape.corners, width)
    }


@cache
def places_of_inner_nodes(cell_type: int, width: int) -> dict[int, tuple[int, ...]]:
    """Node of a cell of this type -> the corners of the edge, facet or cell in which it lies."""
    name = shape_of(cell_type)
    name = REORDERED[name][0] if name in REORDERED else name
    shape = _SHAPES.get(name)
    return {} if shape is None else _inner_nodes(name, shape, cell_type, width)


def edges_of(shape: str) -> Tuples:
    """Pairs of corners of a shape, in VTK's order of the nodes inside its edges."""
    return _SHAPES[shape].edges


def facets_of(shape: str) -> Tuples:
    """Corners around each facet of a shape."""
    return _SHAPES[shape].facets


def mesh_edges(cells: np.ndarray, cell_types: np.ndarray, num_nodes: int) -> np.ndarray:
    """Pairs of nodes that an edge of some cell joins, each once, ``[E, 2] int64``, sorted.

    A node inside an edge splits it in two. A node inside a facet or a cell is joined to the corners
    around it. Cells of every dimension count.
    """
    keys = []
    for group in _mesh_groups(cells, cell_types):
        split = {tuple(sorted(corners)) for corners in group.inner.values() if len(corners) == 2}
        pairs = [edge for edge in group.shape.edges if tuple(sorted(edge)) not in split]
        pairs += [(node, c) for node, corners in group.inner.items() for c in corners]
        for a, b in pairs:
            first, second = group.nodes[:, a].astype(np.int64), group.nodes[:, b]
            keys.append(np.minimum(first, second) * num_nodes + np.maximum(first, second))
    if not keys:
        return np.empty((0, 2), dtype=np.int64)
    key = np.concatenate(keys)
    key.sort()
    key = key[np.diff(key, prepend=-1) > 0]
    edges = np.stack(np.divmod(key, num_nodes), axis=1)
    return edges[edges[:, 0] != edges[:, 1]]


@dataclass(frozen=True)
class Facets:
    """Facets that bound a mesh: points, lines or polygons.

    Attributes:
        corners: ``[F, W] int64`` nodes in order around each facet, -1 where it has fewer than W.
        nodes: ``[n] int64`` all nodes on them, those inside edges and facets too, sorted.
        cell: ``[F]`` the cell that each one bounds.
    """

    corners: np.ndarray
    nodes: np.ndarray
    cell: np.ndarray


def boundary_facets(cells: np.ndarray, cell_types: np.ndarray, num_nodes: int) -> Facets:
    """The facets of exactly one cell, among the cells of the mesh's highest dimension.

    Facets of a solid are polygons, of a surface lines, of a curve points; a closed surface has
    none. Facets with the same three lowest corners (and as many corners) count as the same.
    """
    dimensions = cell_dimensions(cell_types)
    solid = np.flatnonzero(dimensions == dimensions.max(initial=0))
    groups = _mesh_groups(cells[solid], cell_types[solid])
    facets = [
        (size, index, [f for f in group.shape.facets if len(f) == size])
        for index, group in enumerate(groups)
        for size in sorted({len(f) for f in group.shape.facets})
    ]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    inner: list[np.ndarray] = []
    for size in sorted({size for size, _, _ in facets}):
        parts = [(index, facet) for s, index, listed in facets if s == size for facet in listed]
        lowest = [_lowest(groups[i].nodes, facet) for i, facet in parts]
        alone = _occur_once(_key(lowest, num_nodes))
        start = 0
        for index, facet in parts:
            group = groups[index]
            here = np.flatnonzero(alone[start : start + len(group.rows)])
            nodes = group.nodes[here]
            found.append((nodes[:, list(facet)].astype(np.int64), group.rows[here]))
            inside = [n for n, around in group.inner.items() if set(around) <= set(facet)]
            inner.append(nodes[:, inside].reshape(-1))
            start += len(group.rows)
    width = max((corners.shape[1] for corners, _ in found), default=1)
    padded = [
        np.pad(corners, ((0, 0), (0, width - corners.shape[1])), constant_values=-1)
        for corners, _ in found
    ]
    table = np.concatenate([np.empty((0, width), dtype=np.int64), *padded])
    nodes = np.unique(np.concatenate([table[table >= 0], *inner])).astype(np.int64)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *(rows for _, rows in found)])
    return Facets(table, nodes, solid[rows])


def _lowest(nodes: np.ndarray, facet: tuple[int, ...]) -> list[np.ndarray]:
    """The (at most three) lowest corners of one facet of each cell, ascending, each ``[K]``.

    Column by column: whole columns are compared at once, rows of three would be sorted one by one.
    """
    columns = [np.ascontiguousarray(nodes[:, corner]) for corner in facet]
    count = min(3, len(columns))
    for i in range(count):
        for j in range(len(columns) - 1, i, -1):
            low, high = columns[j - 1], columns[j]
            columns[j - 1], columns[j] = np.minimum(low, high), np.maximum(low, high)
    return columns[:count]


def _key(lowest: list[list[np.ndarray]], num_nodes: int) -> np.ndarray:
    """One number for each facet, made of its lowest corners, which come in parts."""
    first, *others = (np.concatenate(column) for column in zip(*lowest, strict=True))
    key = first.astype(np.int64)
    for column in others:
        if num_nodes > (1 << 63) ** (1 / (1 + len(others))):  # the product would overflow
            key = np.unique(key, return_inverse=True)[1]
        key *= num_nodes
        key += column
    return key


def _occur_once(key: np.ndarray) -> np.ndarray:
    """``[F] bool``: no other entry is equal."""
    in_order = np.sort(key)
    differs = np.ones(len(key) + 1, dtype=bool)
    differs[1:-1] = in_order[1:] != in_order[:-1]
    alone = in_order[differs[1:] & differs[:-1]]
    if not len(alone):
        return np.zeros(len(key), dtype=bool)
    # A bit for the last digits of each: few others pass, and a search among many is slow.
    bits = (1 << 22) - 1
    is_marked = np.zeros(bits + 1, dtype=bool)
    is_marked[alone & bits] = True
    perhaps = np.flatnonzero(is_marked[key & bits])
    place = np.searchsorted(alone, key[perhaps]).clip(max=len(alone) - 1)
    result = np.zeros(len(key), dtype=bool)
    result[perhaps] = alone[place] == key[perhaps]
    return result
