"""Predict series: roll a case out in time and write what ParaView plays."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data import (
    CondTable,
    Course,
    MeshStore,
    OneSeries,
    StepView,
    lengthened,
    match_series,
    store_name,
)
from lrsa_geo.mesh import MeshError, column_slices, series_files, write_series
from lrsa_geo.train.predict import Prediction, errors_of_one, leave_out
from lrsa_geo.train.results import check_outputs, output_files
from lrsa_geo.train.rollout import rollout_of_series
from lrsa_geo.train.surrogate import Surrogate

EQUAL_STEPS = 0.01  # by which the length of a step may differ from that of the training


def predict_series_graph(
    surrogate: Surrogate,
    store: MeshStore,
    number: int,
    output: str | Path,
    *,
    steps: int | None = None,
    overwrite: bool = False,
) -> Prediction:
    """Roll out a series of a store from its first states, and write it.

    Args:
        surrogate: a model of series.
        store: has its fields.
        number: of the series.
        output: a ``.pvd`` or ``.xdmf``, or a folder, which gets ``STORE-NUMBER.pvd``.
        steps: to predict; as many as the series has by default.
        overwrite: replace a file that is no earlier result, too.

    Raises:
        ValueError: there is no such series, the store lacks a field, or the place is taken.
        MeshError: the file cannot be written.
    """
    if not 0 <= number < len(store):
        raise ValueError(f"{store.path} has the series 0 to {len(store) - 1}, asked for {number}")
    matched = match_series(store, surrogate.signature.of_series)
    graph = matched[number]
    surrogate.signature.check_dim(graph.pos.shape[1], store.path)
    name = f"{store_name(store.path)}-{number}.pvd"
    (target,) = output_files([name], Path(output), series=True).values()
    fields = surrogate.signature.fields["y"]
    check_outputs([str(store.path)], [target], fields, overwrite)
    return _written(surrogate, graph, graph, f"{store.path}: series {number}", target, steps)


def predict_series(
    surrogate: Surrogate,
    files: Iterable[str],
    output: str | Path,
    *,
    table: CondTable | None = None,
    steps: int | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Iterator[Prediction]:
    """Roll out cases of mesh files, one after the other, from the first states that they have.

    Each result is a series of meshes with ``F_predicted`` for each field F, where the file has the
    truth ``F`` and ``F_error``, and the steady inputs. The states that were read come first.

    Args:
        surrogate: a model of series; its inputs are looked for in the files by name.
        files: files with steps, meshes with the first state, or numbered files of a series, see
            :func:`series_files`.
        output: a folder, which gets ``NAME.pvd`` for each; or the file for a single one.
        table: parameters of the files, if the surrogate reads some; functions of time where it was
            read with ``in_time``.
        steps: to predict; as many as the file has by default, or else as the training.
        skip_bad: report files that cannot be used on the standard error and go on.
        overwrite: replace files that are no earlier results, too.

    Raises:
        MeshError: a file cannot be read, lacks a field or something else that the model reads, and
            ``skip_bad`` is false.
        ValueError: two files would be written to one place, or to one that is taken.
    """
    files = list(files)
    series = series_files(files)
    targets = output_files(list(series), Path(output), series=True)
    fields = surrogate.signature.fields["y"]
    check_outputs(files, list(targets.values()), fields, overwrite)
    reader = surrogate.signature.reader_of()
    if table is not None:
        table.check(list(series))
        table = table.in_units(reader.cond)
    for name, target in targets.items():
        try:
            cond = (table.course(name) or table.of(name)) if table else None
            meshes, graph = reader.read_series(series[name], cond, truth=False)
            _check_graph(surrogate, graph, name)
            mesh = reader.prepared(meshes.first, name)
            result = _written(surrogate, graph, mesh, name, target, steps, cond)
        except Exception as error:  # whatever is wrong with a file
            leave_out(error, name, skip_bad)
            continue
        yield result


def _written(
    surrogate: Surrogate,
    graph: Data,
    mesh: Data,
    name: str,
    target: Path,
    steps: int | None,
    cond: Mapping[str, float] | Course | None = None,
) -> Prediction:
    """Roll out and write; parameters that are functions of time are known beyond the file's end."""
    stepping = surrogate.signature.of_series
    history, there = stepping.history, len(graph.times)
    count = steps if steps is not None else _usual(there, history, stepping.horizon)
    try:
        longer = lengthened(graph, stepping, history + count)
        if isinstance(cond, Course):
            longer.cond_t = cond.at(longer.times, stepping.cond_t, name).float()
        view = StepView(OneSeries(longer, name), stepping)
        states = rollout_of_series(surrogate, view, 0, history, count)
        sums = _Errors(surrogate)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_series(
            target,
            _without_fields(mesh, surrogate),
            longer.times[: history + count],
            _fields_of_steps(surrogate, graph, states, sums),
            longer.pos_t[:, : history + count].transpose(0, 1) if stepping.dim else None,
        )
    except ValueError as error:
        if isinstance(error, MeshError) or name in str(error):
            raise
        raise MeshError(f"{name}: {error}") from error
    outside = _outside(surrogate, view, graph)
    return Prediction(target, len(graph.pos), sums.mean(), outside, history + count)


