"""Gmsh, ``.msh``: formats 2 and 4.1, through meshio."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import check_counts, check_names, mapped

_NODES_OF_TYPE = {
    **{1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 13: 18},
    **{14: 14, 15: 1, 16: 8, 17: 20, 18: 15, 19: 13},
}

read = own_meshio.reader("gmsh")


def check(path: Path) -> None:
    """Version, counts, tags, and the order of fields, which meshio takes for granted."""
    with mapped(path) as text, open(path, "rb") as file:
        version = re.search(rb"\$MeshFormat\s*\n\s*([\d.]+)\s+([01])\s+(\d+)", text)
        if version is None:
            raise MeshError(f"{path}: no Gmsh $MeshFormat section; is it a Gmsh mesh?")
        if version[1] in (b"4", b"4.0"):  # Gmsh writes 4.0 as "4", which meshio takes for 4.1
            raise MeshError(
                f"{path}: Gmsh format 4.0, expected 2 or 4.1; open it in Gmsh and save it as 4.1"
            )
        ascii_, size_t = version[2] == b"0", f"u{int(version[3])}"
        read = partial(np.fromfile, file, sep=" " if ascii_ else "")
        tags: dict[str, np.ndarray] = {}
        names: list[str] = []
        for section in re.finditer(
            rb"^\$(Nodes|Elements|NodeData|ElementData)[ \t\r]*\n", text, re.MULTILINE
        ):
            kind = section[1].decode()
            file.seek(section.end())
            if kind.endswith("Data"):
                name, found = _field(path, file, read, ascii_)
                names.append(f"{kind} {name}")
                expected = tags.get(f"{kind[: -len('Data')]}s", found)
                if not np.array_equal(found, expected):  # meshio takes the order for granted
                    raise MeshError(
                        f"{path}: field '{name}' has {len(found):,} values in an order of their"
                        f" own, expected one for each of the {len(expected):,} in the order of the"
                        " mesh; save mesh and field as VTK in Gmsh"
                    )
            elif version[1].startswith(b"4"):
                tags[kind] = _tags_of_4(path, read, kind, size_t)
            else:
                tags[kind] = _tags_of_2(path, file, read, kind, ascii_)
            if kind == "Nodes" and len(tags[kind]):  # readers make a table as long as the largest
                largest, limit = int(tags[kind].max()), max(10**7, len(text))
                check_counts(path, [("as a node tag", largest)], limit)
        check_names(path, "fields", names)


def _field(path: Path, file: Any, read: Any, ascii_: bool) -> tuple[str, np.ndarray]:
    """Name of a field, and the tags that its values belong to."""
    head: list[list[bytes]] = []
    for _ in range(3):  # names; times; step, components, rows
        count = int(file.readline())
        check_counts(path, [("lines of a field's head", count)])
        head.append([file.readline().strip() for _ in range(count)])
    name, width, rows = head[0][0].strip(b'"').decode(), int(head[2][1]), int(head[2][2])
    check_counts(path, [("components of a field", width), ("values of a field", rows)])
    if ascii_:
        return name, read(count=rows * (1 + width))[:: 1 + width]
    return name, read(dtype=[("tag", "i4"), ("values", "f8", (width,))], count=rows)["tag"]


def _tags_of_2(path: Path, file: Any, read: Any, kind: str, ascii_: bool) -> np.ndarray:
    count = int(file.readline())
    check_counts(path, [(kind, count)])
    if kind == "Nodes":
        if ascii_:
            return read(count=4 * count)[::4]
        return read(dtype=[("tag", "i4"), ("pos", "f8", (3,))], count=count)["tag"]
    tags, smallest = [], 1
    if ascii_:
        for _ in range(count):
            cell = [int(n) for n in file.readline().split()]
            tags.append(np.array(cell[:1]))
            smallest = min(smallest, *cell[3 + cell[2] :])
    while not ascii_ and sum(map(len, tags)) < count:
        cell_type, rows, extra = (int(n) for n in read(dtype="i4", count=3))
        check_counts(path, [(kind, rows - 1)])
        width = 1 + extra + _NODES_OF_TYPE[cell_type]
        cells = read(dtype="i4", count=rows * width).reshape(rows, width)
        tags.append(cells[:, 0])
        smallest = min(smallest, int(cells[:, 1 + extra :].min()))
    if smallest < 1:  # which meshio takes for the last node
        raise MeshError(
            f"{path}: cells point at node {smallest}, expected 1 or more; the file is damaged:"
            " export it again"
        )
    return np.concatenate(tags) if tags else np.empty(0)


def _tags_of_4(path: Path, read: Any, kind: str, size_t: str) -> np.ndarray:
    blocks, total, _, _ = (int(n) for n in read(dtype=size_t, count=4))
    check_counts(path, [("blocks", blocks), (kind, total)])
    tags = [np.empty(0, dtype=size_t)]
    for _ in range(blocks):
        _, _, cell_type = (int(n) for n in read(dtype="i4", count=3))
        (count,) = (int(n) for n in read(dtype=size_t, count=1))
        check_counts(path, [(kind, count)])
        if kind == "Nodes":
            tags.append(read(dtype=size_t, count=count))
            read(dtype="f8", count=3 * count)
        else:
            width = 1 + _NODES_OF_TYPE[cell_type]
            tags.append(read(dtype=size_t, count=count * width)[::width])
    return np.concatenate(tags)
