"""Names of stores: a file, or a pattern or folder of files that are read as one store."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lrsa_geo.data.store.format import StoreError
from lrsa_geo.files import natural_order

SUFFIXES = (".h5", ".hdf5")


def is_one_file(path: str | Path) -> bool:
    """Whether a name is that of one file, and not a pattern or a folder of files."""
    path = Path(path)
    return not path.is_dir() and (path.is_file() or not glob.has_magic(str(path)))


def names_store(path: str | Path) -> bool:
    """Whether there is a file with a store's suffix, or a pattern or folder that has some."""
    if is_one_file(path):
        return Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()
    return bool(_found(path))


def shard_files(path: str | Path) -> list[Path]:
    """The files of a pattern or a folder, in natural order: ``part-2.h5`` before ``part-10.h5``.

    Raises:
        StoreError: there is none.
    """
    found = _found(path)
    if not found:
        place = "the folder has" if Path(path).is_dir() else "the pattern matches"
        raise StoreError(
            f"{path}: {place} no file that ends in {' or '.join(SUFFIXES)}; make some with"
            " `lrsa-geo data make NAME --shard I/K`, or check the name"
        )
    return found


def _found(path: str | Path) -> list[Path]:
    inside = Path(path).iterdir() if Path(path).is_dir() else glob.iglob(str(path), recursive=True)
    files = [Path(name) for name in inside]
    found = [file for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
    return sorted((file for file in found if file.name[0] != "."), key=natural_order)


def store_name(path: str | Path) -> str:
    """What files that belong to a store begin with, where wildcards read ``all``.

    Examples:
        >>> from lrsa_geo.data import store_name
        >>> store_name("data/mine.h5"), store_name("data/part-*.h5"), store_name("data/*.h5")
        ('mine', 'part-all', 'all')
    """
    if Path(path).is_dir():
        return Path(path).resolve().name
    if is_one_file(path):
        return Path(path).stem
    _, pattern = _base(Path(path))
    words = re.sub(r"(\*|\?|\[[^]]*\])+", "all", str(pattern.with_suffix("")))
    return re.sub(r"[\\/]+", "-", words)


def store_folder(path: str | Path) -> Path:
    """The folder beside or in which what belongs to a store is kept; its name has no wildcard."""
    if Path(path).is_dir():
        return Path(path).resolve().parent
    return Path(path).parent if is_one_file(path) else _base(Path(path))[0]


def _base(pattern: Path) -> tuple[Path, Path]:
    """The folder of a pattern before the first wildcard, and the rest."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), Path(*parts[first:])


def missing_names(files: Sequence[Path]) -> list[str]:
    """Names that a numbered range lacks: of ``part-0.h5`` and ``part-2.h5``, ``part-1.h5``.

    A range is files whose names differ in one number alone, more of them than are missing.

    Examples:
        >>> from lrsa_geo.data.store.names import missing_names
        >>> missing_names(["part-08.h5", "part-10.h5"]), missing_names(["1000.h5", "4000.h5"])
        (['part-09.h5'], [])
    """
    alike: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for file in files:
        words = re.split(r"(\d+)", str(file))
        alike[tuple(words[::2])].append(words[1::2])
    missing: list[str] = []
    for texts, rows in alike.items():
        differing = [i for i, column in enumerate(zip(*rows, strict=True)) if len({*column}) > 1]
        if len(differing) != 1:
            continue
        (place,) = differing
        there = {int(row[place]) for row in rows}
        absent = sorted({*range(min(there), max(there))} - there) if _close(there) else []
        width = min(len(row[place]) for row in rows)
        for number in absent:
            numbers = [*rows[0][:place], f"{number:0{width}d}", *rows[0][place + 1 :], ""]
            missing.append("".join(t + n for t, n in zip(texts, numbers, strict=True)))
    return missing


def _close(numbers: set[int]) -> bool:
    """Whether more numbers of their range are there than are not."""
    return max(numbers) - min(numbers) + 1 < 2 * len(numbers)
