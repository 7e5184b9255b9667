"""Results of CalculiX, ``.frd``, as text.

Columns of fixed width, described in the manual of CalculiX GraphiX, chapter "Result Format". No
library that is kept up reads them, hence this parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_names

# Number of a type -> VTK type, nodes, and the place of each of VTK's nodes where the order differs:
# upright edges come before those of the top.
_HEX20 = [*range(12), *range(16, 20), *range(12, 16)]
_WEDGE15 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 9, 10, 11]
_TYPES: dict[int, tuple[int, int, list[int] | None]] = {
    **{1: (12, 8, None), 2: (13, 6, [0, 2, 1, 3, 5, 4]), 3: (10, 4, None), 4: (25, 20, _HEX20)},
    **{5: (26, 15, _WEDGE15), 6: (24, 10, None), 7: (5, 3, None), 8: (22, 6, None)},
    **{9: (9, 4, None), 10: (23, 8, None), 11: (3, 2, None), 12: (21, 3, None)},
}
_VALUE = 12  # characters of a number


@dataclass
class _Section:
    """Head of a block and its lines."""

    head: str
    lines: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.head[:6].strip()


def read(path: Path, step: int) -> RawMesh:
    """Read the mesh, which comes once, and the fields of one step."""
    return next(read_steps(path, [step]))


def read_steps(path: Path, wanted: Iterable[int]) -> Iterator[RawMesh]:
    """Read the mesh, and the fields of several steps."""
    nodes, elements, results = _sorted_sections(path)
    rows = [line for line in nodes.lines if line[:3] == " -1"]
    width = _number_width(path, nodes)
    if not rows:
        raise MeshError(f"{path}: has no nodes; the file is truncated: export it again")
    _check_lengths(path, rows, width, 3)
    numbers = _columns(rows, 3, width, 1)[:, 0].astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    if (np.diff(numbers[order]) == 0).any():
        raise MeshError(f"{path}: has a node number twice; the file is damaged: export it again")
    raw = RawMesh(_columns(rows, 3 + width, _VALUE, 3))
    if elements is not None:
        raw.blocks = _cells(path, elements, numbers[order], order)
    steps: dict[tuple[str, str], list[_Section]] = {}
    for section in results:
        steps.setdefault((section.head[58:63].strip(), section.head[12:24].strip()), []).append(
            section
        )
    raw.times = _times([time for _, time in steps])
    count = max(len(steps), 1)
    for step in wanted:
        if not -count <= step < count:
            raise MeshError(f"{path}: has steps 0 to {count - 1}, got `step` {step}; choose one")
        yield replace(raw, **_fields(path, [*steps.values()][step] if steps else [], numbers))


def _times(texts: list[str]) -> np.ndarray | None:
    """Times, or frequencies, of the steps; None if there are none, or one is no number."""
    try:
        return np.array([float(text) for text in texts]) if texts else None
    except ValueError:
        return None


def _fields(path: Path, chosen: list[_Section], numbers: np.ndarray) -> dict[str, Any]:
    """Fields of nodes, and notes, from the results of one step."""
    order = np.argsort(numbers, kind="stable")
    names = [_name(section) for section in chosen]
    check_names(path, "fields", names)
    found, lost = {}, 0
    for name, section in zip(names, chosen, strict=True):
        found[name], others = _values(path, section, numbers[order], order)
        lost = max(lost, others)
    note = f"results at {lost:,} nodes that are not of the mesh (networks) are left out"
    return {"point_data": found, "notes": [note] if lost else []}


def _sorted_sections(path: Path) -> tuple[_Section, _Section | None, list[_Section]]:
    """The block of nodes, that of elements and those of results."""
    found: dict[str, list[_Section]] = {"2C": [], "3C": [], "100C": []}
    ended = False
    for section in _sections(path):
        ended |= section.kind == "9999"
        for kind, those in found.items():
            if section.head.strip().startswith(kind):
                those.append(section)
    if not found["2C"]:
        raise MeshError(
            f"{path}: has no block of nodes (2C); let the deck write results (*NODE FILE, *EL"
            " FILE), or check that it is a result file of CalculiX"
        )
    if len(found["2C"]) > 1 or len(found["3C"]) > 1:
        raise MeshError(
            f"{path}: has several blocks of nodes or elements, expected one of each; write every"
            " mesh to a file of its own"
        )
    if not ended:
        raise MeshError(
            f"{path}: does not end with 9999; the file is truncated, or the solver still writes it"
        )
    return found["2C"][0], next(iter(found["3C"]), None), found["100C"]


def _sections(path: Path) -> Iterator[_Section]:
    current: _Section | None = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in map(str.rstrip, file):
            if line[:3] in (" -1", " -2", " -4", " -5") and current is not None:
                current.lines.append(line)
            elif line[:3] == " -3" and current is not None:
                yield current
                current = None
            elif line.strip():
                if current is not None and current.lines:
                    raise MeshError(
                        f"{path}: block '{current.head.strip()[:20]}' is not closed by -3; the file"
                        " is truncated: copy or export it again"
                    )
                current = _Section(line)
                if line.strip() == "9999":
                    yield current
                    return
    if current is not None and current.lines:
        raise MeshError(f"{path}: its last block is not closed; the file is truncated")


def _number_width(path: Path, section: _Section) -> int:
    """Characters of a node number: 5 in the short format, 10 in the long one."""
    word = section.head.split()[-1]
    if word not in ("0", "1"):
        raise MeshError(
            f"{path}: block '{section.head.strip()[:20]}' has format {word}, which is binary;"
            " expected 0 or 1, text: write results without BINARY, or convert with ccx2paraview"
        )
    return 5 if word == "0" else 10


def _columns(lines: list[str], start: int, width: int, count: int) -> np.ndarray:
    """Numbers ``[lines, count]`` from columns of characters."""
    end = start + width * count
    text = np.array(
        [line[start:end].ljust(end - start) for line in lines], dtype=f"S{width * count}"
    )
    return text.view(f"S{width}").reshape(len(lines), count).astype(np.float64)


def _check_lengths(path: Path, lines: list[str], width: int, count: int) -> None:
    """Columns move where a number is too long for its own, such as -1.00000E-100."""
    expected = 3 + width + _VALUE * count
    if wrong := next((line for line in lines if len(line) != expected), None):
        raise MeshError(
            f"{path}: line '{wrong.strip()}' has {len(wrong)} characters, expected {expected} for"
            f" {count} numbers; write the results again, or convert them with ccx2paraview"
        )


def _rows_of(numbers: np.ndarray, order: np.ndarray, wanted: np.ndarray, path: Path) -> np.ndarray:
    """Rows of nodes by their numbers, which are given in order."""
    place = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
    missing = wanted[numbers[place] != wanted]
    if len(missing):
        raise MeshError(
            f"{path}: has node {missing[0]} outside of its block of nodes; the file is damaged:"
            " export it again"
        )
    return order[place]


def _cells(path: Path, section: _Section, numbers: np.ndarray, order: np.ndarray) -> Blocks:
    width = _number_width(path, section)
    cells: list[tuple[int, list[int]]] = []
    for line in section.lines:
        if line[:3] == " -1":
            kind = int(line[3 + width : 8 + width])
            if kind not in _TYPES:
                raise MeshError(f"{path}: has elements of the unknown type {kind}; leave them out")
            cells.append((kind, []))
        elif line[:3] == " -2" and cells:
            cells[-1][1].extend(int(line[i : i + width]) for i in range(3, len(line), width))
    blocks: list[tuple[int, list[list[int]]]] = []
    for kind, nodes in cells:
        if len(nodes) != _TYPES[kind][1]:
            raise MeshError(
                f"{path}: has an element of type {kind} with {len(nodes)} nodes, expected"
                f" {_TYPES[kind][1]}; the file is damaged: export it again"
            )
        if not blocks or blocks[-1][0] != kind:
            blocks.append((kind, []))
        blocks[-1][1].append(nodes)
    found = []
    for kind, listed in blocks:
        cell_type, _, places = _TYPES[kind]
        table = _rows_of(numbers, order, np.array(listed, dtype=np.int64), path)
        found.append((cell_type, table if places is None else table[:, places]))
    return found


def _name(section: _Section) -> str:
    head = next((line for line in section.lines if line[:3] == " -4"), "")
    return head[5:13].strip()


def _values(
    path: Path, section: _Section, numbers: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, int]:
    """``[N, C]``, NaN at nodes that the block does not have; and at how many others it has some."""
    width = {"0": 5, "1": 10}.get(section.head.split()[-1])
    if width is None:
        raise MeshError(
            f"{path}: results '{_name(section)}' are binary, expected text; write them without"
            " BINARY, or convert with ccx2paraview"
        )
    described = [line for line in section.lines if line[:3] == " -5"]
    count = sum(line[33:38].strip() != "1" for line in described)  # 1: worked out by the viewer
    per_line = 6
    parts: list[list[str]] = [[] for _ in range(-(-count // per_line))]
    expected = 0
    for line in section.lines:
        if line[:3] == " -1":
            expected = 0
        if line[:3] in (" -1", " -2"):
            if expected >= len(parts):
                raise MeshError(
                    f"{path}: results '{_name(section)}' have more than {count} numbers at a node,"
                    " as they declare; the file is damaged: export it again"
                )
            parts[expected].append(line)
            expected += 1
    if not count or len({len(part) for part in parts}) != 1:
        raise MeshError(
            f"{path}: results '{_name(section)}' have not {count} numbers at every node, as they"
            " declare; the file is damaged: export it again"
        )
    for i, part in enumerate(parts):
        _check_lengths(path, part, width, min(per_line, count - per_line * i))
    found = np.full((len(numbers), count), np.nan)
    held = _columns(parts[0], 3, width, 1)[:, 0].astype(np.int64)
    columns = [
        _columns(part, 3 + width, _VALUE, min(per_line, count - per_line * i))
        for i, part in enumerate(parts)
    ]
    of_mesh = np.isin(held, numbers)
    found[_rows_of(numbers, order, held[of_mesh], path)] = np.concatenate(columns, axis=1)[of_mesh]
    return found, int((~of_mesh).sum())
