"""Arrays of published files: found by name, checked by shape and type, never executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
import scipy.io


class PublishedFileError(ValueError):
    """A file of a published data set is missing, or is not the published one."""


@dataclass(frozen=True)
class AtLeast:
    """A size that a shape may exceed: the files hold more samples than the benchmark uses."""

    size: int

    def __str__(self) -> str:
        return f">={self.size}"


Shape = tuple[int | AtLeast, ...]


def find_file(folder: Path, name: str, source: str) -> Path:
    """``folder/name``; leading folders of ``name`` may be missing.

    Args:
        folder: the user's folder.
        name: path as published, such as ``"airfoil/naca/NACA_Cylinder_X.npy"``.
        source: where users get it, for the message.

    Raises:
        PublishedFileError: it is not there.
    """
    parts = PurePosixPath(name).parts
    tried = [folder.joinpath(*parts[start:]) for start in range(len(parts))]
    for path in tried:
        if path.is_file():
            return path
    raise PublishedFileError(
        f"{folder}: file '{name}' is missing; looked for {' and '.join(map(str, tried))};"
        f" it comes from {source}"
    )


def read_npy(path: Path, shape: Shape) -> np.ndarray:
    """A memory-mapped ``.npy``; pickled objects are refused.

    Raises:
        PublishedFileError: not readable, or another shape or type.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PublishedFileError(
            f"{path}: not a readable array of numbers ({error}); download it again"
        ) from error
    if not isinstance(array, np.ndarray):
        raise PublishedFileError(f"{path}: holds several arrays, expected a single one (.npy)")
    check_array(path, path.stem, array, shape)
    return array


def read_mat(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file, with MATLAB's order of axes whatever the version of the file.

    Version 7.3 is HDF5, which lists the axes in reverse: they are turned back. Earlier versions are
    read by scipy. Only the arrays that are named are read.

    Raises:
        PublishedFileError: the file is missing or not readable, or lacks an array, or the array
            does not hold real numbers.
    """
    path = Path(path)
    names = list(names)
    if not path.is_file():
        raise PublishedFileError(f"{path}: no such file")
    try:
        found = _read_hdf5(path, names) if h5py.is_hdf5(path) else _read_mat5(path, names)
    except PublishedFileError:
        raise
    except Exception as error:  # scipy raises nearly everything on a damaged file
        raise PublishedFileError(
            f"{path}: not a readable MATLAB file ({type(error).__name__}: {error});"
            " download it again"
        ) from error
    for name, array in found.items():
        _check_type(path, name, array)
    return found


def _read_mat5(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    found = scipy.io.loadmat(str(path), variable_names=names)
    if any(name not in found for name in names):
        _refuse_names(path, names, [name for name, _, _ in scipy.io.whosmat(str(path))])
    return {name: np.asarray(found[name]) for name in names}


def _read_hdf5(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        held = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        if any(name not in held for name in names):
            _refuse_names(path, names, held)
        return {name: file[name][()].T for name in names}


def _refuse_names(path: Path, names: list[str], held: list[str]) -> None:
    missing = [name for name in names if name not in held]
    raise PublishedFileError(
        f"{path}: has the arrays {sorted(held)}, expected {missing} too; download it again"
    )


def check_array(path: Path, name: str, array: np.ndarray, shape: Shape) -> None:
    """Compare with what is published.

    Raises:
        PublishedFileError: another shape, or no real numbers.
    """
    _check_type(path, name, array)
    fits = len(array.shape) == len(shape) and all(
        found >= size.size if isinstance(size, AtLeast) else found == size
        for found, size in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise PublishedFileError(
            f"{path}: array '{name}' has shape {_text(array.shape)}, expected {_text(shape)};"
            " it is not the published file"
        )


def _check_type(path: Path, name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fiu":
        raise PublishedFileError(
            f"{path}: array '{name}' has dtype {array.dtype}, expected real numbers;"
            " it is not the published file"
        )


def _text(shape: Iterable[Any]) -> str:
    return f"[{', '.join(map(str, shape))}]"
