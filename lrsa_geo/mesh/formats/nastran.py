"""Nastran bulk data, ``.bdf .fem .nas .dat``.

The cards of nodes, coordinate systems and elements. meshio drops continuation lines, coordinate
systems and included files without a word; pyNastran reads all of it, but not with numpy 2: hence
this reader.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_file, only_step, referred_by

# Card -> number of nodes -> VTK type.
_LINES, _TRIANGLES, _QUADS = {2: 3}, {3: 5, 6: 22}, {4: 9, 8: 23, 9: 28}
_PYRAMIDS = {5: 14, 13: 27}
_CARDS: dict[str, dict[int, int]] = {
    **dict.fromkeys(("CTRIA3", "CTRIAR", "CTRIA6", "CTRIAX6", "CTRAX3", "CTRAX6"), _TRIANGLES),
    **dict.fromkeys(("CPLSTN3", "CPLSTS3", "CPLSTN6", "CPLSTS6"), _TRIANGLES),
    **dict.fromkeys(("CQUAD4", "CQUADR", "CQUAD8", "CQUAD", "CSHEAR", "CQUADX"), _QUADS),
    **dict.fromkeys(("CQUADX4", "CQUADX8"), _QUADS),
    **dict.fromkeys(("CPLSTN4", "CPLSTS4", "CPLSTN8", "CPLSTS8"), _QUADS),
    **dict.fromkeys(("CPYRAM", "CPYRA"), _PYRAMIDS),
    **dict.fromkeys(("CBAR", "CBEAM", "CROD", "CTUBE", "CONROD", "CBEND"), _LINES),
    "CTETRA": {4: 10, 10: 24},
    "CHEXA": {8: 12, 20: 25},
    "CPENTA": {6: 13, 15: 26},
}
_MOST = {"CTRIAR": 3, "CQUADR": 4, "CSHEAR": 4}  # nodes, of cards whose name does not say it
_ORDERS = {
    13: [0, 2, 1, 3, 5, 4],
    25: [*range(12), *range(16, 20), *range(12, 16)],  # upright edges before those of the top
    26: [*range(9), *range(12, 15), *range(9, 12)],
}
# Springs, masses, joints and rigid links: nothing of a field lives on them.
_NO_CELLS = re.compile(r"CELAS|CDAMP|CBUSH|CMASS|CONM|CGAP|CVISC|CWELD|CFAST|RBE|RBAR|RROD|RSPLINE")
_UNREAD_CELLS = re.compile(r"CTRI|CTRA|CQUA|CPLST|CTET|CHEX[^A]|CPEN|CPYR|CRAC|CIHEX|CCONE|CBEAM3")
_UNREAD_NODES = ("GRDSET", "GRIDB", "CORD3R", "CORD3G", "RINGAX")


def read(path: Path, step: int) -> RawMesh:
    """Read the bulk data, with or without the sections before it."""
    only_step(path, step)
    return _Deck(path).mesh()


class _Deck:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.grids: dict[int, tuple[int, np.ndarray]] = {}
        self.systems: dict[int, tuple[str, int | None, np.ndarray]] = {}
        self.frames: dict[int, tuple[str, np.ndarray, np.ndarray]] = {}
        self.cells: list[tuple[int, list[int]]] = []
        self.left_out: Counter[str] = Counter()
        self.is_finished = False
        for fields in _cards(self.bulk_lines()):
            self.take(fields[0].rstrip("*").upper(), fields)
        if not self.is_finished and not self.has_what_pynastran_counts():
            raise MeshError(
                f"{path}: has no ENDDATA; the file is truncated: copy or export it again, or add"
                " ENDDATA as its last line if you know that it is whole"
            )

    def has_what_pynastran_counts(self) -> bool:
        """Whether it is a deck without ENDDATA, as pyNastran writes it, that is there in full.

        Its first lines say how many nodes and elements follow; local systems, which come last and
        are not counted, may not be in it.
        """
        head = self.path.read_bytes()[:1000].decode(errors="replace")
        counts = dict(re.findall(r"^\$pyNastran: (\w+)=(\w+)", head, re.MULTILINE))
        if counts.get("punch") != "True" or self.systems or self.frames:
            return False
        elements = len(self.cells) + self.left_out.total()
        return counts.get("nnodes") == str(len(self.grids)) and elements >= int(
            counts.get("nelements", 1 << 60)
        )

    def bulk_lines(self) -> Iterator[str]:
        lines = list(_lines(self.path, self.path.parent))
        begin = [i for i, line in enumerate(lines) if line.upper().startswith("BEGIN BULK")]
        for line in lines[begin[0] + 1 if begin else 0 :]:
            if line.upper().startswith("ENDDATA"):
                self.is_finished = True
                return
            yield line

    def take(self, card: str, fields: list[str]) -> None:
        if card == "GRID":
            number, system = int(fields[1]), int(_get(fields, 2) or 0)
            place = np.array([_number(_get(fields, i)) for i in (3, 4, 5)])
            self.grids[number] = system, place
        elif card in ("CORD2R", "CORD2C", "CORD2S"):
            points = np.array([_number(_get(fields, i)) for i in range(3, 12)]).reshape(3, 3)
            self.systems[int(fields[1])] = card[-1], int(_get(fields, 2) or 0), points
        elif card in ("CORD1R", "CORD1C", "CORD1S"):
            for first in (1, 5):
                if _get(fields, first):
                    nodes = np.array([int(_get(fields, first + i)) for i in (1, 2, 3)])
                    self.systems[int(fields[first])] = card[-1], None, nodes
        elif card in _CARDS:
            self.cells.append(self.cell(card, fields))
        elif _NO_CELLS.match(card):
            self.left_out[card] += 1
        elif card in _UNREAD_NODES or _UNREAD_CELLS.match(card):
            if card == "GRDSET" and not (_get(fields, 2) or "0").strip("0"):
                return  # gives no coordinate system
            raise MeshError(
                f"{self.path}: has the card {card}, which is not read; leave it out, or export"
                " nodes and linear or quadratic elements"
            )

    def cell(self, card: str, fields: list[str]) -> tuple[int, list[int]]:
        types = _CARDS[card]
        most = int(card[-1]) if card[-1].isdigit() else _MOST.get(card, max(types))
        first = 2 if card == "CONROD" else 3  # after the element's number and its property
        nodes = [int(_get(fields, first + i) or 0) for i in range(most)]
        if card == "CTRIAX6":  # corners and mid-edge nodes by turns
            nodes = [nodes[i] for i in (0, 2, 4, 1, 3, 5)]
        while nodes and nodes[-1] == 0:
            nodes.pop()
        if len(nodes) not in types or 0 in nodes:
            raise MeshError(
                f"{self.path}: {card} {fields[1]} has {sum(map(bool, nodes))} nodes, expected"
                f" {' or '.join(map(str, types))}; give it all nodes inside its edges, or none"
            )
        cell_type = types[len(nodes)]
        order = _ORDERS.get(cell_type)
        return cell_type, nodes if order is None else [nodes[i] for i in order]

    # --- coordinate systems ----------------------------------------------------------------------

    def frame(self, number: int, depth: int = 0) -> tuple[str, np.ndarray, np.ndarray]:
        """Kind, origin and axes (rows) of a coordinate system."""
        if number == 0:
            return "R", np.zeros(3), np.eye(3)
        if number not in self.systems or depth > 99:
            raise MeshError(
                f"{self.path}: coordinate system {number} is not defined by CORD1 or CORD2 cards;"
                " export the nodes in the basic system"
            )
        if number not in self.frames:
            kind, parent, points = self.systems[number]
            if parent is None:
                points = np.stack([self.place(int(n), depth + 1) for n in points])
            else:
                frame = self.frame(parent, depth + 1)
                points = np.stack([_placed(frame, point) for point in points])
            origin, on_axis, in_plane = points
            z = (on_axis - origin) / np.linalg.norm(on_axis - origin)
            y = np.cross(z, in_plane - origin)
            y /= np.linalg.norm(y)
            self.frames[number] = kind, origin, np.stack([np.cross(y, z), y, z])
        return self.frames[number]

    def place(self, node: int, depth: int = 0) -> np.ndarray:
        system, place = self.grids[node]
        return _placed(self.frame(system, depth), place) if system else place

    def mesh(self) -> RawMesh:
        numbers = np.array(list(self.grids), dtype=np.int64)
        raw = RawMesh(np.array([self.place(n) for n in self.grids]).reshape(-1, 3))
        row_of = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))
        start = 0
        for stop in range(1, len(self.cells) + 1):
            if stop == len(self.cells) or self.cells[stop][0] != self.cells[start][0]:
                run = self.cells[start:stop]
                try:
                    rows = [[row_of[n] for n in nodes] for _, nodes in run]
                except KeyError as error:
                    raise MeshError(
                        f"{self.path}: elements have node {error}, which is not defined; the file"
                        " is incomplete: export it again"
                    ) from error
                raw.blocks.append((run[0][0], np.array(rows, dtype=np.int64)))
                start = stop
        if self.left_out:
            raw.notes.append(
                "leaves out "
                + ", ".join(f"{count} {card}" for card, count in self.left_out.items())
                + ", which join nodes and fill no space"
            )
        return raw


def _placed(frame: tuple[str, np.ndarray, np.ndarray], place: np.ndarray) -> np.ndarray:
    kind, origin, axes = frame
    if kind == "C":
        r, angle = place[0], np.deg2rad(place[1])
        place = np.array([r * np.cos(angle), r * np.sin(angle), place[2]])
    elif kind == "S":
        r, polar, angle = place[0], np.deg2rad(place[1]), np.deg2rad(place[2])
        around = r * np.sin(polar)
        place = np.array([around * np.cos(angle), around * np.sin(angle), r * np.cos(polar)])
    return origin + place @ axes


def _get(fields: list[str], i: int) -> str:
    return fields[i] if i < len(fields) else ""


def _number(text: str) -> float:
    """``1.5-3`` means 0.0015; D is an exponent as well."""
    text = re.sub(r"(?<=[\d.])[dD]", "e", text)
    return float(re.sub(r"(?<=[\d.])([-+]\d+)$", r"e\1", text) or 0)


def _cards(lines: Iterator[str]) -> Iterator[list[str]]:
    """Fields of each card with those of its continuation lines."""
    card: list[str] = []
    for line in lines:
        is_free = "," in line
        is_large = "*" in line[:8] if not is_free else "*" in line.partition(",")[0]
        if is_free:
            fields = [part.strip() for part in line.split(",")]
            name, body = fields[0], fields[1:]
            width = 4 if is_large else 8
            if len(body) > width and (not body[width] or body[width][0] in "+*"):
                body = body[:width]  # the next is the mark of the line that goes on
            body += [""] * (width - len(body))
        else:
            line = line.expandtabs(8)
            size, width = (16, 4) if is_large else (8, 8)
            name = line[:8].strip()
            body = [line[8 + i * size : 8 + (i + 1) * size].strip() for i in range(width)]
        if name and name[0] not in "+*":
            if card:
                yield card
            card = [name, *body]
        elif card:
            card += body
    if card:
        yield card


def _lines(path: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """Lines without comments, with those of included files in their place."""
    with open(path, encoding="utf-8", errors="replace") as file:
        pending = ""
        for line in file:
            line = line.partition("$")[0].rstrip()
            if not line.strip():
                continue
            if pending or re.match(r"\s*INCLUDE\b", line, re.IGNORECASE):
                pending += line.strip()
                name = re.sub(r"(?i)^INCLUDE\s*", "", pending)
                if name[:1] in "'\"" and name.count(name[:1]) < 2:  # goes on in the next line
                    continue
                name, pending = name.strip(" '\""), ""
                if depth == 8:
                    raise MeshError(f"{path}: INCLUDE is nested more than 8 deep; join the files")
                places = (folder / name, path.parent / name)
                target = next((p for p in places if p.exists()), places[0])
                with referred_by(path):
                    check_file(target)
                    yield from _lines(target, folder, depth + 1)
            else:
                yield line
