"""Abaqus and CalculiX decks, ``.inp``.

Nodes, elements and node sets alone, with parts, instances and included files. meshio ends a block
at its first comment, and keeps one part of several; no other library reads decks, hence this
parser.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.abaqus_sets import Sets, add_set, join
from lrsa_geo.mesh.formats.base import RawMesh, check_file, only_step, referred_by

# Element names: (letters, nodes in the name) -> VTK type.
_SOLIDS = {4: 10, 5: 14, 6: 13, 8: 12, 10: 24, 13: 27, 15: 26, 20: 25}
_FLAT = {3: 5, 4: 9, 6: 22, 8: 23, 9: 28}
_LINES = {2: 3, 3: 21}
_NODES = {10: 4, 14: 5, 13: 6, 12: 8, 24: 10, 27: 13, 26: 15, 25: 20}
_NODES |= {5: 3, 9: 4, 22: 6, 23: 8, 28: 9, 3: 2, 21: 3}
_FAMILIES: list[tuple[str, dict[int, int]]] = [
    (r"(?:D?C?C3D|AC3D|EC3D|FC3D|Q3D|COH3D|SC|CSS|CCL)(\d+)", _SOLIDS),
    (r"(?:CPS|CPE|CPEG|CAX|CGAX|M3D|SFM3D|D?C?C2D|DC?CAX|AC2D|ACAX|COH2D|COHAX)(\d+)", _FLAT),
    (r"(?:S|DS|R3D)(\d)", _FLAT),
    (r"STRI(3|6)5?", _FLAT),
    (r"(?:T[23]D|R2D|RAX|RB[23]D|AC1D|D?C?C1D)(\d)", _LINES),
]
_BEAMS = {"1": 3, "2": 21, "3": 3}  # B21 B22 B23, by the last digit
# Between bodies, of no extent: nothing of a field lives on them.
_NO_CELLS = re.compile(
    r"SPRING|DASHPOT|CONN|MASS|ROTARYI|GAP|JOINT|HEATCAP|DCOUP|D$|DIST|ITS|ITT|DRAG|PSI"
)
_GENERATE = ("NGEN", "NFILL", "NCOPY", "NMAP", "ELGEN", "ELCOPY", "SYSTEM", "SUBMODEL")


@dataclass
class _Part:
    """Nodes and elements in one numbering."""

    numbers: list[np.ndarray] = field(default_factory=list)
    pos: list[np.ndarray] = field(default_factory=list)
    cells: Blocks = field(default_factory=list)  # with the numbers of the nodes
    sets: Sets = field(default_factory=dict)  # numbers of nodes


def read(path: Path, step: int) -> RawMesh:
    """Read all instances, or what the deck holds if it has no parts; a field for each node set."""
    only_step(path, step)
    deck = _Deck(path)
    for keyword, options, data in _sections(_lines(path, path.parent)):
        deck.take(keyword, options, data)
    return deck.mesh()


class _Deck:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.here = self.loose = _Part()
        self.parts: dict[str, _Part] = {}
        self.instances: list[tuple[_Part, list[list[float]]]] = []
        self.instance_of: dict[str, _Part] = {}
        self.left_out: Counter[str] = Counter()

    def take(self, keyword: str, options: dict[str, str], data: list[str]) -> None:
        if "INPUT" in options and keyword in ("NODE", "ELEMENT"):
            with referred_by(self.path):
                data = list(_lines(_found(options["INPUT"], self.path.parent), self.path.parent))
        if keyword == "PART":
            self.here = self.parts.setdefault(options.get("NAME", "").upper(), _Part())
        elif keyword == "INSTANCE":
            self.start_instance(options, data)
        elif keyword in ("END PART", "END INSTANCE"):
            self.here = self.loose
        elif keyword == "NODE":
            self.nodes(options, data)
        elif keyword == "NSET":
            add_set(options, data, self.here.sets, self.instance_sets())
        elif keyword == "ELEMENT":
            self.elements(options.get("TYPE", "").upper(), data)
        elif keyword in _GENERATE and (data or keyword != "SYSTEM"):
            raise MeshError(
                f"{self.path}: has *{keyword}, which makes or moves nodes and is not read; write"
                " the mesh with all its nodes and elements"
            )

    def start_instance(self, options: dict[str, str], data: list[str]) -> None:
        name = options.get("PART", "").upper()
        if name not in self.parts:
            raise MeshError(
                f"{self.path}: an *INSTANCE is of part '{options.get('PART', '')}', which the deck"
                " does not have before it; put the part into the deck"
            )
        part = self.parts[name]
        self.here = _Part([*part.numbers], [*part.pos], [*part.cells], dict(part.sets))
        self.instances.append((self.here, [_numbers(line) for line in data]))
        self.instance_of[options.get("NAME", "").upper()] = self.here

    def instance_sets(self) -> dict[str, Sets]:
        return {name: part.sets for name, part in self.instance_of.items()}

    def nodes(self, options: dict[str, str], data: list[str]) -> None:
        if options.get("SYSTEM", "R").upper()[:1] != "R":
            raise MeshError(
                f"{self.path}: *NODE has SYSTEM={options['SYSTEM']}, expected rectangular"
                " coordinates; write the nodes in x, y, z"
            )
        if data:
            rows = [(_numbers(line) + [0.0] * 3)[:4] for line in data]
            table = np.array(rows)
            numbers = table[:, 0].astype(np.int64)
            self.here.numbers.append(numbers)
            if "NSET" in options:
                join(self.here.sets, options["NSET"], numbers)
            self.here.pos.append(table[:, 1:])

    def elements(self, kind: str, data: list[str]) -> None:
        if _NO_CELLS.match(kind):
            self.left_out[kind] += len(data)
            return
        cell_type = _cell_type(kind)
        if cell_type is None:
            raise MeshError(
                f"{self.path}: has elements of the unknown type '{kind}'; leave them out, or export"
                " linear or quadratic ones"
            )
        width = _NODES[cell_type]
        cells, row = [], []
        for line in data:
            row += [int(n) for n in line.split(",") if n.strip()]
            if len(row) > width:
                if len(row) > width + 1 and cell_type not in (3, 21):  # beams: a direction
                    raise MeshError(
                        f"{self.path}: element {row[0]} of type '{kind}' has {len(row) - 1} nodes,"
                        f" expected {width}; export it again"
                    )
                cells.append(row[1 : width + 1])
                row = []
        if row:
            raise MeshError(
                f"{self.path}: element {row[0]} of type '{kind}' has {len(row) - 1} nodes, expected"
                f" {width}; the file is truncated, or export it again"
            )
        if cells:
            self.here.cells.append((cell_type, np.array(cells, dtype=np.int64)))

    def mesh(self) -> RawMesh:
        if self.instances:
            placed = [
                (part, _moved(np.concatenate(part.pos), lines), part.numbers)
                for part, lines in self.instances
                if part.pos
            ]
        else:
            placed = [
                (part, np.concatenate(part.pos), part.numbers)
                for part in self.parts.values()
                if part.pos
            ]
        if self.loose.pos:
            placed.append((self.loose, np.concatenate(self.loose.pos), self.loose.numbers))
        elif self.loose.cells:
            raise MeshError(
                f"{self.path}: has elements outside of parts without nodes of their own, which join"
                " instances; leave them out"
            )
        raw = RawMesh(np.empty((0, 3)))
        marked: Sets = {}  # rows of nodes
        for part, pos, listed in placed:
            numbers = np.concatenate(listed)
            # Where a number comes again the last position counts; the place is that of the first.
            known, first, place = np.unique(numbers, return_index=True, return_inverse=True)
            last = np.empty(len(known), dtype=np.int64)
            last[place] = np.arange(len(numbers))
            in_order = np.argsort(first)
            row_of = np.empty_like(in_order)
            row_of[in_order] = np.arange(len(known)) + len(raw.pos)
            raw.pos = np.concatenate([raw.pos, pos[last[in_order]]])
            for name, wanted in part.sets.items():
                at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
                join(marked, name, row_of[at[known[at] == wanted]])
            for cell_type, cells in part.cells:
                at = np.searchsorted(known, cells).clip(max=len(known) - 1)
                missing = cells[known[at] != cells]
                if len(missing):
                    raise MeshError(
                        f"{self.path}: elements have node {missing[0]}, which is not defined; the"
                        " file is incomplete: export it again"
                    )
                raw.blocks.append((cell_type, _in_order(cell_type, row_of[at], raw.pos)))
        raw.point_data = {
            name: np.isin(np.arange(len(raw.pos)), rows).astype(np.uint8)
            for name, rows in marked.items()
            if len(rows)
        }
        if self.left_out:
            raw.notes.append(
                "leaves out "
                + ", ".join(f"{count} elements '{kind}'" for kind, count in self.left_out.items())
                + ", which join nodes and fill no space"
            )
        return raw


def _cell_type(kind: str) -> int | None:
    for pattern, types in _FAMILIES:
        if match := re.match(pattern + r"(?!\d)", kind):
            return types.get(int(match[1]))
    if match := re.match(r"(?:B|PIPE|ELBOW)[23](\d)", kind):
        return _BEAMS.get(match[1])
    return {"SAX1": 3, "MAX1": 3, "SAX2": 21, "MAX2": 21, "FRAME2D": 3, "FRAME3D": 3}.get(kind)


def _in_order(cell_type: int, cells: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """VTK's order of nodes."""
    if cell_type == 13:
        return cells[:, [0, 2, 1, 3, 5, 4]]
    if cell_type == 21:  # the middle node is the second of most types, the third of some writers
        first, second, third = (pos[cells[:, i]] for i in range(3))
        second_lies = np.linalg.norm(2 * second - first - third, axis=1).sum()
        third_lies = np.linalg.norm(2 * third - first - second, axis=1).sum()
        return cells[:, [0, 2, 1]] if second_lies < third_lies else cells
    return cells


