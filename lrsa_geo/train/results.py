"""Results of predictions as mesh files: names of files and fields, and what they never replace."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import pad
from torch_geometric.data import Data

from lrsa_geo.files import disk_is_full
from lrsa_geo.mesh import (
    MESH_SUFFIXES,
    WRITTEN_SERIES,
    WRITTEN_SUFFIXES,
    Field,
    MeshError,
    column_slices,
    node_to_cell,
    read_mesh,
    write_mesh,
)
from lrsa_geo.train.surrogate import Surrogate


def result_fields(prediction: Tensor, data: Data, fields: Iterable[Field]) -> dict[str, Tensor]:
    """Named node fields for a mesh file: the prediction and, where truth is known, the error.

    ``von_mises`` is the truth, ``von_mises_predicted`` and ``von_mises_error`` what they say; the
    error is the prediction minus the truth: positive where too much is predicted.
    """
    result = {}
    for name, columns in column_slices(fields).items():
        guess = prediction[:, columns]
        result[f"{name}_predicted"] = guess
        if data.get("y") is not None:
            result[name] = data.y[:, columns]
            result[f"{name}_error"] = guess - data.y[:, columns]
    return {name: values.squeeze(1) for name, values in result.items()}


def write_result(
    surrogate: Surrogate, data: Data, mesh: Data, prediction: Tensor, output: Path
) -> None:
    """Write a mesh with its own fields, the predicted ones and their errors.

    ``F_predicted`` and ``F_error`` that the mesh has from an earlier prediction are replaced. A
    field that the training files held on cells is written on the cells as well.

    Raises:
        MeshError: the file cannot be written.
        OSError: the disk is full.
    """
    fields = surrogate.signature.fields["y"]
    mesh = _without_earlier_results(mesh, fields)
    on_cells = _cell_results(mesh, prediction, fields, surrogate.signature.reader.of_cells)
    if on_cells:
        mesh.cell_data = {**(mesh.get("cell_data") or {}), **on_cells}
    known = mesh.get("point_data") or {}
    result = result_fields(prediction, data, fields)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_mesh(output, mesh, {n: values for n, values in result.items() if n not in known})
    except (MeshError, OSError) as error:
        if not disk_is_full(error):
            raise
        raise OSError(
            f"{output}: the disk is full; the results before this one are whole; free some space"
            " and predict the others"
        ) from error


def _without_earlier_results(mesh: Data, fields: Iterable[Field]) -> Data:
    earlier = {f"{field.name}{end}" for field in fields for end in ("_predicted", "_error")}
    mesh = copy.copy(mesh)
    for kind in ("point_data", "cell_data"):
        if mesh.get(kind):
            mesh[kind] = {name: v for name, v in mesh[kind].items() if name not in earlier}
    return mesh


def _cell_results(
    mesh: Data, prediction: Tensor, fields: Iterable[Field], of_cells: Sequence[str]
) -> dict[str, Tensor]:
    """Fields of cells: means of the predicted nodes, and their errors where there is a truth."""
    cells, points = mesh.get("cell_data") or {}, mesh.get("point_data") or {}
    result: dict[str, Tensor] = {}
    if mesh.get("cells") is None or not len(mesh.cells):
        return result
    for name, columns in column_slices(fields).items():
        truth = cells.get(name)
        if name in points or (truth is None and name not in of_cells):
            continue
        guess = node_to_cell(mesh, prediction[:, columns].cpu())
        if guess.shape[1] == 2:
            guess = pad(guess, (0, 1))  # as nodes have it, for ParaView
        guess = guess.squeeze(1)
        result[f"{name}_predicted"] = guess
        if truth is not None and truth.shape == guess.shape:
            result[f"{name}_error"] = (guess.double() - truth.double()).to(guess.dtype)
    return result


def is_one_file(output: Path, meshes: int, written: Sequence[str] = WRITTEN_SUFFIXES) -> bool:
    """Whether the results go to this very file, and not to a folder of this name.

    Args:
        output: what was asked for.
        meshes: how many results there are.
        written: extensions of the files that are written.

    Raises:
        ValueError: it is a file that cannot be written, or one file for several meshes.
    """
    suffix = output.suffix.lower()
    if output.is_dir() or suffix not in {*MESH_SUFFIXES, *written, ".h5"}:
        return False
    if suffix not in written:
        raise ValueError(
            f"{output}: cannot write '{suffix}'; name a folder, or a file that ends in"
            f" {', '.join(written)}"
        )
    if meshes > 1:
        raise ValueError(f"{output} is one file, and there are {meshes} meshes; name a folder")
    return True


def output_files(files: Sequence[str], output: Path, *, series: bool = False) -> dict[str, Path]:
    """Where the result of each mesh file goes: ``NAME.vtu`` in a folder, or the file itself.

    Meshes with one name in several folders get their path in the name, such as ``one_a.vtu``. The
    results of series are ``NAME.pvd``; those of numbered files ``case/step_*.vtu`` have the name
    ``step``.

    Raises:
        ValueError: see :func:`is_one_file`.
    """
    if is_one_file(output, len(files), WRITTEN_SERIES if series else WRITTEN_SUFFIXES):
        return dict.fromkeys(files, output)
    names = {file: _plain(Path(file).stem) for file in files}
    if len(set(names.values())) < len(names):  # one/a.vtu and two/a.vtu
        parts = {file: "_".join(Path(file).with_suffix("").parts) for file in files}
        names = {file: _plain(name).strip("/._") for file, name in parts.items()}
    if len(set(names.values())) < len(names):  # a.vtu and a.stl
        names = {file: f"{name}_{Path(file).suffix[1:]}" for file, name in names.items()}
    suffix = ".pvd" if series else ".vtu"
    return {file: output / f"{name}{suffix}" for file, name in names.items()}


def _plain(name: str) -> str:
    """Without the place of the number in the name of a series, and without separators around."""
    return name if "*" not in name else name.replace("*", "").strip("/._-") or "series"


def check_outputs(
    inputs: Sequence[str], outputs: Sequence[Path], fields: Iterable[Field], overwrite: bool
) -> None:
    """Refuse to write over what is read, and over what is no earlier result.

    An earlier result is a mesh file that holds ``F_predicted`` for each of the fields; it is
    replaced. ``overwrite`` replaces other files, too.

    Raises:
        ValueError: two results would be one file, or another file is there already.
    """
    taken = [path for path in map(_taken, outputs) if path is not None]
    read = {Path(file).resolve() for file in inputs}
    if len(set(outputs)) < len(outputs) or any(path.resolve() in read for path in taken):
        raise ValueError(
            f"{outputs[0].parent}: results would overwrite each other or their meshes; name"
            " another folder"
        )
    for folder in (above for path in outputs for above in path.parents):
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"{folder}: is a file, expected a folder for results; name another one"
            )
    if overwrite:
        return
    names = {f"{field.name}_predicted" for field in fields}
    for path in taken:
        if not _is_result(path, names):
            raise ValueError(
                f"{path} exists already and is no earlier result; name another place, or add"
                " --overwrite to replace it"
            )


def _is_result(path: Path, names: set[str]) -> bool:
    try:
        return names <= read_mesh(path).point_data.keys()
    except MeshError:
        return False


def _taken(output: Path) -> Path | None:
    """The file that a result would replace; XDMF has a second one."""
    arrays = output.with_name(output.name + ".h5")
    if output.exists():
        return output
    return arrays if output.suffix.lower() == ".xdmf" and arrays.exists() else None
