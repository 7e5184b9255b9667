"""Predict with a trained surrogate: graphs, stores and mesh files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import CondTable, MeshStore
from lrsa_geo.mesh import WRITTEN_SUFFIXES, Field, MeshError, column_slices, with_edges, write_mesh
from lrsa_geo.train.objective import relative_l2
from lrsa_geo.train.run import Run
from lrsa_geo.train.surrogate import Surrogate


def load_surrogate(folder: Path) -> Surrogate:
    """The trained model of a run folder.

    Raises:
        FileNotFoundError: the run has no finished model.
    """
    run = Run(Path(folder))
    if not run.model.exists():
        hint = "train it to the end with --resume" if run.config.exists() else "not a run"
        raise FileNotFoundError(f"{run.model} does not exist: {hint}")
    return Surrogate.load(run.model)


def predict(surrogate: Surrogate, data: Data) -> Tensor:
    """Fields at the nodes of a graph, or of a batch of graphs, in physical units, ``[N, K]``.

    Edges are made by :func:`with_edges` if the surrogate needs them and the graph has none.

    Raises:
        ValueError: the graph lacks an array that the model was trained with, or a batch without
            edges was not made by ``Batch.from_data_list``.
    """
    if surrogate.config.local and data.get("edge_index") is None:
        if data.get("batch") is not None and not isinstance(data, Batch):
            raise ValueError(
                "the graphs have no `edge_index`, and it is unknown what belongs to which of them;"
                " join them with `Batch.from_data_list`"
            )
        data = with_edges(data)
    with torch.inference_mode():
        return surrogate(data)


def result_fields(prediction: Tensor, data: Data, fields: Iterable[Field]) -> dict[str, Tensor]:
    """Named node fields for a mesh file: the prediction and, where truth is known, the error.

    ``von_mises`` is the truth, ``von_mises_predicted`` and ``von_mises_error`` what they say.
    """
    result = {}
    for name, columns in column_slices(fields).items():
        guess = prediction[:, columns]
        result[f"{name}_predicted"] = guess
        if data.get("y") is not None:
            result[name] = data.y[:, columns]
            result[f"{name}_error"] = guess - data.y[:, columns]
    return {name: values.squeeze(1) for name, values in result.items()}


@dataclass(frozen=True)
class Prediction:
    """A prediction that was written.

    Attributes:
        output: mesh file.
        num_nodes: its nodes.
        errors: relative L2 of each field, empty where the truth is not known.
    """

    output: Path
    num_nodes: int
    errors: dict[str, float] = field(default_factory=dict)


def predict_graph(
    surrogate: Surrogate, store: MeshStore, number: int, output: str | Path
) -> Prediction:
    """Predict a graph of a store and write it to a mesh file.

    Raises:
        ValueError: there is no such graph.
        MeshError: the file cannot be written.
    """
    if not 0 <= number < len(store):
        raise ValueError(
            f"{store.path} has the graphs 0 to {len(store) - 1}, asked for is {number}"
        )
    data = store[number]
    return _write(surrogate, data, data, Path(output))


def predict_files(
    surrogate: Surrogate,
    files: Iterable[str],
    output: str | Path,
    *,
    table: CondTable | None = None,
    step: int | None = None,
    skip_bad: bool = False,
) -> Iterator[Prediction]:
    """Predict the fields of mesh files, one after the other.

    Each result is the mesh with its own fields, the predicted ones and, where the file has the
    truth, their errors.

    Args:
        surrogate: its inputs are looked for in the files by name.
        files: mesh files.
        output: a folder, which gets ``NAME.vtu`` for each; or the mesh file for a single one.
        table: parameters of the files, if the surrogate reads some.
        step: of a time series; by default that of the training.
        skip_bad: report files that cannot be used on the standard error and go on.

    Raises:
        MeshError: a file cannot be read or lacks a field, and ``skip_bad`` is false; or one row of
            the table fits several files.
        ValueError: two files would be written to one place.
    """
    files = list(files)
    is_file = len(files) == 1 and Path(output).suffix.lower() in WRITTEN_SUFFIXES
    names = {file: Path(file).stem for file in files}
    if len(set(names.values())) < len(names):  # one/a.vtu and two/a.vtu
        names = {file: "_".join(Path(file).with_suffix("").parts).strip("/._") for file in files}
    targets = {
        file: Path(output) if is_file else Path(output) / f"{name}.vtu"
        for file, name in names.items()
    }
    if len(set(targets.values())) < len(targets) or any(
        target.exists() and target.samefile(file) for file, target in targets.items()
    ):
        raise ValueError(f"{output}: results would overwrite each other or their meshes")
    if table is not None:
        table.check(files)
    reader = surrogate.signature.reader_of(step)
    for file, target in targets.items():
        try:
            mesh, data = reader.read(file, table.of(file) if table else None, truth=False)
            if data.pos.shape[1] != surrogate.signature.pos_dim:
                raise MeshError(
                    f"{file}: has positions in {data.pos.shape[1]} dimensions, the model was"
                    f" trained in {surrogate.signature.pos_dim}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            yield _write(surrogate, data, mesh, target)
        except MeshError as error:
            if not skip_bad:
                raise MeshError(f"{error} (--skip-bad leaves such files out)") from error
            print(f"left out: {error}", file=sys.stderr)


def _write(surrogate: Surrogate, data: Data, mesh: Data, output: Path) -> Prediction:
    fields = surrogate.signature.fields["y"]
    guess = predict(surrogate, data)
    result = result_fields(guess, data, fields)
    known = mesh.get("point_data") or {}
    write_mesh(output, mesh, {n: values for n, values in result.items() if n not in known})
    if data.get("y") is None:
        return Prediction(output, len(data.pos))
    graph = torch.zeros(len(data.pos), dtype=torch.long)
    rms = surrogate.normalizer.y_rms
    errors = relative_l2(guess, data.y, graph, 1, fields, rms=rms)[0]
    return Prediction(
        output, len(data.pos), {f.name: float(e) for f, e in zip(fields, errors, strict=True)}
    )
