"""PLY, ``.ply``: surfaces and point clouds, with the other columns as fields; through trimesh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from lrsa_geo.mesh.cells import LINE, POLYGON, QUAD, TRIANGLE, Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_names, only_step


def check(path: Path) -> None:
    """Counts and names of the header."""
    with open(path, "rb") as file:
        header = file.read(1 << 16).split(b"end_header")[0]
    counts = re.findall(rb"^element[ \t]+(\S+)[ \t]+(-?\d+)", header, re.MULTILINE)
    check_counts(path, [(name.decode(errors="replace"), int(n)) for name, n in counts])
    for element in re.split(rb"^element\b", header, flags=re.MULTILINE)[1:]:
        names = re.findall(rb"^property[ \t].*[ \t](\S+)[ \t\r]*$", element, re.MULTILINE)
        kind = f"{element.split()[0].decode(errors='replace')} fields"
        check_names(path, kind, [name.decode() for name in names])


def read(path: Path, step: int) -> RawMesh:
    """A surface or a point cloud, with the other columns of its elements as fields."""
    only_step(path, step)
    with open(path, "rb") as file:
        loaded = trimesh.exchange.ply.load_ply(file, skip_materials=True, fix_texture=False)
    elements = loaded["metadata"]["_ply_raw"]
    columns = {kind: _columns(path, elements.get(kind)) for kind in ("vertex", "face")}
    vertex, face = columns["vertex"], columns["face"]
    raw = RawMesh(np.column_stack([vertex.pop(axis) for axis in "xyz"]), point_data=vertex)
    for name in ("vertex_indices", "vertex_index"):
        if name in face:
            raw.blocks, raw.cell_data = _polygons(face.pop(name)), face
    return raw


def _columns(path: Path, element: dict[str, Any] | None) -> dict[str, np.ndarray]:
    if not element or not element["length"]:
        return {}
    data, columns = element["data"], {}
    names = data.dtype.names if isinstance(data, np.ndarray) else list(data)
    for name in names:
        column = data[name]
        if column.dtype.names:  # a list property: its length, its values
            if (column["f0"] != column["f0"][0]).any():
                raise MeshError(f"{path}: binary lists '{name}' differ in length; save it as ASCII")
            column = column["f1"]
        elif column.dtype != object and column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if len(column) != element["length"]:
            raise MeshError(
                f"{path}: '{name}' has {len(column):,} values, expected {element['length']:,};"
                " the file is truncated: export it again"
            )
        columns[name] = column
    return columns


def _polygons(faces: Any) -> Blocks:
    """Faces, each a row of nodes, as blocks of neighbours with the same number of nodes."""
    blocks: list[tuple[int, list[np.ndarray]]] = []
    for nodes in faces:
        number = {2: LINE, 3: TRIANGLE, 4: QUAD}.get(len(nodes), POLYGON)
        if not blocks or len(blocks[-1][1][0]) != len(nodes):
            blocks.append((number, []))
        blocks[-1][1].append(nodes)
    return [(number, np.stack(rows).astype(np.int64)) for number, rows in blocks]
