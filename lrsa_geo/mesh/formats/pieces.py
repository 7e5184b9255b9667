"""Pieces of one mesh, as parallel programs write them: ``.pvtu``, ``.pvtp``, parts of a step.

A node on the border between pieces is in each of them. Left so, no edge would cross the border and
both sides of it would count as boundary, so these nodes become one.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import vtk_xml
from lrsa_geo.mesh.formats.base import RawMesh, check_file, referred_by
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

_GHOST = "vtkGhostType"
_ROUNDING = 1e-6  # of a field's size: by which values of one node may differ between pieces


def read(path: Path, step: int) -> RawMesh:
    """Read the pieces of a ``.pvtu`` or ``.pvtp`` and join them.

    Raises:
        MeshError: a piece is missing or damaged, or lacks a field that the file declares.
    """
    if step not in (0, -1):
        raise MeshError(f"{path}: has the step 0 alone, got `step` {step}")
    root = ElementTree.parse(path).getroot()
    sources = [piece.get("Source", "") for piece in root.iter("Piece")]
    if not sources:
        raise MeshError(f"{path}: lists no pieces, so it holds no mesh: write the results again")
    parts = []
    with referred_by(path):
        for source in sources:
            check_file(path.parent / source)
        parts = [vtk_xml.read_piece(path.parent / source) for source in sources]
    if any(part.faces is not None for part in parts):
        return read_with_vtk(path, step)  # whose polyhedra come together with their numbers
    full = [(s, part) for s, part in zip(sources, parts, strict=True) if len(part.pos)]
    if not full:
        raise MeshError(f"{path}: has no nodes in any piece, expected some; export it again")
    for kind, declared in (("point_data", "PPointData"), ("cell_data", "PCellData")):
        _take_declared(path, root.find(f"*/{declared}"), kind, full)
    return joined([_without_ghosts(part) for _, part in full])


def _take_declared(
    path: Path, section: Element | None, kind: str, parts: list[tuple[str, RawMesh]]
) -> None:
    """Leave the fields that the file declares, or refuse pieces that differ."""
    if section is None:
        wanted = list(getattr(parts[0][1], kind))
    else:
        wanted = [array.get("Name", "") for array in section if array.tag.endswith("DataArray")]
    for source, part in parts:
        fields = getattr(part, kind)
        if missing := sorted({*wanted} - {*fields} - {_GHOST}):
            raise MeshError(
                f"{path}: piece {source} has no {kind[:-5]} field '{missing[0]}', expected"
                f" {', '.join(sorted(wanted))} in every piece; write all fields on all pieces"
            )
        kept = {name: fields[name] for name in (*wanted, _GHOST) if name in fields}
        setattr(part, kind, kept)


def _without_ghosts(raw: RawMesh) -> RawMesh:
    """The mesh without cells that another piece has as well, and nodes of these alone."""
    ghosts = raw.cell_data.pop(_GHOST, None)
    for data in (raw.point_data, raw.cell_data):
        for name in [name for name in data if name.startswith("vtk")]:
            del data[name]
    if ghosts is None or not (ghosts & 1).any():
        return raw
    kept = (ghosts & 1) == 0
    blocks: Blocks = []
    first, lost = 0, np.zeros(len(raw.pos), dtype=bool)
    for number, nodes in raw.blocks:
        here = kept[first : first + len(nodes)]
        first += len(nodes)
        blocks.append((number, nodes[here]))
        lost[nodes[~here]] = True
    for _, nodes in blocks:
        lost[nodes] = False
    new = np.cumsum(~lost) - 1
    return RawMesh(
        raw.pos[~lost],
        [(number, new[nodes]) for number, nodes in blocks if len(nodes)],
        {name: values[~lost] for name, values in raw.point_data.items()},
        {name: values[kept] for name, values in raw.cell_data.items()},
        raw.notes,
    )


def joined(parts: list[RawMesh]) -> RawMesh:
    """The parts as one mesh, in which nodes of different parts at exactly one place are one.

    They stay apart, with a note, where their fields differ, as at a contact or a crack along the
    border, and where one part alone has several nodes at the place. Where a part lacks a field it
    gets NaN.
    """
    pos = np.concatenate([part.pos for part in parts])
    counts = [len(part.pos) for part in parts]
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    blocks = [
        (number, nodes + first)
        for part, first in zip(parts, firsts, strict=True)
        for number, nodes in part.blocks
    ]
    point_data = _joined_fields([(part.point_data, len(part.pos)) for part in parts])
    sizes = [sum(len(nodes) for _, nodes in part.blocks) for part in parts]
    cell_data = _joined_fields(
        [(part.cell_data, size) for part, size in zip(parts, sizes, strict=True)]
    )
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    owner = np.repeat(np.arange(len(parts)), counts)
    kept, new, apart = _shared_nodes(pos, owner, point_data)
    if apart:
        notes.append(
            f"{apart:,} nodes lie where its parts meet and have other values in each, so they are"
            " not made one; if this is no crack or contact, `merge_nodes` (--merge-nodes 0) does it"
        )
    return RawMesh(
        pos[kept],
        [(number, new[nodes]) for number, nodes in blocks],
        {name: values[kept] for name, values in point_data.items()},
        cell_data,
        notes,
    )


def _joined_fields(parts: list[tuple[dict[str, np.ndarray], int]]) -> dict[str, np.ndarray]:
    shapes = {name: values.shape[1:] for fields, _ in parts for name, values in fields.items()}
    return {
        name: np.concatenate(
            [
                fields[name] if name in fields else np.full((rows, *shape), np.nan)
                for fields, rows in parts
            ]
        )
        for name, shape in shapes.items()
    }


def _shared_nodes(
    pos: np.ndarray, owner: np.ndarray, fields: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Nodes that stay, the new number of every node, and how many have other values elsewhere."""
    _, place = np.unique(pos + 0.0, axis=0, return_inverse=True)  # -0 is 0
    place = place.reshape(-1)
    order = np.lexsort((owner, place))
    at, of = place[order], owner[order]
    same = at[1:] == at[:-1]
    twice = np.zeros(int(place.max()) + 1, dtype=bool)
    twice[at[1:][same & (of[1:] == of[:-1])]] = True
    first = np.empty(len(twice), dtype=np.int64)
    first[place[::-1]] = np.arange(len(pos))[::-1]
    differs = np.zeros(len(twice), dtype=bool)
    for values in fields.values():
        if values.dtype.kind not in "fc":
            continue  # numbers of processes differ
        size = np.abs(values[np.isfinite(values)]).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            close = np.abs(values - values[first[place]]) <= _ROUNDING * size
        close |= np.isnan(values) & np.isnan(values[first[place]])
        differs[place[~close.reshape(len(close), -1).all(1)]] = True
    differs &= ~twice
    together = ~(twice | differs)[place]
    target = np.where(together, first[place], np.arange(len(pos)))
    kept = target == np.arange(len(pos))
    new = (np.cumsum(kept) - 1)[target]
    return kept, new, int(differs[place].sum())
