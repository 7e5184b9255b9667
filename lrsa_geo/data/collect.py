"""Collect mesh files, with a table of parameters, into one MeshStore."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.reader import GraphReader, reader_for
from lrsa_geo.data.store import MeshStore
from lrsa_geo.files import one_at_a_time
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

    ``sample`` of a graph is the number of its file, ``provenance["files"]`` their names, and
    ``store.reader`` reads further files in the same way. Finished graphs wait in
    ``<output>.parts/``: an interrupted call goes on where it stopped. Positions are float64 if they
    are in any of the files. If another process makes the same store, this one waits and returns it.

    Args:
        files: mesh files.
        output: MeshStore (.h5); an existing file is replaced.
        inputs, targets, boundary, step: see :func:`reader_for`. The first file that can be read
            decides which fields are vectors.
        table: graph-level parameters.
        skip_bad: leave out files that cannot be read, or have other arrays than most (a point cloud
            among meshes), instead of stopping at the first.
        processes: by default one per core; 0 for none but this one.

    Returns:
        The store, and which files were left out and why.

    Raises:
        MeshError: a file is bad and ``skip_bad`` is false, or all are bad.
    """
    paths = tuple(str(path) for path in files)
    if not paths:
        raise MeshError(f"{output}: no mesh files to read; check the pattern")
    task = _Collection(paths, Path(output), table or CondTable(), skip_bad)
    with one_at_a_time(output) as waited:
        reader = task.first_reader(tuple(inputs), tuple(targets), boundary, step)
        if waited and (done := task.finished_by_another(reader)) is not None:
            return done
        return task.make(reader, processes)


@dataclass
class _Collection:
    """One call of :func:`collect`.

    Args:
        paths: mesh files.
        output: the store.
        table: graph-level parameters.
        skip_bad: leave bad files out.

    Attributes:
        failures: files that were left out so far.
        first: number of the first file that could be read, and its graph.
    """

    paths: tuple[str, ...]
    output: Path
    table: CondTable
    skip_bad: bool
    failures: list[Failure] = field(default_factory=list)
    first: tuple[int, Data] | None = None

    def leave_out(self, failure: Failure) -> Iterable[int]:
        self.failures.append(failure)
        if not self.skip_bad:
            raise MeshError(f"{failure.reason} (--skip-bad leaves such files out)")
        return ()

    def first_reader(
        self, inputs: tuple[str, ...], targets: tuple[str, ...], boundary: str, step: int
    ) -> GraphReader:
        """The reader for meshes like the first that can be read, which becomes a graph at once."""
        for index, path in enumerate(self.paths):
            try:
                mesh = read_mesh(path, step)
                names = self.table.names
                reader = reader_for(mesh, inputs, targets, names, boundary, step, path)
                graph = reader.graph(mesh, self.table.of(path), where=path)
            except MeshError as error:
                self.leave_out(Failure(index, str(error)))
                continue
            graph.sample = torch.tensor([index])
            self.first = index, graph
            return reader
        raise self.none_left()

    def none_left(self) -> MeshError:
        last = self.failures[-1].reason
        return MeshError(f"none of the {len(self.paths)} files can be read; the last: {last}")

    def about(self, reader: GraphReader) -> dict[str, Any]:
        """The provenance of the store."""
        return {"files": list(self.paths), "reader": reader.to_dict(), "table": self.table.path}

    def finished_by_another(self, reader: GraphReader) -> tuple[MeshStore, list[Failure]] | None:
        """The store, if another process made the same one while this one waited."""
        if not self.output.exists():
            return None
        store, number = MeshStore(self.output), {path: i for i, path in enumerate(self.paths)}
        skipped = store.provenance.get("skipped", {})
        if store.provenance != self.about(reader) | {"skipped": skipped}:
            return None
        return store, [Failure(number[path], reason) for path, reason in skipped.items()]

    def make(self, reader: GraphReader, processes: int | None) -> tuple[MeshStore, list[Failure]]:
        """Read the files and write the store."""
        assert self.first is not None
        first, graph = self.first
        stamps = [[status.st_size, status.st_mtime_ns] for status in map(_stat, self.paths)]
        rows = sorted(self.table.rows.items())
        parts = Parts(self.output, [self.about(reader), stamps, rows])
        parts.save(first, graph)
        self.first = None
        job, numbers = _ReadFile(reader, self.paths, self.table), range(first, len(self.paths))
        made = parts.make(job, numbers, self.leave_out, "reading", processes)
        forms = {index: parts.form(index) for index in made}
        for index, reason in list(_unlike_most(self.paths, forms)):
            del forms[index]
            self.leave_out(Failure(index, reason))
        self.failures.sort(key=lambda failure: failure.index)
        skipped = {self.paths[failure.index]: failure.reason for failure in self.failures}
        about = self.about(reader) | {"skipped": skipped}
        _make_alike(forms)
        graphs = _graphs(parts, forms)
        store = MeshStore.write(
            self.output, graphs, reader.fields, about, forms=list(forms.values())
        )
        parts.remove()
        return store, self.failures


def _stat(path: str) -> Any:
    try:
        return Path(path).stat()
    except OSError as error:
        raise MeshError(f"{path}: cannot be found ({error})") from error


Forms = dict[int, dict[str, tuple[np.dtype, list[int]]]]  # of the arrays of each graph


def _unlike_most(paths: tuple[str, ...], forms: Forms) -> Iterator[tuple[int, str]]:
    """Graphs that have other arrays than most, such as a point cloud among meshes, and why."""
    kinds = Counter(tuple(sorted(arrays)) for arrays in forms.values())
    usual = max(kinds, key=lambda kind: (kinds[kind], len(kind)))
    example = next(i for i, arrays in forms.items() if tuple(sorted(arrays)) == usual)
    for index, arrays in forms.items():
        others = ({*usual} ^ {*arrays}) - {"cell_types"}  # which come and go with the cells
        has = [name if name in arrays else f"no {name}" for name in sorted(others, reverse=True)]
        if has:
            yield (
                index,
                f"{paths[index]}: has {' and '.join(has)}, unlike {kinds[usual]} of the"
                f" {len(forms)} files, such as {paths[example]}; all graphs of a store have the"
                " same arrays",
            )


def _make_alike(forms: Forms) -> None:
    """Cells as wide as the widest, and positions of the highest precision."""
    width = max((form["cells"][1][1] for form in forms.values() if "cells" in form), default=0)
    precision = max(form["pos"][0] for form in forms.values())
    for form in forms.values():
        form["pos"] = precision, form["pos"][1]
        if "cells" in form:
            form["cells"][1][1] = width


def _graphs(parts: Parts, forms: Forms) -> Iterator[Data]:
    """The graphs in their forms."""
    for index, form in forms.items():
        data = parts.load(index)
        if form["pos"][0] == np.float64:
            data.pos = data.pos.double()
        if "cells" in form:
            missing = form["cells"][1][1] - data.cells.shape[1]
            data.cells = torch.nn.functional.pad(data.cells, (0, missing), value=-1)
        yield data
