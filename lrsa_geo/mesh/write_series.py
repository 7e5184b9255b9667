"""Write series of meshes: a PVD with a VTU for each step, or one XDMF."""

from __future__ import annotations

import html
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.files import atomic_path
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.write import as_raw, check_xdmf, write_mesh

WRITTEN_SERIES = (".pvd", ".xdmf")
"""Extensions of series that are written."""

SeriesFields = Mapping[str, Tensor | Iterable[Tensor]] | Iterable[Mapping[str, Tensor]]


def write_series(
    path: str | Path,
    mesh: Data,
    times: Tensor | Sequence[float],
    fields: SeriesFields,
    positions: Tensor | Iterable[Tensor] | None = None,
) -> None:
    """Write a mesh with fields at several times; all files appear, or none do.

    ``out.pvd`` refers to ``out/out_0000.vtu`` and so on, beside it; those of an earlier series of
    the same name are replaced, also if there were more of them. Steps are taken one after the
    other, so a long rollout may be a generator. The mesh's own fields are in every step.

    Args:
        path: ending in ``.pvd`` or ``.xdmf``, which puts its arrays into ``<path>.h5``.
        mesh: see :func:`write_mesh`.
        times: ``[T]``, growing.
        fields: name -> ``[T, N]`` or ``[T, N, C]``, or what gives ``[N]`` or ``[N, C]`` for each
            step; or what gives a mapping from names to values for each step.
        positions: ``[T, N, D]`` of a mesh that moves, or what gives ``[N, D]`` for each step;
            ``.pvd`` alone.

    Raises:
        MeshError: unknown extension; times that do not grow; a field with more or fewer steps than
            times, or that cannot be written (see :func:`write_mesh`); the folder ``out/`` holds
            other files.
    """
    path = Path(path)
    stamps = torch.as_tensor(times, dtype=torch.float64).detach().cpu().numpy()
    if stamps.ndim != 1 or not len(stamps) or not np.isfinite(stamps).all():
        raise MeshError(f"{path}: times have shape {list(stamps.shape)}, expected [T] with T > 0")
    if (np.diff(stamps) <= 0).any():
        step = int((np.diff(stamps) <= 0).argmax()) + 1
        raise MeshError(
            f"{path}: the time {stamps[step]:g} of step {step} is not behind {stamps[step - 1]:g},"
            " expected times that grow"
        )
    steps = _steps(path, len(stamps), fields, positions)
    if path.suffix.lower() == ".pvd":
        _write_pvd(path, mesh, stamps, steps)
    elif path.suffix.lower() == ".xdmf":
        if positions is not None:
            raise MeshError(f"{path}: a mesh that moves is written as .pvd alone; write a .pvd")
        _write_xdmf(path, mesh, stamps, steps)
    else:
        raise MeshError(
            f"{path}: cannot write a series as '{path.suffix}', expected"
            f" {' or '.join(WRITTEN_SERIES)}"
        )


def _steps(
    path: Path,
    count: int,
    fields: SeriesFields,
    positions: Tensor | Iterable[Tensor] | None,
) -> Iterator[tuple[Tensor | None, Mapping[str, Tensor]]]:
    """Positions and fields of each step; refuses a source with more or fewer steps than times."""
    sources: dict[str, Iterator[Any]] = {}
    if positions is not None:
        sources["positions"] = iter(positions)
    by_name = isinstance(fields, Mapping)
    if isinstance(fields, Mapping):
        sources |= {f"field '{name}'": iter(values) for name, values in fields.items()}
        names = list(fields)
    else:
        sources["the fields"] = iter(fields)
    for step in range(count):
        found = []
        for what, source in sources.items():
            try:
                found.append(next(source))
            except StopIteration:
                raise MeshError(
                    f"{path}: {what}: {step} steps, expected {count} as there are times"
                ) from None
        pos = found.pop(0) if positions is not None else None
        yield pos, dict(zip(names, found, strict=True)) if by_name else found[0]
    for what, source in sources.items():
        if next(source, None) is not None:
            raise MeshError(f"{path}: {what}: more than {count} steps, as there are times")


