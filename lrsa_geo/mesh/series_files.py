"""Numbered files of a series: which belong together, and at which times they are.

``case3/step_0001.vtu`` and ``case3/step_0002.vtu`` are steps of ``case3/step_*.vtu``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import exodus, vtk_legacy, vtk_xml
from lrsa_geo.mesh.formats.lists import SUFFIXES as LISTS
from lrsa_geo.mesh.formats.lists import read_list

WITH_STEPS = (
    *LISTS,
    *(".xdmf", ".xmf", ".case", ".foam", ".vtkhdf", ".cgns", ".med", ".rmed", ".msh", ".frd"),
    *exodus.SUFFIXES,
)
"""Extensions of files that may hold several steps; files with others are steps by their number."""

_NUMBER = re.compile(r"(.*?)(\d+)")
_XML = (".vtu", ".vtp", ".vti", ".vtr", ".vts")


def series_files(files: Iterable[str | Path]) -> dict[str, list[str]]:
    """Mesh files as series: name -> files.

    A file of a format with steps is a series of its own name. Others are grouped by folder, name
    before the number, and extension; ``case3/step_1.vtu`` and ``case3/step_10.vtu`` are the series
    ``case3/step_*.vtu``, in the order of their numbers. What a ``.pvd``, ``.series`` or ``.pvtu``
    among the files refers to is left to it.
    """
    paths = [str(file) for file in files]
    referred = {other for path in paths for other in files_of(Path(path))}
    found: dict[str, list[str]] = {}
    for path in paths:
        if _plain(Path(path)) not in referred:
            found.setdefault(_name(Path(path)), []).append(path)
    return {
        name if len(group) > 1 else group[0]: sorted(group, key=_order)
        for name, group in found.items()
    }


def _name(path: Path) -> str:
    match = _NUMBER.fullmatch(path.stem)
    if match is None or path.suffix.lower() in WITH_STEPS:
        return str(path)
    return str(path.with_name(f"{match[1]}*{path.suffix}"))


def _order(path: str) -> tuple[int, str]:
    match = _NUMBER.fullmatch(Path(path).stem)
    return (int(match[2]) if match else 0, path)


def _plain(path: Path) -> Path:
    return path.absolute()


def files_of(path: Path) -> list[Path]:
    """Files that a list of files, or of pieces, refers to; none if it cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix in LISTS:
            return [_plain(file) for step in read_list(path).files for file in step.values()]
        if suffix.startswith(".pvt"):
            pieces = ElementTree.parse(path).getroot().iter("Piece")
            return [_plain(path.parent / piece.get("Source", "")) for piece in pieces]
    except (MeshError, OSError, ValueError, SyntaxError):
        return []  # said when it is read
    return []


def times_of_files(name: str, files: Sequence[Path]) -> np.ndarray:
    """Times ``[T]`` of numbered files: of a ``.series`` beside them, of the files, or the numbers.

    Args:
        name: of the series, for messages.
        files: in order.

    Raises:
        MeshError: a ``.series`` lists some of them alone, some have no time and others have one, or
            of numbers without times one is missing or there twice.
    """
    for beside in sorted(files[0].parent.glob("*.series")):
        times = _listed_times(name, beside, files)
        if times is not None:
            return times
    own = [_time_of(file) for file in files]
    known = [time for time in own if time is not None]
    if len(known) == len(files):
        return np.array(known)
    if known:
        without = files[own.index(None)]
        raise MeshError(
            f"{name}: {len(files) - len(known)} of {len(files)} files have no time (TimeValue),"
            f" such as {without.name}, and the others have one; write it into all, or list files"
            f" and times in {files[0].name}.series"
        )
    return _numbers(name, files)


def _listed_times(name: str, beside: Path, files: Sequence[Path]) -> np.ndarray | None:
    try:
        listed = read_list(beside)
    except (MeshError, ValueError, OSError):
        return None  # of something else, or damaged: the files' own times count
    times = {
        _plain(file): time
        for time, parts in zip(listed.times, listed.files, strict=True)
        for file in parts.values()
    }
    found = [times.get(_plain(file)) for file in files]
    if all(time is None for time in found):
        return None
    if None in found:
        raise MeshError(
            f"{name}: {beside.name} lists some of the files and not {files[found.index(None)].name}"
            "; complete it, or delete it if it is of an earlier run"
        )
    return np.array(found, dtype=np.float64)


def _time_of(path: Path) -> float | None:
    suffix = path.suffix.lower()
    try:
        if suffix in _XML:
            return vtk_xml.time_of(path)
        if suffix == ".vtk":
            return vtk_legacy.time_of(path)
    except Exception as error:
        raise MeshError(
            f"{path}: its time cannot be read ({type(error).__name__}: {error}); check that the"
            " file is complete, or write it again"
        ) from error
    return None


def _numbers(name: str, files: Sequence[Path]) -> np.ndarray:
    """The numbers in the names, of which none may be missing."""
    matches = [_NUMBER.fullmatch(file.stem) for file in files]
    remedy = f"list files and times in {files[0].name}.series, or in a .pvd"
    if None in matches:
        raise MeshError(f"{name}: {files[matches.index(None)].name} has no number; {remedy}")
    known = [match for match in matches if match is not None]
    if any(re.search(r"\d\.$", match[1]) for match in known):
        raise MeshError(
            f"{name}: the files have no times, and {files[0].name} may be number {known[0][2]} or a"
            f" time with decimals; {remedy}"
        )
    numbers = [int(match[2]) for match in known]
    for first, second, before, after in zip(numbers, numbers[1:], files, files[1:], strict=False):
        if first == second:
            raise MeshError(f"{name}: {before.name} and {after.name} have one number; delete one")
    steps = np.diff(numbers)
    usual = int(steps.min()) if len(steps) else 1
    if (steps != usual).any():
        gap = int((steps != usual).argmax())
        raise MeshError(
            f"{name}: between {files[gap].name} and {files[gap + 1].name} files are missing (the"
            f" others are {usual} apart), and no file says its time; copy them, or {remedy}"
        )
    return np.array(numbers, dtype=np.float64)
