"""Node sets and side sets of Exodus, as fields of 0 and 1 at the nodes."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from lrsa_geo.mesh.cells import Blocks, corner_count, shape_of
from lrsa_geo.mesh.topology import places_of_inner_nodes

# Corners of each side, from 0, in Exodus' order of corners.
_SIDES: dict[str, list[tuple[int, ...]]] = {
    "line": [(0,), (1,)],
    "triangle": [(0, 1), (1, 2), (2, 0)],
    "quad": [(0, 1), (1, 2), (2, 3), (3, 0)],
    "tetra": [(0, 1, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2)],
    "hexahedron": [
        *[(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (0, 3, 7, 4), (0, 1, 2, 3), (4, 5, 6, 7)]
    ],
    "wedge": [(0, 1, 4, 3), (1, 2, 5, 4), (0, 2, 5, 3), (0, 1, 2), (3, 4, 5)],
    "pyramid": [(0, 1, 4), (1, 2, 4), (2, 3, 4), (0, 3, 4), (0, 1, 2, 3)],
}
_SHELLS = re.compile(r"(TRI|QUAD)?SHELL|MEMBRANE", re.IGNORECASE)
_LINEAR_WEDGE = (0, 2, 1, 3, 5, 4)  # place in VTK's order of each of Exodus' corners


def side_nodes(
    kinds: list[str], blocks: Blocks, plane: bool, cells: np.ndarray, sides: np.ndarray
) -> np.ndarray | None:
    """Nodes of sides, given by the numbers of cells and of their sides, both from 0.

    Args:
        kinds: element name of each block.
        blocks: in the order of the cells, with nodes in VTK's order.
        plane: whether the file has two coordinates; sides of flat elements in space are shells'.
        cells, sides: ``[S]``.

    Returns:
        None if there are sides of elements whose sides are not known.
    """
    found = []
    first = 0
    if len(cells) and not 0 <= cells.min() <= cells.max() < sum(len(nodes) for _, nodes in blocks):
        return None
    for kind, (cell_type, nodes) in zip(kinds, blocks, strict=True):
        here = (cells >= first) & (cells < first + len(nodes))
        rows = nodes[cells[here] - first]
        numbers = sides[here]
        first += len(nodes)
        for number in np.unique(numbers):
            places = _places(kind, cell_type, nodes.shape[1], plane, int(number))
            if places is None:
                return None
            found.append(rows[numbers == number][:, places].ravel())
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))


def _places(kind: str, cell_type: int, width: int, plane: bool, number: int) -> list[int] | None:
    """Places of the nodes of one side among those of a cell."""
    shape = shape_of(cell_type)
    listed = _SIDES.get(shape)
    if listed is None:
        return None
    if shape in ("triangle", "quad") and not plane:
        if not _SHELLS.match(kind):
            return None  # programs disagree on whether these are shells
        face = tuple(range(corner_count(cell_type)))
        listed = [face, face, *listed]
    if not 0 <= number < len(listed):
        return None
    corners = set(listed[number])
    if cell_type == 13:
        corners = {_LINEAR_WEDGE[corner] for corner in corners}
    inner = places_of_inner_nodes(cell_type, width)
    return sorted(corners | {place for place, around in inner.items() if {*around} <= corners})


def sets_of(
    array: Callable[[str], np.ndarray],
    names: Callable[[str], list[str]],
    variables: set[str],
    num_nodes: int,
    sides: Callable[[np.ndarray, np.ndarray], np.ndarray | None],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Fields of 0 and 1, and notes about sets that are left out.

    A node set and a side set of one name are one field. A set without a name is called by its
    number, such as "nodeset 3".
    """
    found: dict[str, np.ndarray] = {}
    notes = []
    for kind, word in (("ns", "nodeset"), ("ss", "sideset")):
        numbers = sorted(
            int(match[1])
            for name in variables
            if (match := re.match(rf"{'node_ns' if kind == 'ns' else 'elem_ss'}(\d+)$", name))
        )
        named = names(f"{kind}_names")
        tags = array(f"{kind}_prop1") if f"{kind}_prop1" in variables else np.empty(0)
        for i in numbers:
            tag = int(tags[i - 1]) if i <= len(tags) else i
            name = (named[i - 1] if i <= len(named) else "") or f"{word} {tag}"
            if kind == "ns":
                nodes: np.ndarray | None = array(f"node_ns{i}").astype(np.int64) - 1
            else:
                nodes = sides(
                    array(f"elem_ss{i}").astype(np.int64) - 1,
                    array(f"side_ss{i}").astype(np.int64) - 1,
                )
            if nodes is None or (len(nodes) and not 0 <= nodes.min() <= nodes.max() < num_nodes):
                notes.append(f"leaves out the set '{name}', whose sides or nodes are not known")
                continue
            mark = found.setdefault(name, np.zeros(num_nodes, dtype=np.uint8))
            mark[nodes] = 1
    return found, notes
