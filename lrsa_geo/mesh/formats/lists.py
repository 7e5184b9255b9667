"""Lists of files and their times: ``.pvd`` and ``.vtu.series`` of ParaView.

https://www.paraview.org/Wiki/ParaView/Data_formats. A collection may have several parts at a time;
they are joined (:func:`~lrsa_geo.mesh.formats.pieces.joined`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import Format, RawMesh, check_file, referred_by
from lrsa_geo.mesh.formats.pieces import joined

SUFFIXES = (".pvd", ".series")
Part = tuple[str, str]  # group and number


@dataclass(frozen=True)
class Listed:
    """Times ``[T]`` and, for each, the files of its parts."""

    times: np.ndarray
    files: list[dict[Part, Path]]


def read_list(path: Path) -> Listed:
    """What a file lists, in its order.

    Raises:
        MeshError: it lists nothing, a time without a number, or one part of a time twice.
        Exception: whatever Python's parsers say of a damaged file.
    """
    entries = _of_series(path) if path.suffix.lower() == ".series" else _of_pvd(path)
    steps: dict[float, dict[Part, Path]] = {}
    for time, part, name in entries:
        parts = steps.setdefault(time, {})
        if part in parts:
            raise MeshError(
                f"{path}: lists {parts[part].name} and {Path(name).name} for the time {time:g}"
                + (f", part {part[1]}" if part[1] else "")
                + "; expected one file for each, as before a restart of the solver wrote some"
                " times again: delete the lines that do not count"
            )
        parts[part] = path.parent / name
    if not steps:
        raise MeshError(f"{path}: lists no data set, so it holds no mesh: write the results again")
    return Listed(np.array(list(steps), dtype=np.float64), list(steps.values()))


def _of_pvd(path: Path) -> list[tuple[float, Part, str]]:
    found = []
    for entry in ElementTree.parse(path).getroot().iter("DataSet"):
        name = entry.get("file")
        if not name:
            raise MeshError(f"{path}: lists a data set without a file; write the results again")
        time = _number(path, entry.get("timestep") or 0, name)
        found.append((time, (entry.get("group", ""), entry.get("part", "")), name))
    return found


def _of_series(path: Path) -> list[tuple[float, Part, str]]:
    listed = json.loads(path.read_text(encoding="utf-8"))
    files = listed.get("files") if isinstance(listed, dict) else None
    found = []
    for entry in files if isinstance(files, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise MeshError(f"{path}: lists '{entry}', expected a name and a time")
        found.append((_number(path, entry.get("time"), entry["name"]), ("", ""), entry["name"]))
    return found


def _number(path: Path, text: object, name: str) -> float:
    try:
        time = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        time = np.nan
    if not np.isfinite(time):
        raise MeshError(f"{path}: lists {name} at the time '{text}', expected a number")
    return time


def reader(formats: dict[str, Format]) -> Callable[[Path, int], RawMesh]:
    """Reads one step of a list.

    Args:
        formats: of the files that may be listed, by extension.
    """

    def read(path: Path, step: int) -> RawMesh:
        listed = read_list(path)
        steps = len(listed.files)
        if not -steps <= step < steps:
            raise MeshError(f"{path}: has the steps 0 to {steps - 1}, got `step` {step}")
        raw = read_parts(path, listed, step, formats)
        raw.times = listed.times
        return raw

    return read


def read_parts(path: Path, listed: Listed, step: int, formats: dict[str, Format]) -> RawMesh:
    """The files of one step, as one mesh.

    Raises:
        MeshError: a file is missing or cannot be read, or the step has other parts than the first.
    """
    parts = listed.files[step]
    if parts.keys() != listed.files[0].keys():
        raise MeshError(
            f"{path}: lists {len(parts)} parts at the time {listed.times[step]:g}, expected the"
            f" {len(listed.files[0])} parts of the first time; complete the list, or write the"
            " results again"
        )
    meshes = []
    for file in parts.values():
        with referred_by(path):
            meshes.append(_read_file(file, formats))
    if len(meshes) == 1:
        return meshes[0]
    if any(raw.faces is not None for raw in meshes):
        raise MeshError(
            f"{path}: has polyhedra in one of several parts, which are not joined; merge the parts"
            " in ParaView (Merge Blocks) and save as VTU"
        )
    return joined(meshes)


def _read_file(path: Path, formats: dict[str, Format]) -> RawMesh:
    suffix = path.suffix.lower()
    format_ = formats.get(suffix)
    if format_ is None or suffix in SUFFIXES:
        raise MeshError(f"{path}: is no mesh file of one step; list files such as .vtu or .pvtu")
    check_file(path, format_.may_be_empty)
    if format_.check is not None:
        format_.check(path)
    try:
        raw = format_.read(path, 0)
    except MeshError:
        raise
    except Exception as error:
        raise MeshError(
            f"{path}: cannot be read as {suffix} ({type(error).__name__}: {error}); check that the"
            " file is complete, or write it again"
        ) from error
    if raw.times is not None and len(raw.times) > 1:
        raise MeshError(
            f"{path}: has {len(raw.times)} steps itself, expected one; list a file for each step"
        )
    return raw
