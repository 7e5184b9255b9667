"""Abaqus and CalculiX decks, ``.inp``.

Nodes, elements and node sets alone, with parts, instances and included files. meshio ends a block
at its first comment, and keeps one part of several; no other library reads decks, hence this
parser.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.abaqus_elements import (
    NO_CELLS,
    NODES,
    cell_type_of,
    drop_repeated,
    in_vtk_order,
)
from lrsa_geo.mesh.formats.abaqus_sets import Sets, add_set, join
from lrsa_geo.mesh.formats.base import RawMesh, check_file, only_step, referred_by

_GENERATE = ("NGEN", "NFILL", "NCOPY", "NMAP", "ELGEN", "ELCOPY", "SYSTEM", "SUBMODEL")


@dataclass
class _Part:
    """Nodes and elements in one numbering."""

    numbers: list[np.ndarray] = field(default_factory=list)
    pos: list[np.ndarray] = field(default_factory=list)
    cells: Blocks = field(default_factory=list)  # with the numbers of the nodes
    labels: list[np.ndarray] = field(default_factory=list)  # numbers of those cells
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
        self.here = replace(
            part,
            numbers=[*part.numbers],
            pos=[*part.pos],
            cells=[*part.cells],
            labels=[*part.labels],
            sets=dict(part.sets),
        )
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
        if NO_CELLS.match(kind):
            self.left_out[kind] += len(data)
            return
        cell_type = cell_type_of(kind)
        if cell_type is None:
            raise MeshError(
                f"{self.path}: has elements of the unknown type '{kind}'; leave them out, or export"
                " linear or quadratic ones"
            )
        width = NODES[cell_type]
        cells, labels, row = [], [], []
        for line in data:
            row += [int(n) for n in line.split(",") if n.strip()]
            if len(row) > width:
                if len(row) > width + 1 and cell_type not in (3, 21):  # beams: a direction
                    raise MeshError(
                        f"{self.path}: element {row[0]} of type '{kind}' has {len(row) - 1} nodes,"
                        f" expected {width}; export it again"
                    )
                cells.append(row[1 : width + 1])
                labels.append(row[0])
                row = []
        if row:
            raise MeshError(
                f"{self.path}: element {row[0]} of type '{kind}' has {len(row) - 1} nodes, expected"
                f" {width}; the file is truncated, or export it again"
            )
        if cells:
            self.here.cells.append((cell_type, np.array(cells, dtype=np.int64)))
            self.here.labels.append(np.array(labels, dtype=np.int64))

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
            drop_repeated(self.path, part.cells, part.labels)
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
                raw.blocks.append((cell_type, in_vtk_order(cell_type, row_of[at], raw.pos)))
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
    with open(path, encoding="utf-8-sig", errors="replace") as file:
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
