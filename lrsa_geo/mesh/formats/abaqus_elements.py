"""Elements of Abaqus and CalculiX: their names, their order of nodes, and their numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError

# Element names: (letters, nodes in the name) -> VTK type.
_SOLIDS = {4: 10, 5: 14, 6: 13, 8: 12, 10: 24, 13: 27, 15: 26, 20: 25}
_FLAT = {3: 5, 4: 9, 6: 22, 8: 23, 9: 28}
_LINES = {2: 3, 3: 21}
NODES = {10: 4, 14: 5, 13: 6, 12: 8, 24: 10, 27: 13, 26: 15, 25: 20}
NODES |= {5: 3, 9: 4, 22: 6, 23: 8, 28: 9, 3: 2, 21: 3}
_FAMILIES: list[tuple[str, dict[int, int]]] = [
    (r"(?:D?C?C3D|AC3D|EC3D|FC3D|F3D|Q3D|COH3D|SC|CSS|CCL)(\d+)", _SOLIDS),
    (r"(?:CPS|CPE|CPEG|CAX|CGAX|M3D|SFM3D|D?C?C2D|DC?CAX|AC2D|ACAX|COH2D|COHAX)(\d+)", _FLAT),
    (r"(?:S|DS|R3D)(\d)", _FLAT),
    (r"STRI(3|6)5?", _FLAT),
    (r"(?:T[23]D|R2D|RAX|RB[23]D|AC1D|D?C?C1D)(\d)", _LINES),
]
_BEAMS = {"1": 3, "2": 21, "3": 3}  # B21 B22 B23, by the last digit
# Between bodies, of no extent: nothing of a field lives on them.
NO_CELLS = re.compile(
    r"SPRING|DASHPOT|CONN|MASS|ROTARYI|GAP|JOINT|HEATCAP|DCOUP|D$|DIST|ITS|ITT|DRAG|PSI"
)


def cell_type_of(kind: str) -> int | None:
    """VTK's type of an element, None if it is not known."""
    for pattern, types in _FAMILIES:
        if match := re.match(pattern + r"(?!\d)", kind):
            return types.get(int(match[1]))
    if match := re.match(r"(?:B|PIPE|ELBOW)[23](\d)", kind):
        return _BEAMS.get(match[1])
    return {"SAX1": 3, "MAX1": 3, "SAX2": 21, "MAX2": 21, "FRAME2D": 3, "FRAME3D": 3}.get(kind)


def in_vtk_order(cell_type: int, cells: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """VTK's order of nodes."""
    if cell_type == 13:
        return cells[:, [0, 2, 1, 3, 5, 4]]
    if cell_type == 21:  # the middle node is the second of most types, the third of some writers
        first, second, third = (pos[cells[:, i]] for i in range(3))
        second_lies = np.linalg.norm(2 * second - first - third, axis=1).sum()
        third_lies = np.linalg.norm(2 * third - first - second, axis=1).sum()
        return cells[:, [0, 2, 1]] if second_lies < third_lies else cells
    return cells


def drop_repeated(path: Path, cells: Blocks, labels: list[np.ndarray]) -> None:
    """Leave one of several elements with one number, in place.

    Raises:
        MeshError: they have different nodes, so that it is not known which one is meant.
    """
    numbers = np.concatenate([np.empty(0, dtype=np.int64), *labels])
    if len(np.unique(numbers)) == len(numbers):
        return
    seen: dict[int, tuple[int, tuple[int, ...]]] = {}
    for block, ((cell_type, nodes), listed) in enumerate(zip(cells, labels, strict=True)):
        kept = []
        for row, (number, cell) in enumerate(zip(listed.tolist(), nodes.tolist(), strict=True)):
            this = cell_type, tuple(cell)
            if seen.setdefault(number, this) != this:
                raise MeshError(
                    f"{path}: element {number} is there twice, with different nodes; leave one out"
                )
            if seen[number] is this:
                kept.append(row)
        cells[block] = cell_type, nodes[kept]
        labels[block] = listed[kept]
