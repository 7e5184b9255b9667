"""Polyhedra: edges, volumes, averages and boundary of cells that are given by their faces.

A polyhedron has no fixed number of nodes, so it does not fit into a table of cells; what a graph
needs of it comes from its faces. N nodes, K cells, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lrsa_geo.mesh.cells import Blocks, shape_of
from lrsa_geo.mesh.topology import REORDERED, facets_of

POLYHEDRON = 42
_FACETS = ("tetra", "hexahedron", "wedge", "pyramid", "penta_prism", "hexa_prism")


@dataclass(frozen=True)
class Faces:
    """Faces of solids, in compressed form; one between two cells is there for each of them.

    Attributes:
        nodes: nodes in order around each face, face after face.
        starts: ``[F + 1]``; face f is ``nodes[starts[f]:starts[f + 1]]``.
        cell: ``[F]`` the cell that each face bounds.
    """

    nodes: np.ndarray
    starts: np.ndarray
    cell: np.ndarray

    @staticmethod
    def of_cells(
        nodes: np.ndarray, starts: np.ndarray, faces: np.ndarray, face_starts: np.ndarray
    ) -> Faces:
        """From VTK's form: cell k has the faces ``faces[face_starts[k]:face_starts[k + 1]]``."""
        lengths = np.diff(starts)[faces]
        ends = np.cumsum(lengths)
        shift = np.repeat(starts[:-1][faces] - (ends - lengths), lengths)
        cell = np.repeat(np.arange(len(face_starts) - 1), np.diff(face_starts))
        taken = nodes[np.arange(len(shift)) + shift].astype(np.int64)
        return Faces(taken, np.concatenate([[0], ends]).astype(np.int64), cell)

    @staticmethod
    def joined(parts: list[Faces]) -> Faces:
        """One after the other."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return Faces(
            np.concatenate([part.nodes for part in parts]).astype(np.int64),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([part.cell for part in parts]),
        )

    @cached_property
    def face(self) -> np.ndarray:
        """The face of each entry of ``nodes``."""
        return np.repeat(np.arange(len(self.cell)), np.diff(self.starts))

    @cached_property
    def after(self) -> np.ndarray:
        """The next node around the face, for each entry of ``nodes``."""
        place = np.arange(1, len(self.nodes) + 1)
        place[self.starts[1:] - 1] = self.starts[:-1]
        return self.nodes[place]

    def edges(self, num_nodes: int) -> np.ndarray:
        """Pairs of nodes that are neighbours around a face, each once, ``[E, 2]``, sorted."""
        low, high = np.minimum(self.nodes, self.after), np.maximum(self.nodes, self.after)
        key = np.unique((low * num_nodes + high)[low != high])
        return np.stack(np.divmod(key, num_nodes), axis=1)

    def boundary_nodes(self) -> np.ndarray:
        """Nodes on the faces whose nodes are those of no other face, sorted."""
        lengths = np.diff(self.starts)
        outer = []
        for size in np.unique(lengths):
            rows = self.starts[:-1][lengths == size, None] + np.arange(size)
            table = np.sort(self.nodes[rows], axis=1)
            different, counts = np.unique(table, axis=0, return_counts=True)
            outer.append(different[counts == 1].reshape(-1))
        return np.unique(np.concatenate(outer))

    def members(self, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Cell and node of all pairs of a cell and one of its nodes, each once."""
        key = np.unique(self.cell[self.face] * num_nodes + self.nodes)
        cell, node = np.divmod(key, num_nodes)
        return cell, node

    def volumes(self, pos: np.ndarray, num_cells: int) -> tuple[np.ndarray, np.ndarray]:
        r"""Volume of each cell, and ``[K] bool``: its faces do not close around it.

        .. math:: V = \frac{1}{6} \Big| \sum_f \sigma_f \sum_{(a, b) \in f}
            (c_f - o) \cdot (a - o) \times (b - o) \Big|

        (divergence theorem) over the triangles between the centre :math:`c_f` of a face and its
        edges, about a point o of the cell. The signs :math:`\sigma_f` make neighbouring faces run
        along their common edge in opposite directions: how the file turns them does not matter.
        """
        sign, is_open = self._orientation(num_cells)
        lengths = np.diff(self.starts)
        centre = _sums(pos[self.nodes], self.face, len(self.cell)) / lengths[:, None]
        count = np.maximum(np.bincount(self.cell, minlength=num_cells), 1)
        middle = _sums(centre, self.cell, num_cells) / count[:, None]
        origin = middle[self.cell]
        a, b = (pos[nodes] - origin[self.face] for nodes in (self.nodes, self.after))
        triple = (np.cross(a, b) * (centre - origin)[self.face]).sum(1)
        of_face = np.bincount(self.face, triple, len(self.cell))
        return np.abs(np.bincount(self.cell, sign * of_face, num_cells)) / 6, is_open

    def _orientation(self, num_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Sign of each face, up to one for its whole cell; and which cells have none.

        Every face is there twice in a graph, as it is and turned; faces that share an edge are
        linked to the copy that runs along it the other way. A cell whose faces close falls into two
        parts, one for each orientation.
        """
        low, high = np.minimum(self.nodes, self.after), np.maximum(self.nodes, self.after)
        used = np.flatnonzero(low != high)
        edge = np.unique(low[used] * (high.max() + 1) + high[used], return_inverse=True)[1]
        key = self.cell[self.face[used]] * (edge.max() + 1) + edge
        order = np.argsort(key, kind="stable")
        key, used = key[order], used[order]
        _, first, counts = np.unique(key, return_index=True, return_counts=True)
        is_open = np.zeros(num_cells, dtype=bool)
        is_open[self.cell[self.face[used[first[counts != 2]]]]] = True
        first = first[counts == 2]
        one, other = used[first], used[first + 1]
        num_faces = len(self.cell)
        turned = (self.nodes[one] == self.nodes[other]) * num_faces
        one, other = self.face[one], self.face[other]
        links = (
            np.concatenate([one, one + num_faces]),
            np.concatenate([other + turned, other + num_faces - turned]),
        )
        graph = coo_matrix((np.ones(len(links[0]), np.int8), links), (2 * num_faces,) * 2)
        part = connected_components(graph, directed=False)[1]
        as_it_is, other_way = part[:num_faces], part[num_faces:]
        leading = np.full(num_cells, -1)
        leading[self.cell[::-1]] = as_it_is[::-1]  # of the first face of each cell
        sign = (as_it_is == leading[self.cell]) * 1.0 - (other_way == leading[self.cell])
        is_open[self.cell[sign == 0]] = True
        return sign, is_open


def faces_of_blocks(blocks: Blocks) -> Faces | None:
    """Faces of the solids of order 1 among blocks of cells; None if there are none."""
    parts, first = [], 0
    for number, nodes in blocks:
        cell = np.arange(first, first + len(nodes))
        first += len(nodes)
        shape = "polyhedron" if number == POLYHEDRON else shape_of(number)
        if shape in REORDERED:
            shape, order = REORDERED[shape]
            nodes = nodes[:, order]
        if shape not in _FACETS:
            continue
        for facet in facets_of(shape):
            starts = np.arange(0, len(nodes) * len(facet) + 1, len(facet))
            parts.append(Faces(nodes[:, list(facet)].reshape(-1), starts, cell))
    return Faces.joined(parts) if parts else None


def _sums(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Sums of the rows ``[n, 3]`` of each group."""
    return np.stack([np.bincount(group, column, count) for column in values.T], axis=1)
