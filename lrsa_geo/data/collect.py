"""A folder of mesh files, with a table of parameters, to one MeshStore."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.reader import GraphReader, reader_for
from lrsa_geo.data.store import MeshStore
from lrsa_geo.jobs import Failure, Parts, SampleError
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import split_unit
from lrsa_geo.mesh.read import read_mesh


@dataclass(frozen=True)
class CondTable:
    """Graph-level parameters of many files, from a CSV file.

    Its first column is the file's name, with or without folder and extension; the others are
    parameters, their names perhaps with a unit: ``file,mach,angle [deg]``.

    Attributes:
        path: the CSV file.
        names: of the parameters, with units.
        rows: file -> values.
    """

    path: str = ""
    names: tuple[str, ...] = ()
    rows: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> CondTable:
        """Read it.

        Raises:
            ValueError: it cannot be read, has a value that is no number, or a file twice.
        """
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.reader(file) if any(map(str.strip, line))]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}: cannot be read as CSV ({error})") from error
        if len(lines) < 2 or len(lines[0]) < 2:
            raise ValueError(
                f"{path}: expected a first line 'file,NAME,...' and one line for each mesh file"
            )
        names = tuple(name.strip() for name in lines[0][1:])
        rows: dict[str, tuple[float, ...]] = {}
        for number, line in enumerate(lines[1:], 2):
            name = line[0].strip()
            if len(line) != len(lines[0]) or name in rows:
                raise ValueError(
                    f"{path}: row {number} has {len(line)} entries, or '{name}' is there twice;"
                    f" expected {len(lines[0])} entries and every file once"
                )
            try:
                values = tuple(float(value) for value in line[1:])
            except ValueError as error:
                raise ValueError(f"{path}: row {number} ('{name}'): {error}") from error
            if not np.isfinite(values).all():
                raise ValueError(f"{path}: row {number} ('{name}') holds NaN or infinity")
            rows[name] = values
        return cls(str(path), names, rows)

    def of(self, file: str | Path) -> dict[str, float] | None:
        """Parameters of a mesh file by name (without units); None for an empty table.

        Raises:
            MeshError: the table has no row for it.
        """
        if not self.names:
            return None
        file = Path(file)
        for key in (str(file), file.name, file.stem, str(file.with_suffix(""))):
            if key in self.rows:
                plain = [split_unit(name)[0] for name in self.names]
                return dict(zip(plain, self.rows[key], strict=True))
        raise MeshError(f"{file}: {self.path} has no row for it; add one named '{file.name}'")


@dataclass(frozen=True)
class _ReadFile:
    """What a worker process does: file number -> graph."""

    reader: GraphReader
    files: tuple[str, ...]
    table: CondTable

    def __call__(self, index: int) -> Data:
        path = self.files[index]
        try:
            _, graph = self.reader.read(path, self.table.of(path))
        except (MeshError, MemoryError) as error:
            raise SampleError(str(error)) from error
        graph.sample = torch.tensor([index])
        return graph


def collect(
    files: Sequence[str | Path],
    output: str | Path,
    *,
    inputs: Iterable[str] = (),
    targets: Iterable[str] = (),
    table: CondTable | None = None,
    boundary: str = "",
    step: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
) -> tuple[MeshStore, list[Failure]]:
    """Read mesh files in several processes and write their graphs, in order, to one MeshStore.

    ``sample`` of a graph is the number of its file, ``provenance["files"]`` their names. Finished
    graphs wait in ``<output>.parts/``: an interrupted call goes on where it stopped.

    Args:
        files: mesh files.
        output: MeshStore (.h5); an existing file is replaced.
        inputs, targets, boundary, step: see :func:`reader_for`. The first file that can be read
            decides which fields are vectors.
        table: graph-level parameters.
        skip_bad: leave out files that cannot be read, instead of stopping at the first.
        processes: by default one per core; 0 for none but this one.

    Returns:
        The store, and which files were left out and why.

    Raises:
        MeshError: a file is bad and ``skip_bad`` is false, or all are bad.
    """
    paths = tuple(str(path) for path in files)
    table = table or CondTable()
    if not paths:
        raise MeshError(f"{output}: no mesh files to read; check the pattern")
    failures: list[Failure] = []

    def note(failure: Failure) -> Iterable[int]:
        failures.append(failure)
        if not skip_bad:
            raise MeshError(f"{failure.reason} (--skip-bad leaves such files out)")
        return ()

    reader = None
    for index, path in enumerate(paths):
        try:
            mesh = read_mesh(path, step)
            reader = reader_for(mesh, inputs, targets, table.names, boundary, step, path)
            break
        except MeshError as error:
            note(Failure(index, str(error)))
    if reader is None:
        raise MeshError(f"none of the {len(paths)} files can be read; the last: {failures[-1]}")
    about: dict[str, Any] = {
        "files": list(paths),
        "reader": asdict(reader),
        "table": table.path,
    }
    stamps = [[status.st_size, status.st_mtime_ns] for status in map(_stat, paths)]
    parts = Parts(output, [about, stamps, sorted(table.rows.items())])
    first = len(failures)
    made = parts.make(
        _ReadFile(reader, paths, table), range(first, len(paths)), note, "reading", processes
    )
    if not made:
        raise MeshError(f"none of the {len(paths)} files can be read; the last: {failures[-1]}")
    failures.sort(key=lambda failure: failure.index)
    about["skipped"] = {paths[failure.index]: failure.reason for failure in failures}
    store = MeshStore.write(output, _alike(parts, made), reader.fields, about)
    parts.remove()
    return store, failures


def _stat(path: str) -> Any:
    try:
        return Path(path).stat()
    except OSError as error:
        raise MeshError(f"{path}: cannot be found ({error})") from error


def _alike(parts: Parts, indices: list[int]) -> Iterator[Data]:
    """The graphs, with cells padded to the widest, and with only the arrays that all have."""
    width, arrays = 0, None
    for data in map(parts.load, indices):
        width = max(width, data.cells.shape[1] if "cells" in data else 0)
        arrays = set(data.keys()) if arrays is None else arrays & set(data.keys())
    for data in map(parts.load, indices):
        for array in set(data.keys()) - (arrays or set()):
            del data[array]
        if "cells" in data and data.cells.shape[1] < width:
            missing = width - data.cells.shape[1]
            data.cells = torch.nn.functional.pad(data.cells, (0, missing), value=-1)
        yield data