def _at(path: Path, mesh: Data, pos: Tensor | None) -> Data:
    """The mesh with other positions."""
    if pos is None:
        return mesh
    if pos.shape != mesh.pos.shape:
        raise MeshError(
            f"{path}: positions have shape {list(pos.shape)}, expected {list(mesh.pos.shape)} as in"
            " the mesh"
        )
    moved = mesh.clone()
    moved.pos = pos
    return moved


def _write_pvd(
    path: Path,
    mesh: Data,
    times: np.ndarray,
    steps: Iterator[tuple[Tensor | None, Mapping[str, Tensor]]],
) -> None:
    folder = path.with_suffix("")
    _check_folder(path, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(6)
    made, old = (path.with_name(f".{path.stem[:50]}.{mark}.{word}") for word in ("new", "old"))
    made.mkdir()
    names = []
    try:
        for step, (pos, fields) in enumerate(steps):
            names.append(f"{folder.name}_{step:04d}.vtu")
            write_mesh(made / names[-1], _at(path, mesh, pos), fields)
        with atomic_path(path) as temporary:
            temporary.write_text(_collection(folder.name, names, times), encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            try:
                made.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except MeshError as error:
        text = re.sub(rf"^{re.escape(str(made))}\S*: ", "", str(error))
        where = f"{path}: step {len(names) - 1}: " if text != str(error) else ""
        raise MeshError(f"{where}{text}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_folder(path: Path, folder: Path) -> None:
    """Refuse to replace a folder that holds more than the steps of an earlier series."""
    if not folder.exists():
        return
    step = re.compile(rf"{re.escape(folder.name)}_\d{{4,}}\.vtu")
    others = (
        [entry.name for entry in folder.iterdir() if step.fullmatch(entry.name) is None]
        if folder.is_dir()
        else [folder.name]
    )
    if others:
        raise MeshError(
            f"{path}: its steps go into {folder}, which has other files ({min(others)}); choose"
            " another name, or move them"
        )


def _collection(folder: str, names: list[str], times: np.ndarray) -> str:
    lines = [
        f'    <DataSet timestep="{time!r}" group="" part="0"'
        f' file="{html.escape(folder)}/{html.escape(name)}"/>'
        for time, name in zip(times.tolist(), names, strict=True)
    ]
    body = "\n".join(lines)
    return (
        '<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1"'
        f' byte_order="LittleEndian">\n  <Collection>\n{body}\n  </Collection>\n</VTKFile>\n'
    )


def _write_xdmf(
    path: Path,
    mesh: Data,
    times: np.ndarray,
    steps: Iterator[tuple[Tensor | None, Mapping[str, Tensor]]],
) -> None:
    arrays = path.with_name(path.name + ".h5")
    try:
        with atomic_path(path) as temporary, atomic_path(arrays) as temporary_arrays:
            raw = as_raw(path, mesh, {})
            plain = own_meshio.to_meshio(raw)
            check_xdmf(path, raw, plain)
            writer = own_meshio.module("xdmf").TimeSeriesWriter(temporary)
            writer.h5_filename = str(temporary_arrays)  # its own choice is the current folder
            with h5py.File(temporary_arrays, "w") as file:
                writer.h5_file = file
                writer.write_points_cells(plain.points, plain.cells)
                for time, (_, fields) in zip(times.tolist(), steps, strict=True):
                    now = own_meshio.to_meshio(as_raw(path, mesh, fields))
                    writer.write_data(time, point_data=now.point_data, cell_data=now.cell_data)
                writer.__exit__()
            text = temporary.read_text(encoding="utf-8")
            name = html.escape(arrays.name)
            temporary.write_text(text.replace(f"{temporary_arrays.name}:", f"{name}:"), "utf-8")
    except MeshError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise MeshError(
            f"{path}: cannot be written ({type(error).__name__}: {error}); XDMF may not hold these"
            " cells together: write a .pvd"
        ) from error
