"""What a collection is made of: mesh files, or series of them, each of which becomes a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lrsa_geo.data.cond_table import CondTable
from lrsa_geo.data.course import Course
from lrsa_geo.data.reader import GraphReader
from lrsa_geo.data.series_reader import SeriesReading, series_graph
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.read import read_mesh
from lrsa_geo.mesh.series import open_series
from lrsa_geo.mesh.series_files import files_of, series_files

FILE_STEPS = "file_steps"
"""Steps of the file that a graph was read from, if it has several; not an array of the store."""


@dataclass(frozen=True)
class Sources:
    """Mesh files, or series of them, by name, with a table of parameters.

    Attributes:
        files: name -> files.
        table: graph-level parameters.
        series: how a series is read; None where each file is a graph.
        step: of files that are no series.
    """

    files: dict[str, tuple[str, ...]]
    table: CondTable
    series: SeriesReading | None = None
    step: int = 0

    @classmethod
    def of(
        cls,
        files: Sequence[str | Path],
        table: CondTable,
        series: SeriesReading | None,
        step: int,
    ) -> Sources:
        """Group the files into series, if they are read as such.

        Raises:
            MeshError: a row of the table fits several.
        """
        groups = series_files(files) if series else {str(file): [str(file)] for file in files}
        found = cls({name: tuple(group) for name, group in groups.items()}, table, series, step)
        table.check(found.files)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the graphs to be: of files, or patterns of numbered files."""
        return tuple(self.files)

    def cond(self, name: str) -> dict[str, float] | None:
        """Parameters of a graph."""
        return self.table.of(name)

    def cond_of_series(self, name: str) -> dict[str, float] | Course | None:
        """Parameters of a series, which may be functions of time."""
        return self.table.course(name) or self.cond(name)

    def opened(
        self, name: str, reader_like: Callable[..., GraphReader]
    ) -> tuple[MeshData, GraphReader, Callable[[GraphReader], MeshData]]:
        """A mesh, a reader for meshes like it, and what makes its graph by this or another reader.

        Raises:
            MeshError: it cannot be read, or lacks a field.
        """
        if self.series is None:
            mesh = read_mesh(self.files[name][0], self.step)

            def graph(reader: GraphReader) -> MeshData:
                prepared = reader.prepared(mesh, name)
                made = reader.graph(prepared, self.cond(name), where=name)
                return _with_steps(made, mesh)

            return mesh, reader_like(mesh, where=name), graph
        series = open_series(self.files[name])
        return (
            series.first,
            reader_like(series.first, where=name),
            lambda reader: series_graph(reader, series, self.cond_of_series(name)),
        )

    def graph(self, name: str, reader: GraphReader) -> MeshData:
        """The graph of a file or series.

        Raises:
            MeshError: it cannot be read, or lacks a field.
        """
        if self.series is not None:
            return reader.read_series(self.files[name], self.cond_of_series(name))[1]
        mesh, graph = reader.read(self.files[name][0], self.cond(name))
        return _with_steps(graph, mesh)

    def stamp(self, name: str) -> list[int]:
        """Sizes and times of change of its files, in numbers that change with them.

        Raises:
            MeshError: a file cannot be found.
        """
        files = [file for given in self.files[name] for file in self._all_files(given)]
        status = [_stat(file) for file in files]
        last = max(s.st_mtime_ns for s in status)
        return [sum(s.st_size for s in status), last, *([len(files)] if self.series else [])]

    def _all_files(self, file: str) -> list[str]:
        listed = map(str, files_of(Path(file))) if self.series is not None else ()
        return [file, *(other for other in listed if Path(other).exists())]


def _with_steps(graph: MeshData, mesh: MeshData) -> MeshData:
    times = mesh.get("times")
    if times is not None and len(times) > 1:
        graph[FILE_STEPS] = torch.tensor([len(times)])
    return graph


def _stat(path: str) -> Any:
    try:
        return Path(path).stat()
    except OSError as error:
        raise MeshError(f"{path}: cannot be found ({error})") from error