def _moved(pos: np.ndarray, lines: list[list[float]]) -> np.ndarray:
    """An instance: a shift, then a turn by an angle in degrees around a line through two points."""
    if lines:
        pos = pos + (lines[0] + [0.0] * 3)[:3]
    if len(lines) > 1:
        numbers = np.array((lines[1] + [0.0] * 7)[:7])
        start, axis = numbers[:3], numbers[3:6] - numbers[:3]
        axis, angle = axis / np.linalg.norm(axis), np.deg2rad(numbers[6])
        away = pos - start
        along = (away @ axis)[:, None] * axis
        pos = start + along + (away - along) * np.cos(angle) + np.cross(axis, away) * np.sin(angle)
    return pos


def _numbers(line: str) -> list[float]:
    return [
        float(n.replace("D", "E").replace("d", "e")) if n.strip() else 0.0
        for n in line.rstrip(", \t").split(",")
    ]


def _sections(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Keyword, options and data lines, one block after the other."""
    keyword, options, data = "", {}, []  # type: str, dict[str, str], list[str]
    head = ""
    for line in lines:
        if head or line.startswith("*"):
            if not head:
                yield keyword, options, data
            head += line
            if head.endswith(","):  # goes on in the next line
                continue
            first, *others = head.lstrip("*").split(",")
            keyword = " ".join(first.split()).upper()
            pairs = (other.partition("=") for other in others if other.strip())
            options = {name.strip().upper(): value.strip().strip('"') for name, _, value in pairs}
            data, head = [], ""
        else:
            data.append(line)
    yield keyword, options, data


def _lines(path: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """Lines without comments and blank ones, with those of included files in their place."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in map(str.strip, file):
            if not line or line.startswith("**"):
                continue
            if line[0] == "*" and re.match(r"\*\s*INCLUDE\s*,", line, re.IGNORECASE):
                if depth == 8:
                    raise MeshError(
                        f"{path}: *INCLUDE is nested more than 8 deep; put the mesh in one file"
                    )
                with referred_by(path):
                    target = _found(line.partition("=")[2], folder, path.parent)
                    yield from _lines(target, folder, depth + 1)
            else:
                yield line


def _found(name: str, *folders: Path) -> Path:
    name = name.strip().strip('"')
    target = next((f / name for f in folders if (f / name).exists()), folders[0] / name)
    check_file(target)
    return target
