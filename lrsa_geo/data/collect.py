"""Collect mesh files, with a table of parameters, into one MeshStore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from lrsa_geo.data.cond_table import CondTable
from lrsa_geo.data.forms import (
    arrange_form,
    decided,
    graphs_of,
    make_alike,
    take_file_steps,
    unlike_most,
)
from lrsa_geo.data.output import check_output, check_space, full_disk_explained
from lrsa_geo.data.reader import GraphReader, reader_for
from lrsa_geo.data.series_reader import SeriesReading
from lrsa_geo.data.sources import Sources
from lrsa_geo.data.store import MeshStore
from lrsa_geo.files import one_at_a_time
from lrsa_geo.jobs import Failure, Parts, SampleError
from lrsa_geo.mesh.errors import MeshError


@dataclass(frozen=True)
class _ReadFile:
    """What a worker process does: number of a file or series -> graph."""

    reader: GraphReader
    sources: Sources

    def __call__(self, index: int) -> Data:
        try:
            graph = self.sources.graph(self.sources.names[index], self.reader)
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
    merge_nodes: float | None = None,
    series: bool = False,
    every: int = 1,
    from_time: float | None = None,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> tuple[MeshStore, list[Failure]]:
    """Read mesh files in several processes and write their graphs, in order, to one MeshStore.

    With ``series`` each file with steps, or sequence of numbered files (:func:`series_files`),
    becomes one graph with ``states [N, T, K]`` (:meth:`GraphReader.read_series`). An input is a
    column of ``x_t`` in all graphs if it changes with time in any file, and all have ``pos_t`` if
    the nodes of any move.

    ``sample`` of a graph is the number of its file, ``provenance["files"]`` their names, and
    ``store.reader`` reads further files in the same way. Finished graphs wait in
    ``<output>.parts/``: an interrupted call goes on where it stopped. Positions are float64 if they
    are in any of the files. If another process makes the same store, this one waits and returns it.

    Args:
        files: mesh files.
        output: MeshStore (.h5). An existing one is replaced if it was made from the same files in
            the same way, or to ``overwrite``; other files never are.
        inputs, targets, boundary, step, merge_nodes: see :func:`reader_for`. The first file that
            can be read decides which fields are vectors; of the first files, most decide on the
            dimension.
        series: make a graph of all steps of a file or sequence, not of one.
        every, from_time: of a series, take every so many steps, from this time on.
        table: graph-level parameters; each row is of one file.
        skip_bad: leave out files that cannot be read, or have other arrays than most (a point cloud
            among meshes), instead of stopping at the first.
        processes: by default one per core; 0 for none but this one.
        overwrite: replace a store that was made in another way.

    Returns:
        The store, and which files were left out and why.

    Raises:
        MeshError: a file is bad and ``skip_bad`` is false, or all are bad.
        StoreError: the output is not the name of a store, would replace something else, or does
            not fit on the disk.
    """
    paths = [str(path) for path in files]
    if not paths:
        raise MeshError(f"{output}: no mesh files to read; check the pattern")
    table = table or CondTable()
    in_time = bool(table.courses)
    if in_time and not series:
        raise MeshError(
            f"{table.path}: its parameters are functions of time, which graphs of one step do not"
            " have; give series (--series), or read the table without `in_time`"
        )
    how = SeriesReading(every, from_time, cond_in_time=in_time) if series else None
    _check_choice(how, every, from_time, step)
    sources = Sources.of(paths, table, how, step)
    check_output(output, overwrite, {"files": list(sources.names)})
    task = _Collection(sources, Path(output), skip_bad)
    with one_at_a_time(output) as waited:
        wanted = partial(
            reader_for,
            inputs=tuple(inputs),
            targets=tuple(targets),
            cond=sources.table.names,
            boundary=boundary,
            step=step,
            merge_nodes=merge_nodes,
            series=how,
        )
        reader = task.first_reader(wanted)
        check_output(output, overwrite, task.about(task.as_made(reader)))
        check_space(output, task.size_when_made())
        if waited and (done := task.finished_by_another(reader)) is not None:
            return done
        with full_disk_explained(output, task.size_of_a_graph()):
            return task.make(reader, processes)


def _check_choice(
    how: SeriesReading | None, every: int, from_time: float | None, step: int
) -> None:
    if how is None and (every != 1 or from_time is not None):
        raise MeshError(
            "every (--every) and from_time (--from-time) choose steps of a series; give series"
            " (--series) too"
        )
    if how is not None and step != 0:
        raise MeshError(
            f"step is {step}, and a series takes all steps: leave --step out; --from-time and"
            " --every choose some"
        )
    if every < 1:
        raise MeshError(f"every is {every}, expected 1 or more")


@dataclass
class _Collection:
    """One call of :func:`collect`.

    Args:
        sources: mesh files, or series.
        output: the store.
        skip_bad: leave bad files out.

    Attributes:
        failures: files that were left out so far.
        first: graphs of the first files that could be read, by number.
        places: field -> where the first file has it: on its nodes, its cells, or in its geometry.
    """

    sources: Sources
    output: Path
    skip_bad: bool
    failures: list[Failure] = field(default_factory=list)
    first: dict[int, Data] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return self.sources.names

    def leave_out(self, failure: Failure) -> Iterable[int]:
        self.failures.append(failure)
        if not self.skip_bad:
            raise MeshError(f"{failure.reason} (--skip-bad leaves such files out)")
        return ()

    def first_reader(self, reader_like: Callable[..., GraphReader]) -> GraphReader:
        """The reader for meshes like the first that can be read, which become graphs at once.

        Files are looked at until two that can be read have one dimension: the first of these is
        meant, and a single surface among solids leaves itself out.
        """
        found: dict[int, tuple[GraphReader, dict[int, Data]]] = {}
        places: dict[int, dict[str, str]] = {}
        for index, name in enumerate(self.names):
            try:
                mesh, reader, graph_by = self.sources.opened(name, reader_like)
                reader, graphs = found.get(reader.dim, (reader, {}))
                graph = graph_by(reader)
            except MeshError as error:
                self.leave_out(Failure(index, str(error)))
                continue
            graph.sample = torch.tensor([index])
            graphs[index] = graph
            places.setdefault(reader.dim, _places(reader, mesh))
            found[reader.dim] = reader, graphs
            if len(graphs) == 2:
                found = {reader.dim: found[reader.dim]}
                break
        if not found:
            raise self.none_left()
        reader, self.first = next(iter(found.values()))
        self.places = places[reader.dim]
        return reader

    def none_left(self) -> MeshError:
        last = self.failures[-1].reason
        return MeshError(f"none of the {len(self.names)} files can be read; the last: {last}")

    def about(self, reader: GraphReader) -> dict[str, Any]:
        """The provenance of the store."""
        return {
            "files": list(self.names),
            "reader": reader.to_dict(),
            "table": self.sources.table.path,
            "sources": self.places,
        }

    def as_made(self, reader: GraphReader) -> GraphReader:
        """The reader with what the store that is there already found of series."""
        if reader.series is None or not self.output.exists():
            return reader
        old = MeshStore(self.output).reader
        if old is None or old.series is None:
            return reader
        found = replace(reader.series, changing=old.series.changing, moves=old.series.moves)
        return replace(reader, series=found)

    def size_of_a_graph(self) -> float:
        """Mean bytes of the first graphs."""
        arrays = (values for graph in self.first.values() for _, values in graph)
        sizes = [values.nbytes for values in arrays if isinstance(values, torch.Tensor)]
        return sum(sizes) / max(len(self.first), 1)

    def size_when_made(self) -> float:
        """Bytes of all graphs twice, in parts and in the store, judged by the first ones."""
        of_files = sum(self.sources.stamp(self.names[index])[0] for index in self.first)
        of_graphs = len(self.first) * self.size_of_a_graph()
        total = sum(self.sources.stamp(name)[0] for name in self.names)
        return 2 * of_graphs * total / max(of_files, 1)

    def finished_by_another(self, reader: GraphReader) -> tuple[MeshStore, list[Failure]] | None:
        """The store, if another process made the same one while this one waited."""
        if not self.output.exists():
            return None
        store, number = MeshStore(self.output), {name: i for i, name in enumerate(self.names)}
        made = store.provenance
        found: dict[str, Any] = {k: made[k] for k in ("skipped", "several_steps") if k in made}
        if store.provenance != self.about(self.as_made(reader)) | found:
            return None
        skipped = found.get("skipped", {})
        return store, [Failure(number[path], reason) for path, reason in skipped.items()]

    def make(self, reader: GraphReader, processes: int | None) -> tuple[MeshStore, list[Failure]]:
        """Read the files and write the store."""
        stamps = [self.sources.stamp(name) for name in self.names]
        table = self.sources.table
        rows = [sorted(table.rows.items()), repr(sorted(table.courses.items(), key=str))]
        parts = Parts(self.output, [self.about(reader), stamps, rows])
        for index, graph in self.first.items():
            parts.save(index, graph)
        self.first = {}
        known = {failure.index for failure in self.failures}
        numbers = [i for i in range(len(self.names)) if i not in known]
        job = _ReadFile(reader, self.sources)
        made = parts.make(job, numbers, self.leave_out, "reading", processes)
        forms = {index: parts.form(index) for index in made}
        reader = decided(reader, forms, parts)
        steps = take_file_steps(forms, parts)
        for form in forms.values():
            arrange_form(form, reader)
        for index, reason in list(unlike_most(self.names, forms)):
            del forms[index]
            self.leave_out(Failure(index, reason))
        self.failures.sort(key=lambda failure: failure.index)
        skipped = {self.names[failure.index]: failure.reason for failure in self.failures}
        about = self.about(reader) | {"skipped": skipped}
        if steps:
            first = min(steps)
            about["several_steps"] = {
                **{"files": len(steps), "of": len(self.names)},
                **{"first": self.names[first], "steps": steps[first]},
            }
        make_alike(forms)
        graphs = graphs_of(parts, forms, reader)
        store = MeshStore.write(
            self.output, graphs, reader.fields, about, forms=list(forms.values())
        )
        parts.remove()
        return store, self.failures


def _places(reader: GraphReader, mesh: Data) -> dict[str, str]:
    """Field -> where a mesh has it: "nodes", "cells" or "geometry"."""

    def source(name: str) -> str:
        if name in mesh.point_data:
            return "nodes"
        field = name.rpartition("=")[0]  # a column of a kind, such as mat=1
        if name in mesh.cell_data or field in mesh.cell_data:
            return "cells"
        return "nodes" if field in mesh.point_data else "geometry"

    return {field.name: source(field.name) for field in (*reader.inputs, *reader.targets)}
