"""Point clouds through numpy: ``.npz .csv .xyz``; and the check of zip archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_names, only_step

_GIB = 1 << 30
_PARAVIEW = {f"Points{mark}{i}": axis for mark in ":_" for i, axis in enumerate("xyz")}


def check_zip(path: Path) -> None:
    """Size when unpacked, and names of the files inside."""
    if not zipfile.is_zipfile(path):
        raise MeshError(
            f"{path}: not a zip archive, as {path.suffix} files are; save it again, with"
            " `numpy.savez` if it is an .npz"
        )
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        check_names(path, "files", archive.namelist())
    check_counts(path, [("bytes unpacked", unpacked)], max(_GIB, 100 * path.stat().st_size))


def read_npz(path: Path, step: int) -> RawMesh:
    """The array ``pos``, and all others as fields."""
    only_step(path, step)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "pos" not in arrays:
        raise MeshError(f"{path}: has the arrays {sorted(arrays)}, expected 'pos' [N, 2 or 3]")
    return RawMesh(arrays.pop("pos"), point_data=arrays)


def read_csv(path: Path, step: int) -> RawMesh:
    """Columns ``x, y`` and perhaps ``z`` by name, or the first three if there is no header.

    Columns end at commas, semicolons or tabs. ParaView calls the axes ``Points:0``, ``Points_1``.
    """
    only_step(path, step)
    with open(path, encoding="utf-8-sig") as file:
        head, second = file.readline(), file.readline()
    mark = next((mark for mark in ";\t" if mark in head), ",")
    if mark != "," and "," in second:
        raise MeshError(
            f"{path}: has columns that end at {mark!r} and numbers such as"
            f" '{second.split(mark)[0].strip()}' with commas; write numbers with a point, 0.5"
        )
    names = [name.strip().strip('"') for name in head.split(mark)]
    header = not all(map(_is_number, names))
    rows = np.loadtxt(path, delimiter=mark, skiprows=int(header), ndmin=2, encoding="utf-8-sig")
    return _cloud(path, rows, [_PARAVIEW.get(n, n) for n in names] if header else [])


def read_xyz(path: Path, step: int) -> RawMesh:
    """Columns of numbers, of which the first are the position."""
    only_step(path, step)
    return _cloud(path, np.loadtxt(path, ndmin=2, encoding="utf-8"), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cloud(path: Path, rows: np.ndarray, names: list[str]) -> RawMesh:
    names = names or [*"xyz"[: rows.shape[1]], *(f"column_{i}" for i in range(3, rows.shape[1]))]
    if len(names) != rows.shape[1] or len(set(names)) < len(names):
        raise MeshError(
            f"{path}: has {rows.shape[1]} columns called {names}, expected one name for each,"
            " all different; correct the first line"
        )
    columns = dict(zip(names, rows.T, strict=True))
    axes = [name for name in names if name.lower() in ("x", "y", "z")]
    axes.sort(key=str.lower)
    if [axis.lower() for axis in axes] not in (["x", "y"], ["x", "y", "z"]):
        raise MeshError(f"{path}: has the columns {names}, expected x, y and perhaps z among them")
    pos = np.column_stack([columns.pop(axis) for axis in axes])
    return RawMesh(pos, point_data={k: np.ascontiguousarray(v) for k, v in columns.items()})
