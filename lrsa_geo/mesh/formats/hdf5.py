"""HDF5, and CGNS inside it, ``.cgns``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import DEFLATE_RATIO, RawMesh, check_counts
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

_read_cgns_of_meshio = own_meshio.reader("cgns")


def read_cgns(path: Path, step: int) -> RawMesh:
    """Read it with VTK, unless meshio wrote it."""
    if not h5py.is_hdf5(path):
        return read_with_vtk(path, step)
    with h5py.File(path, "r") as file:
        known = "Base/Zone1/GridElements" in file  # the one layout that meshio reads: its own
    return (_read_cgns_of_meshio if known else read_with_vtk)(path, step)


def check_cgns(path: Path) -> None:
    """As :func:`check_hdf5`; older files are no HDF5 but ADF, which VTK reads."""
    with open(path, "rb") as file:
        is_adf = b"ADF Database" in file.read(64)
    if not is_adf:
        check_hdf5(path)


def check_hdf5(path: Path) -> None:
    """A data set that was never written reads as that many fill values."""
    if not h5py.is_hdf5(path):
        raise MeshError(f"{path}: not an HDF5 file, as its extension says; export it again")
    datasets, counts = [], []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets.append((name, item.size, item.size * item.dtype.itemsize))
            limit = DEFLATE_RATIO * item.id.get_storage_size() + (1 << 16)
            check_counts(path, [(f"bytes of '{name}'", datasets[-1][2])], limit)
        if "NBR" in item.attrs:  # MED's word for a count
            counts.append((f"entries of '{name}'", int(item.attrs["NBR"])))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    check_counts(path, counts, max((size for _, size, _ in datasets), default=0))