def _check_graph(surrogate: Surrogate, graph: Data, name: str) -> None:
    """Refuse files that lack what a rollout begins with.

    Raises:
        MeshError: naming the fields.
    """
    stepping = surrogate.signature.of_series
    surrogate.signature.check_dim(graph.pos.shape[1], name)
    if graph.get("states") is None:
        fields = ", ".join(field.name for field in stepping.states)
        raise MeshError(
            f"{name}: lacks some of the fields {fields}, whose values at the first step a rollout"
            " begins with; add them to the file"
        )
    if stepping.cond_t and graph.get("cond_t") is None:
        fields = ", ".join(field.name for field in stepping.cond_t)
        raise MeshError(
            f"{name}: the model reads {fields} at each time, which mesh files do not hold; predict"
            " a series of a store"
        )


def _fields_of_steps(
    surrogate: Surrogate, graph: Data, states: Iterable[Tensor], sums: _Errors
) -> Iterator[dict[str, Tensor]]:
    """Named node fields of each step: first the states that were read, then those predicted."""
    slices = column_slices(surrogate.signature.fields["y"])
    history, there = surrogate.signature.of_series.history, len(graph.times)
    has_truth = there > max(1, history)
    first = (graph.states[:, step] for step in range(history))
    for step, guess in enumerate(chain(first, states)):
        truth = graph.states[:, step] if step < there else torch.full_like(guess, torch.nan)
        if history <= step < there:
            sums.add(guess, truth)
        fields = {}
        for name, columns in slices.items():
            fields[f"{name}_predicted"] = guess[:, columns].squeeze(1)
            if has_truth:
                fields[name] = truth[:, columns].squeeze(1)
                fields[f"{name}_error"] = (guess - truth)[:, columns].squeeze(1)
        yield fields


class _Errors:
    """Mean over the steps of the relative L2 error of each field."""

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self._errors: list[Tensor] = []

    def add(self, guess: Tensor, truth: Tensor) -> None:
        self._errors.append(errors_of_one(self._surrogate, guess, truth))

    def mean(self) -> dict[str, float]:
        """By the names of the fields; empty where there was no truth."""
        if not self._errors:
            return {}
        means = torch.stack(self._errors).nanmean(0).tolist()
        names = [f.name for f in self._surrogate.signature.fields["y"]]
        return dict(zip(names, means, strict=True))


def _outside(surrogate: Surrogate, view: StepView, graph: Data) -> list[str]:
    """What of a case lies outside of the training, the length of its steps included."""
    ranges, stepping = surrogate.signature.ranges, view.stepping
    clauses = [] if ranges is None else ranges.outside(view[0])
    if stepping.time_step is not None and len(graph.times) > 1:
        lengths = graph.times.diff()
        off = (lengths - stepping.time_step).abs().max()
        if off > EQUAL_STEPS * stepping.time_step:
            clauses.append(
                f"its steps are {float(lengths.min()):.4g} to {float(lengths.max()):.4g} long,"
                f" those of the training {stepping.time_step:.4g}"
            )
    return clauses


def _usual(there: int, history: int, horizon: int) -> int:
    """Steps to predict: those whose truth is there, or else as many as in training."""
    return there - history if there > max(1, history) else max(1, horizon - history)


def _without_fields(mesh: Data, surrogate: Surrogate) -> Data:
    """The mesh with the steady inputs alone: its other fields are those of the first step."""
    kept = {f.name for f in surrogate.signature.of_series.x}
    bare = copy.copy(mesh)
    for table in ("point_data", "cell_data"):
        if bare.get(table):
            bare[table] = {n: values for n, values in bare[table].items() if n in kept}
    return bare
