"""Legacy VTK, ``.vtk``: unstructured grids through meshio, all others through VTK itself."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_names, mapped
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

_LINE = re.compile(
    rb"^(?:(?P<section>POINTS|CELLS|CELL_TYPES|POINT_DATA|CELL_DATA|DIMENSIONS)[ \t]+"
    rb"(?P<counts>[-+\d \t]+)"
    rb"|(?:SCALARS|VECTORS|NORMALS|TENSORS)[ \t]+(?P<name>\S+)"
    rb"|(?P<array>\S+)[ \t]+(?P<shape>\d+[ \t]+\d+)[ \t]+"
    rb"(?:bit|float|double|vtk\w+|(?:unsigned_)?(?:char|short|int|long)))",
    re.MULTILINE | re.IGNORECASE,
)
# What meshio drops or refuses.
_BEYOND_MESHIO = re.compile(
    rb"^(?:DATASET[ \t]+(?!UNSTRUCTURED_GRID)\w+|COLOR_SCALARS|NORMALS|TEXTURE_COORDINATES"
    rb"|GLOBAL_IDS|PEDIGREE_IDS)\b",
    re.MULTILINE | re.IGNORECASE,
)
_refused = own_meshio.module("_exceptions").ReadError
_read_with_meshio = own_meshio.reader("vtk")


def check(path: Path) -> None:
    """Counts of all sections, and names of fields."""
    kind = "fields"
    names: list[str] = []
    with mapped(path) as text:
        for line in _LINE.finditer(text):
            section = (line["section"] or b"").upper().decode()
            counts = [int(n) for n in (line["counts"] or line["shape"] or b"").split()]
            if section == "DIMENSIONS":  # such a file may well hold nothing but this line
                counts, limit = [int(np.prod([float(n) for n in counts]))], 10**6
            else:
                limit = 0
            what = section.lower() or "values of a field"
            check_counts(path, [(what, n) for n in counts], max(limit, len(text)))
            if section in ("POINT_DATA", "CELL_DATA"):
                check_names(path, kind, names)
                kind, names = f"{section[:-5].lower()} fields", []
            elif name := line["name"] or line["array"]:
                names.append(name.decode(errors="replace"))
    check_names(path, kind, names)


def time_of(path: Path) -> float | None:
    """The time that a file says it is of, in the field data at its head; None if it says none."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    found = _TIME.search(head)
    if found is None:
        return None
    if re.search(rb"^ASCII", head, re.MULTILINE) is not None:
        return float(head[found.end() :].split(None, 1)[0])
    kind = ">f8" if found[1].lower() == b"double" else ">f4"
    return float(np.frombuffer(head, kind, 1, found.end())[0])


_HEAD = 1 << 12
_TIME = re.compile(rb"^(?:TIME|TimeValue)[ \t]+1[ \t]+1[ \t]+(double|float)[ \t]*\n", re.M | re.I)


def read(path: Path, step: int) -> RawMesh:
    """Read it with meshio if meshio reads all of it."""
    text = path.read_bytes()
    if _BEYOND_MESHIO.search(text):
        return read_with_vtk(path, step)
    try:
        raw = _read_with_meshio(path, step)
    except (_refused, ValueError, KeyError) as error:
        is_unknown = isinstance(error, KeyError)  # a type of cells that meshio has no number for
        if not is_unknown and str(error) and "cannot handle" not in str(error):
            raise
        return read_with_vtk(path, step)  # cells that meshio does not know
    if re.search(rb"^CELL_DATA", text, re.MULTILINE) and not raw.cell_data:
        return read_with_vtk(path, step)  # meshio forgets them where there are polygons
    raw.point_data = {unquote(name): values for name, values in raw.point_data.items()}
    raw.cell_data = {unquote(name): values for name, values in raw.cell_data.items()}
    return raw
