"""Checks of a mesh file before a library opens it: what it is, and what its header promises.

A reader that believes a corrupt header may allocate gigabytes or loop for minutes. Each check here
reads only the header, or scans for section lines, and compares the counts with the file's size.
"""

from __future__ import annotations

import json
import mmap
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

DEFLATE_RATIO = 1032  # zlib cannot compress better than that
_GIB = 1 << 30
_NODES_OF_GMSH_TYPE = {
    **{1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 13: 18},
    **{14: 14, 15: 1, 16: 8, 17: 20, 18: 15, 19: 13},
}


class MeshError(ValueError):
    """A mesh file cannot be read or written: the message names the file, the field and a remedy."""


def check_file(path: Path, may_be_empty: bool = False) -> None:
    """Refuse what is not a readable regular file.

    Raises:
        MeshError: missing, a directory, a device, a loop of links, not permitted, or empty.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MeshError(f"{path}: is a directory; give the mesh file in it")
        if not stat.S_ISREG(status.st_mode):
            raise MeshError(f"{path}: is not a regular file; copy the mesh to one")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        what = "a link to nothing" if path.is_symlink() else "no such file"
        raise MeshError(f"{path}: {what}; check the path ({error})") from error
    except (OSError, ValueError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(
            f"{path}: cannot be opened, check the path, its links and its permissions ({error})"
        ) from error
    if status.st_size == 0 and not may_be_empty:
        raise MeshError(f"{path}: the file is empty (0 bytes); copy or export it again")


def check_header(path: Path) -> None:
    """Compare the counts that a header declares with the size of the file.

    Raises:
        MeshError: they do not fit, two fields have one name, or a file that this one refers to is
            missing or not a regular file.
    """
    check = _CHECKS.get(path.suffix.lower())
    if check is not None:
        check(path)


def _check_counts(
    path: Path, declared: Iterable[tuple[str, int]], limit: int | None = None
) -> None:
    """Refuse counts below zero or above ``limit``, by default one per byte of the file."""
    size = path.stat().st_size
    for what, count in declared:
        if not 0 <= count <= (size if limit is None else limit):
            raise MeshError(
                f"{path}: declares {count:,} {what}, which {size:,} bytes cannot hold;"
                " the file is truncated or corrupt: copy or export it again"
            )


@contextmanager
def _referred_by(path: Path) -> Iterator[None]:
    """Errors of another file name the one that refers to it as well."""
    try:
        yield
    except MeshError as error:
        raise MeshError(f"{path}: refers to {error}") from error


def _check_names(path: Path, kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise MeshError(
                f"{path}: has {names.count(name)} {kind} called '{name}', expected one; rename all"
                " but one where the file was made"
            )


def _mapped(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


# --- VTK -----------------------------------------------------------------------------------------

_VTK_LINE = re.compile(
    rb"^(?:(?P<section>POINTS|CELLS|CELL_TYPES|POINT_DATA|CELL_DATA|DIMENSIONS)[ \t]+"
    rb"(?P<counts>[-+\d \t]+)"
    rb"|(?:SCALARS|VECTORS|NORMALS|TENSORS)[ \t]+(?P<name>\S+)"
    rb"|(?P<array>\S+)[ \t]+(?P<shape>\d+[ \t]+\d+)[ \t]+"
    rb"(?:bit|float|double|vtk\w+|(?:unsigned_)?(?:char|short|int|long)))",
    re.MULTILINE | re.IGNORECASE,
)


def _check_vtk(path: Path) -> None:
    kind = "fields"
    names: list[str] = []
    with _mapped(path) as text:
        for line in _VTK_LINE.finditer(text):
            section = (line["section"] or b"").upper().decode()
            counts = [int(n) for n in (line["counts"] or line["shape"] or b"").split()]
            if section == "DIMENSIONS":  # such a file may well hold nothing but this line
                counts, limit = [int(np.prod([float(n) for n in counts]))], 10**6
            else:
                limit = 0
            what = section.lower() or "values of a field"
            _check_counts(path, [(what, n) for n in counts], max(limit, len(text)))
            if section in ("POINT_DATA", "CELL_DATA"):
                _check_names(path, kind, names)
                kind, names = f"{section[:-5].lower()} fields", []
            elif name := line["name"] or line["array"]:
                names.append(name.decode(errors="replace"))
    _check_names(path, kind, names)


# --- Gmsh, Abaqus --------------------------------------------------------------------------------


def _check_msh(path: Path) -> None:
    with _mapped(path) as text, open(path, "rb") as file:
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
                name, found = _msh_field(path, file, read, ascii_)
                names.append(f"{kind} {name}")
                expected = tags.get(f"{kind[: -len('Data')]}s", found)
                if not np.array_equal(found, expected):  # meshio takes the order for granted
                    raise MeshError(
                        f"{path}: field '{name}' has {len(found):,} values in an order of their"
                        f" own, expected one for each of the {len(expected):,} in the order of the"
                        " mesh; save mesh and field as VTK in Gmsh"
                    )
            elif version[1].startswith(b"4"):
                tags[kind] = _msh4_tags(path, read, kind, size_t)
            else:
                tags[kind] = _msh2_tags(path, file, read, kind, ascii_)
            if kind == "Nodes" and len(tags[kind]):  # readers make a table as long as the largest
                largest, limit = int(tags[kind].max()), max(10**7, len(text))
                _check_counts(path, [("as a node tag", largest)], limit)
        _check_names(path, "fields", names)


def _msh_field(path: Path, file: Any, read: Any, ascii_: bool) -> tuple[str, np.ndarray]:
    """Name of a field, and the tags that its values belong to."""
    head: list[list[bytes]] = []
    for _ in range(3):  # names; times; step, components, rows
        count = int(file.readline())
        _check_counts(path, [("lines of a field's head", count)])
        head.append([file.readline().strip() for _ in range(count)])
    name, width, rows = head[0][0].strip(b'"').decode(), int(head[2][1]), int(head[2][2])
    _check_counts(path, [("components of a field", width), ("values of a field", rows)])
    if ascii_:
        return name, read(count=rows * (1 + width))[:: 1 + width]
    return name, read(dtype=[("tag", "i4"), ("values", "f8", (width,))], count=rows)["tag"]


def _msh2_tags(path: Path, file: Any, read: Any, kind: str, ascii_: bool) -> np.ndarray:
    count = int(file.readline())
    _check_counts(path, [(kind, count)])
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
        _check_counts(path, [(kind, rows - 1)])
        width = 1 + extra + _NODES_OF_GMSH_TYPE[cell_type]
        cells = read(dtype="i4", count=rows * width).reshape(rows, width)
        tags.append(cells[:, 0])
        smallest = min(smallest, int(cells[:, 1 + extra :].min()))
    if smallest < 1:  # which meshio takes for the last node
        raise MeshError(
            f"{path}: cells point at node {smallest}, expected 1 or more; the file is damaged:"
            " export it again"
        )
    return np.concatenate(tags) if tags else np.empty(0)


def _msh4_tags(path: Path, read: Any, kind: str, size_t: str) -> np.ndarray:
    blocks, total, _, _ = (int(n) for n in read(dtype=size_t, count=4))
    _check_counts(path, [("blocks", blocks), (kind, total)])
    tags = [np.empty(0, dtype=size_t)]
    for _ in range(blocks):
        _, _, cell_type = (int(n) for n in read(dtype="i4", count=3))
        (count,) = (int(n) for n in read(dtype=size_t, count=1))
        _check_counts(path, [(kind, count)])
        if kind == "Nodes":
            tags.append(read(dtype=size_t, count=count))
            read(dtype="f8", count=3 * count)
        else:
            width = 1 + _NODES_OF_GMSH_TYPE[cell_type]
            tags.append(read(dtype=size_t, count=count * width)[::width])
    return np.concatenate(tags)


def _check_inp(path: Path, depth: int = 0) -> None:
    with _mapped(path) as text:
        for generate in re.finditer(
            rb"^\*(?:N|EL)SET\b[^\n]*GENERATE[^\n]*\n([-+\d, \t]+)", text, re.MULTILINE | re.I
        ):
            last = [int(n) for n in generate[1].replace(b",", b" ").split()][:2]
            _check_counts(path, [("as a number in a generated set", n) for n in last])
        includes = re.findall(rb"^\*INCLUDE\b[^\n]*", text, re.MULTILINE | re.IGNORECASE)
    for line in includes:
        target = Path(line.decode().split("=")[-1].strip())
        target = target if target.exists() else path.parent / target
        if depth == 8:
            raise MeshError(
                f"{path}: *INCLUDE is nested more than 8 deep; put the mesh in one file"
            )
        with _referred_by(path):
            check_file(target)
            _check_inp(target, depth + 1)


# --- HDF5, XDMF, zip, PLY, glTF ------------------------------------------------------------------


def _check_hdf5(path: Path) -> None:
    """A data set that was never written reads as that many fill values."""
    if not h5py.is_hdf5(path):
        raise MeshError(f"{path}: not an HDF5 file, as its extension says; export it again")
    datasets, counts = [], []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets.append((name, item.size, item.size * item.dtype.itemsize))
            limit = DEFLATE_RATIO * item.id.get_storage_size() + (1 << 16)
            _check_counts(path, [(f"bytes of '{name}'", datasets[-1][2])], limit)
        if "NBR" in item.attrs:  # MED's word for a count
            counts.append((f"entries of '{name}'", int(item.attrs["NBR"])))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    _check_counts(path, counts, max((size for _, size, _ in datasets), default=0))


def _check_exodus(path: Path) -> None:
    try:
        import netCDF4
    except ImportError as error:
        raise MeshError(
            f"{path}: Exodus files need netCDF4; install it with `pip install netCDF4` ({error})"
        ) from error
    with netCDF4.Dataset(path) as file:
        declared = [
            (f"bytes of '{name}'", int(np.prod([float(n) for n in v.shape])) * 8)
            for name, v in file.variables.items()
        ] + [(f"as dimension '{name}'", len(d)) for name, d in file.dimensions.items()]
    _check_counts(path, declared, DEFLATE_RATIO * path.stat().st_size)


def _check_xdmf(path: Path) -> None:
    tree = ElementTree.parse(path)
    for grid in tree.iter("Grid"):
        fields = [f"{a.get('Center')} {a.get('Name')}" for a in grid.findall("Attribute")]
        _check_names(path, "fields", fields)
    for item in tree.iter("DataItem"):
        text = (item.text or "").strip()
        kind = item.get("Format")
        if kind in ("HDF", "Binary"):
            file = path.resolve().parent / text.split(":")[0]
            with _referred_by(path):
                check_file(file)
                if kind == "HDF":
                    _check_hdf5(file)
        elif kind == "XML" and item.get("Dimensions"):
            values = int(np.prod([float(n) for n in item.get("Dimensions", "").split()]))
            _check_counts(path, [("values in a DataItem", values)])


def _check_zip(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise MeshError(
            f"{path}: not a zip archive, as {path.suffix} files are; save it again, with"
            " `numpy.savez` if it is an .npz"
        )
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        _check_names(path, "files", archive.namelist())
    _check_counts(path, [("bytes unpacked", unpacked)], max(_GIB, 100 * path.stat().st_size))


def _check_ply(path: Path) -> None:
    with open(path, "rb") as file:
        header = file.read(1 << 16).split(b"end_header")[0]
    counts = re.findall(rb"^element[ \t]+(\S+)[ \t]+(-?\d+)", header, re.MULTILINE)
    _check_counts(path, [(name.decode(errors="replace"), int(n)) for name, n in counts])
    for element in re.split(rb"^element\b", header, flags=re.MULTILINE)[1:]:
        names = re.findall(rb"^property[ \t].*[ \t](\S+)[ \t\r]*$", element, re.MULTILINE)
        kind = f"{element.split()[0].decode(errors='replace')} fields"
        _check_names(path, kind, [name.decode() for name in names])


def _check_gltf(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(20)
        length = int.from_bytes(start[12:16], "little") if start[:4] == b"glTF" else None
        if length is None:
            file.seek(0)
        tree = json.loads(file.read(length))
    size = path.stat().st_size
    for buffer in tree.get("buffers", []):
        uri = buffer.get("uri", "data:")
        if not uri.startswith("data:"):
            with _referred_by(path):
                check_file(path.parent / uri)
            size += (path.parent / uri).stat().st_size
    counts = [("items of an accessor", int(a["count"])) for a in tree.get("accessors", [])]
    _check_counts(path, counts, size)


_CHECKS = {
    ".vtk": _check_vtk,
    ".msh": _check_msh,
    ".inp": _check_inp,
    ".med": _check_hdf5,
    ".cgns": _check_hdf5,
    ".e": _check_exodus,
    ".exo": _check_exodus,
    ".ex2": _check_exodus,
    ".xdmf": _check_xdmf,
    ".xmf": _check_xdmf,
    ".npz": _check_zip,
    ".3mf": _check_zip,
    ".ply": _check_ply,
    ".glb": _check_gltf,
    ".gltf": _check_gltf,
}
