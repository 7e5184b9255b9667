"""Collect mesh files, with a table of parameters, into one MeshStore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.cond_table import CondTable
from lrsa_geo.data.output import check_output, check_space, full_disk_explained
from lrsa_geo.data.reader import GraphReader, reader_for
from lrsa_geo.data.store import MeshStore
from lrsa_geo.files import one_at_a_time
from lrsa_geo.jobs import Failure, Parts, SampleError
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.read import read_mesh


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
    merge_nodes: float | None = None,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> tuple[MeshStore, list[Failure]]:
    """Read mesh files in several processes and write their graphs, in order, to one MeshStore.

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
    paths = tuple(str(path) for path in files)
    if not paths:
        raise MeshError(f"{output}: no mesh files to read; check the pattern")
    table = table or CondTable()
    table.check(paths)
    check_output(output, overwrite, {"files": list(paths)})
    task = _Collection(paths, Path(output), table, skip_bad)
    with one_at_a_time(output) as waited:
        wanted = partial(
            reader_for,
            inputs=tuple(inputs),
            targets=tuple(targets),
            cond=table.names,
            boundary=boundary,
            step=step,
            merge_nodes=merge_nodes,
        )
        reader = task.first_reader(wanted, step)
        check_output(output, overwrite, task.about(reader))
        check_space(output, task.size_when_made())
        if waited and (done := task.finished_by_another(reader)) is not None:
            return done
        with full_disk_explained(output, task.size_of_a_graph()):
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
        first: graphs of the first files that could be read, by number.
        sources: field -> where the first file has it: on its nodes, its cells, or in its geometry.
    """

    paths: tuple[str, ...]
    output: Path
    table: CondTable
    skip_bad: bool
    failures: list[Failure] = field(default_factory=list)
    first: dict[int, Data] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def leave_out(self, failure: Failure) -> Iterable[int]:
        self.failures.append(failure)
        if not self.skip_bad:
            raise MeshError(f"{failure.reason} (--skip-bad leaves such files out)")
        return ()

    def first_reader(self, reader_like: Callable[..., GraphReader], step: int) -> GraphReader:
        """The reader for meshes like the first that can be read, which become graphs at once.

        Files are looked at until two that can be read have one dimension: the first of these is
        meant, and a single surface among solids leaves itself out.
        """
        found: dict[int, tuple[GraphReader, dict[int, Data]]] = {}
        sources: dict[int, dict[str, str]] = {}
        for index, path in enumerate(self.paths):
            try:
                mesh = read_mesh(path, step)
                reader = reader_like(mesh, where=path)
                reader, graphs = found.get(reader.dim, (reader, {}))
                graph = reader.graph(reader.prepared(mesh, path), self.table.of(path), where=path)
            except MeshError as error:
                self.leave_out(Failure(index, str(error)))
                continue
            graph.sample = torch.tensor([index])
            graphs[index] = graph
            sources.setdefault(reader.dim, _sources(reader, mesh))
            found[reader.dim] = reader, graphs
            if len(graphs) == 2:
                found = {reader.dim: found[reader.dim]}
                break
        if not found:
            raise self.none_left()
        reader, self.first = next(iter(found.values()))
        self.sources = sources[reader.dim]
        return reader

    def none_left(self) -> MeshError:
        last = self.failures[-1].reason
        return MeshError(f"none of the {len(self.paths)} files can be read; the last: {last}")

    def about(self, reader: GraphReader) -> dict[str, Any]:
        """The provenance of the store."""
        return {
            **{"files": list(self.paths), "reader": reader.to_dict(), "table": self.table.path},
            "sources": self.sources,
        }

    def size_of_a_graph(self) -> float:
        """Mean bytes of the first graphs."""
        arrays = (values for graph in self.first.values() for _, values in graph)
        sizes = [values.nbytes for values in arrays if isinstance(values, torch.Tensor)]
        return sum(sizes) / max(len(self.first), 1)

    def size_when_made(self) -> float:
        """Bytes of all graphs twice, in parts and in the store, judged by the first ones."""
        of_files = sum(_stat(self.paths[index]).st_size for index in self.first)
        of_graphs = len(self.first) * self.size_of_a_graph()
        total = sum(_stat(path).st_size for path in self.paths)
        return 2 * of_graphs * total / max(of_files, 1)

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
        stamps = [[status.st_size, status.st_mtime_ns] for status in map(_stat, self.paths)]
        rows = sorted(self.table.rows.items())
        parts = Parts(self.output, [self.about(reader), stamps, rows])
        for index, graph in self.first.items():
            parts.save(index, graph)
        self.first = {}
        known = {failure.index for failure in self.failures}
        numbers = [i for i in range(len(self.paths)) if i not in known]
        job = _ReadFile(reader, self.paths, self.table)
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


def _sources(reader: GraphReader, mesh: Data) -> dict[str, str]:
    """Field -> where a mesh has it: "nodes", "cells" or "geometry"."""

    def source(name: str) -> str:
        if name in mesh.point_data:
            return "nodes"
        field = name.rpartition("=")[0]  # a column of a kind, such as mat=1
        if name in mesh.cell_data or field in mesh.cell_data:
            return "cells"
        return "nodes" if field in mesh.point_data else "geometry"

    return {field.name: source(field.name) for field in (*reader.inputs, *reader.targets)}


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
