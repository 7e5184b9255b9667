"""Exodus, ``.e .exo .ex2``, through meshio and netCDF4."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import DEFLATE_RATIO, RawMesh, check_counts

_read_with_meshio = own_meshio.reader("exodus")
_netcdf = threading.Lock()  # the C library may not be entered by two threads


def read(path: Path, step: int) -> RawMesh:
    """Read it, one thread at a time."""
    with _netcdf:
        return _read_with_meshio(path, step)


def check(path: Path) -> None:
    """Sizes of variables and dimensions."""
    try:
        import netCDF4
    except ImportError as error:
        raise MeshError(
            f"{path}: Exodus files need netCDF4; install it with `pip install netCDF4` ({error})"
        ) from error
    with _netcdf, netCDF4.Dataset(path) as file:
        declared = [
            (f"bytes of '{name}'", int(np.prod([float(n) for n in v.shape])) * 8)
            for name, v in file.variables.items()
        ] + [(f"as dimension '{name}'", len(d)) for name, d in file.dimensions.items()]
    check_counts(path, declared, DEFLATE_RATIO * path.stat().st_size)
