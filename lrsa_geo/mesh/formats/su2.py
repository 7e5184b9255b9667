"""Meshes of SU2, ``.su2``: https://su2code.github.io/docs_v7/Mesh-File.

A few counted lists; meshio refuses comments and indices that SU2 itself and others write.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, only_step

_NODES = {3: 2, 5: 3, 9: 4, 10: 4, 12: 8, 13: 6, 14: 5}  # of VTK's types, which SU2 has as well


def read(path: Path, step: int) -> RawMesh:
    """Read it; nodes get a field of 0 and 1 for each marker, by its name."""
    only_step(path, step)
    lines = _lines(path)
    dim = 0
    pos: np.ndarray | None = None
    blocks: Blocks = []
    marked: dict[str, list[np.ndarray]] = {}
    tag = ""
    for line in lines:
        word, _, text = (part.strip() for part in line.partition("="))
        match word.upper():
            case "NZONE" if int(text) > 1:
                raise MeshError(
                    f"{path}: has {text} zones, expected one; write each zone to a file of its own"
                )
            case "NDIME":
                dim = int(text)
                if dim not in (2, 3):
                    raise MeshError(f"{path}: NDIME is {dim}, expected 2 or 3; export it again")
            case "NELEM":
                blocks = _elements(path, _taken(path, lines, "NELEM", text))
            case "NPOIN":
                rows = _taken(path, lines, "NPOIN", text)
                pos = np.array([[float(n) for n in row.split()[:dim]] for row in rows])
            case "MARKER_TAG":
                tag = text
            case "MARKER_ELEMS":
                found = _elements(path, _taken(path, lines, f"MARKER_ELEMS of {tag}", text))
                marked.setdefault(tag, []).extend(nodes.ravel() for _, nodes in found)
    if not dim or pos is None or not len(pos):
        raise MeshError(f"{path}: lacks NDIME or NPOIN; is it a mesh of SU2?")
    raw = RawMesh(pos, blocks)
    for name, parts in marked.items():
        nodes = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
        if len(nodes) and not 0 <= nodes[0] <= nodes[-1] < len(pos):
            raise MeshError(
                f"{path}: marker '{name}' has the nodes {nodes[0]} to {nodes[-1]}, expected 0 to"
                f" {len(pos) - 1}; the file is damaged: export it again"
            )
        raw.point_data[name] = np.isin(np.arange(len(pos)), nodes).astype(np.uint8)
    return raw


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line := line.partition("%")[0].strip():
                yield line


def _taken(path: Path, lines: Iterator[str], what: str, text: str) -> list[str]:
    """The next lines, as many as a head declares."""
    count = int(text.split()[0])
    check_counts(path, [(what, count)])
    rows = list(islice(lines, count))
    if len(rows) < count or any("=" in row for row in rows):
        raise MeshError(
            f"{path}: {what} declares {count:,} lines, which are not there; the file is truncated:"
            " copy or export it again"
        )
    return rows


def _elements(path: Path, rows: list[str]) -> Blocks:
    blocks: list[tuple[int, list[list[int]]]] = []
    for row in rows:
        kind, *nodes = map(int, row.split())
        if kind == 1 and nodes:
            continue  # a node that is shared with another process
        width = _NODES.get(kind)
        if width is None or len(nodes) not in (width, width + 1):  # perhaps with a number behind
            wanted = "" if width is None else f" with {len(nodes)} nodes, expected {width}"
            raise MeshError(
                f"{path}: has an element of type {kind}{wanted or ', which SU2 does not have'};"
                " export it again"
            )
        if not blocks or blocks[-1][0] != kind:
            blocks.append((kind, []))
        blocks[-1][1].append(nodes[:width])
    return [(kind, np.array(nodes, dtype=np.int64)) for kind, nodes in blocks]
