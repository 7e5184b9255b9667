"""What every file format shares: the plain form of a mesh, and checks of what a header declares.

A reader that believes a corrupt header may allocate gigabytes or loop for minutes. The check of a
format reads only the header, or scans for section lines, and compares the counts with the file's
size. Errors of libraries leave the formats as they are; :func:`lrsa_geo.mesh.read_mesh` explains
them.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import Blocks
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.polyhedra import Faces

DEFLATE_RATIO = 1032  # zlib cannot compress better than that


@dataclass
class RawMesh:
    """What a file holds: positions ``[N, 2 or 3]``, blocks of cells, arrays on nodes and cells.

    ``notes`` say what of the file is left out, such as springs beside solids. ``faces`` are those
    of the cells of type 42, polyhedra, if there are any; their blocks hold the nodes of each.
    ``times [T]`` are those of all steps of the file, None if its format tells of none.
    """

    pos: np.ndarray
    blocks: Blocks = field(default_factory=list)
    point_data: dict[str, np.ndarray] = field(default_factory=dict)
    cell_data: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faces: Faces | None = None
    times: np.ndarray | None = None


Reader = Callable[[Path, int], RawMesh]


@dataclass(frozen=True)
class Format:
    """How one format is read.

    Args:
        read: path and step -> mesh. Readers are called from several threads at once.
        check: is called first, and refuses a file whose header promises what it cannot hold.
        may_be_empty: a file of no bytes stands for the folder that it is in.
        read_steps: reads several steps, one after the other, where that is faster than ``read`` for
            each of them.
    """

    read: Reader
    check: Callable[[Path], None] | None = None
    may_be_empty: bool = False
    read_steps: Callable[[Path, Iterable[int]], Iterator[RawMesh]] | None = None


def only_step(path: Path, step: int) -> None:
    """Refuse a step that is neither the first nor the last, of a format that knows none."""
    if step not in (0, -1):
        raise MeshError(f"{path}: has one step, expected `step` 0, got {step}")


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


def check_counts(path: Path, declared: Iterable[tuple[str, int]], limit: int | None = None) -> None:
    """Refuse counts below zero or above ``limit``, by default one per byte of the file."""
    size = path.stat().st_size
    for what, count in declared:
        if not 0 <= count <= (size if limit is None else limit):
            raise MeshError(
                f"{path}: declares {count:,} {what}, which {size:,} bytes cannot hold;"
                " the file is truncated or corrupt: copy or export it again"
            )


def check_names(path: Path, kind: str, names: list[str]) -> None:
    """Refuse two fields of one name."""
    for name in names:
        if names.count(name) > 1:
            raise MeshError(
                f"{path}: has {names.count(name)} {kind} called '{name}', expected one; rename all"
                " but one where the file was made"
            )


@contextmanager
def referred_by(path: Path) -> Iterator[None]:
    """Errors of another file name the one that refers to it as well."""
    try:
        yield
    except MeshError as error:
        raise MeshError(f"{path}: refers to {error}") from error


def mapped(path: Path) -> mmap.mmap:
    """The bytes of a file, mapped into memory."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
