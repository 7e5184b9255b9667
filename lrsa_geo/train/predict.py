"""Predict with a trained surrogate: graphs, stores and mesh files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import CondTable, MeshStore, MismatchError, store_name
from lrsa_geo.jobs import progress_bar
from lrsa_geo.mesh import MeshError, with_edges
from lrsa_geo.nn import why_not
from lrsa_geo.train.assembly import matched
from lrsa_geo.train.large import feature_buffer
from lrsa_geo.train.objective import relative_l2
from lrsa_geo.train.results import check_outputs, is_one_file, output_files, write_result
from lrsa_geo.train.run import Run
from lrsa_geo.train.surrogate import Surrogate

STREAMED = 200_000  # nodes of a graph that is worked on chunk by chunk


def load_surrogate(folder: Path) -> Surrogate:
    """The trained model of a run folder, or of a ``model.safetensors``.

    A run that was stopped has the weights of its last checkpoint; that is said on the standard
    error.

    Raises:
        FileNotFoundError: the run has neither.
        ValueError: the file cannot be read.
    """
    if Path(folder).suffix == ".safetensors" and Path(folder).is_file():
        return Surrogate.load(folder)
    run = Run(Path(folder))
    if run.has_model():
        return Surrogate.load(run.model)
    if not run.checkpoint.exists():
        hint = (
            "no epoch was finished; train it with --resume" if run.config.exists() else "not a run"
        )
        raise FileNotFoundError(f"{run.model} does not exist: {hint}")
    state = run.state()
    surrogate = Surrogate.of(_about(run, state), _weights(state))
    print(
        f"{run.path}: not trained to the end; these are the weights after {run.share_done()}",
        file=sys.stderr,
    )
    return surrogate


def _about(run: Run, state: dict[str, Any]) -> dict[str, Any]:
    if "surrogate" not in state:
        raise ValueError(
            f"{run.checkpoint}: of a version that kept no field names in it; go on with"
            f" `lrsa-geo train {run.config} --resume --run {run.path}`, which makes the model"
        )
    about: dict[str, Any] = state["surrogate"]
    return about


def _weights(state: dict[str, Any]) -> dict[str, Tensor]:
    prefix = "surrogate."
    return {
        name.removeprefix(prefix): values
        for name, values in state["state_dict"].items()
        if name.startswith(prefix)
    }


def predict(surrogate: Surrogate, data: Data) -> Tensor:
    """Fields at the nodes of a graph, or of a batch of graphs, in physical units, ``[N, K]``.

    Edges are made by :func:`with_edges` if the surrogate needs them and the graph has none. A model
    of series predicts the next state of an example, see :func:`rollout`. A large graph is worked on
    chunk by chunk (:meth:`Surrogate.streamed`), with a progress bar, and its features are put into
    a file where the memory is too small for them.

    Raises:
        ValueError: the graph lacks an array that the model was trained with, or a batch without
            edges was not made by ``Batch.from_data_list``.
    """
    if surrogate.config.needs_edges and data.get("edge_index") is None:
        if data.get("batch") is not None and not isinstance(data, Batch):
            raise ValueError(
                "the graphs have no `edge_index`, and it is unknown what belongs to which of them;"
                " join them with `Batch.from_data_list`"
            )
        data = with_edges(data)
    with torch.inference_mode():
        alone = not isinstance(data, Batch) and data.get("batch") is None
        if alone and len(data.pos) >= STREAMED and not why_not(surrogate.operator):
            return _streamed(surrogate, data)
        return surrogate(data)


def _streamed(surrogate: Surrogate, data: Data) -> Tensor:
    total = len(data.pos) * len(surrogate.operator.blocks)
    with progress_bar(total, f"predicting {len(data.pos):,} nodes", quiet_in_files=True) as done:
        buffer = feature_buffer(surrogate, len(data.pos))
        return surrogate.streamed(data, buffer=buffer, progress=lambda rows: done(rows, 0))


@dataclass(frozen=True)
class Prediction:
    """A prediction that was written.

    Attributes:
        output: mesh file.
        num_nodes: its nodes.
        errors: relative L2 of each field, empty where the truth is not known.
        outside: what of the case lies outside of what was trained on, a clause for each.
        steps: of a series, those that were read included; 0 of a mesh.
    """

    output: Path
    num_nodes: int
    errors: dict[str, float] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    steps: int = 0


def graph_for(surrogate: Surrogate, store: MeshStore, number: int) -> Data:
    """A graph of a store, with the columns that a surrogate reads, in its units.

    For a model of series the store is one of examples: each step of each series is a graph.

    Raises:
        ValueError: there is no such graph; the store lacks a field, or has another dimension.
    """
    store = matched(store, surrogate.signature, truth=False)
    if not 0 <= number < len(store):
        raise ValueError(
            f"{store.path} has the graphs 0 to {len(store) - 1}, asked for is {number}"
        )
    data = store[number]
    surrogate.signature.check_dim(data.pos.shape[1], store.path)
    return data


def predict_graph(
    surrogate: Surrogate,
    store: MeshStore,
    number: int,
    output: str | Path,
    *,
    overwrite: bool = False,
) -> Prediction:
    """Predict a graph of a store and write it to a mesh file.

    The columns of the store are found by the names of the model's fields and converted to their
    units.

    Args:
        surrogate: what predicts.
        store: has its fields.
        number: of the graph.
        output: a folder, which gets ``STORE-NUMBER.vtu``; or the mesh file.
        overwrite: replace that file even if it is no earlier result.

    Raises:
        ValueError: there is no such graph, the store lacks a field, or the place is taken.
        MeshError: the file cannot be written.
    """
    data = graph_for(surrogate, store, number)
    target = Path(output)
    if not is_one_file(target, 1):
        target /= f"{store_name(store.path)}-{number}.vtu"
    check_outputs([str(store.path)], [target], surrogate.signature.fields["y"], overwrite)
    return _written(surrogate, data, data, predict(surrogate, data), target)


def predict_files(
    surrogate: Surrogate,
    files: Iterable[str],
    output: str | Path,
    *,
    table: CondTable | None = None,
    step: int | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Iterator[Prediction]:
    """Predict the fields of mesh files, one after the other.

    Each result is the mesh with its own fields, the predicted ones and, where the file has the
    truth, their errors (see :func:`result_fields`).

    Args:
        surrogate: its inputs are looked for in the files by name.
        files: mesh files.
        output: a folder, which gets ``NAME.vtu`` for each; or the mesh file for a single one.
        table: parameters of the files, if the surrogate reads some; other units are converted.
        step: of a time series; by default that of the training.
        skip_bad: report files that cannot be used on the standard error and go on.
        overwrite: replace files that are no earlier results, too; never the meshes themselves.

    Raises:
        MeshError: a file cannot be read, lacks a field or something else that the model reads, and
            ``skip_bad`` is false; or one row of the table fits several files.
        ValueError: two files would be written to one place, or to one that is taken.
    """
    files = list(files)
    targets = output_files(files, Path(output))
    check_outputs(files, list(targets.values()), surrogate.signature.fields["y"], overwrite)
    reader = surrogate.signature.reader_of(step)
    if table is not None:
        table.check(files)
        table = table.in_units(reader.cond)
    for file, target in targets.items():
        try:
            mesh, data = reader.read(file, table.of(file) if table else None, truth=False)
            surrogate.signature.check_dim(data.pos.shape[1], file)
            guess = _predicted(surrogate, data, file)
        except Exception as error:  # whatever is wrong with a file
            leave_out(error, file, skip_bad)
            continue
        yield _written(surrogate, data, mesh, guess, target)


def _predicted(surrogate: Surrogate, data: Data, file: str) -> Tensor:
    try:
        return predict(surrogate, data)
    except ValueError as error:
        hint = ""
        if "boundary" in str(error) and data.get("boundary") is None:
            hint = " (a point cloud has no boundary: give a mesh with cells)"
        raise MeshError(f"{file}: {error}{hint}") from error


def leave_out(error: Exception, file: str, skip_bad: bool) -> None:
    """Say that a file is left out, or raise its error where none may be."""
    if not skip_bad:
        if isinstance(error, MeshError | MismatchError):
            raise MeshError(f"{error} (--skip-bad leaves such files out)") from error
        raise error
    text = str(error) or type(error).__name__
    named = text if file in text else f"{file}: {type(error).__name__}: {text}"
    print(f"left out: {named}", file=sys.stderr)


def errors_of_one(
    surrogate: Surrogate, guess: Tensor, truth: Tensor, measure: Tensor | None = None
) -> Tensor:
    """Relative L2 of each field of one graph, against its size in training where it is zero.

    Args:
        surrogate: whose prediction it is.
        guess: ``[N, K]`` predicted fields.
        truth: ``[N, K]`` those of the graph.
        measure: ``[N]`` of the nodes, with which the sums are quadratures; None weighs all alike.
    """
    graph = torch.zeros(len(truth), dtype=torch.long)
    fields, rms = surrogate.signature.fields["y"], surrogate.normalizer.y_rms
    return relative_l2(guess, truth, graph, 1, fields, measure=measure, rms=rms)[0]


def _written(
    surrogate: Surrogate, data: Data, mesh: Data, guess: Tensor, output: Path
) -> Prediction:
    write_result(surrogate, data, mesh, guess, output)
    ranges = surrogate.signature.ranges
    outside = [] if ranges is None else ranges.outside(data)
    if data.get("y") is None:
        return Prediction(output, len(data.pos), outside=outside)
    errors = errors_of_one(surrogate, guess, data.y)
    fields = surrogate.signature.fields["y"]
    by_name = {f.name: float(e) for f, e in zip(fields, errors, strict=True)}
    return Prediction(output, len(data.pos), by_name, outside)
