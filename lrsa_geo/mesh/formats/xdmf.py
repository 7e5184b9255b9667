"""XDMF, ``.xdmf .xmf``, through meshio; one step of a time series."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_file, check_names, referred_by
from lrsa_geo.mesh.formats.hdf5 import check_hdf5

_meshio = own_meshio.module("xdmf")
_read_one_step = own_meshio.reader("xdmf")


def check(path: Path) -> None:
    """Names, counts, and the files that hold the arrays."""
    tree = ElementTree.parse(path)
    for grid in tree.iter("Grid"):
        fields = [f"{a.get('Center')} {a.get('Name')}" for a in grid.findall("Attribute")]
        check_names(path, "fields", fields)
    for item in tree.iter("DataItem"):
        text = (item.text or "").strip()
        kind = item.get("Format")
        if kind in ("HDF", "Binary"):
            file = path.resolve().parent / text.split(":")[0]
            with referred_by(path):
                check_file(file)
                if kind == "HDF":
                    check_hdf5(file)
        elif kind == "XML" and item.get("Dimensions"):
            values = int(np.prod([float(n) for n in item.get("Dimensions", "").split()]))
            check_counts(path, [("values in a DataItem", values)])


def read(path: Path, step: int) -> RawMesh:
    """Read one step."""
    if b'"Temporal"' not in path.read_bytes():
        return _read_one_step(path, step)
    with _meshio.TimeSeriesReader(path) as series:
        if not -series.num_steps <= step < series.num_steps:
            raise MeshError(
                f"{path}: has steps 0 to {series.num_steps - 1}, got `step` {step}; choose one"
            )
        points, cells = series.read_points_cells()
        _, point_data, cell_data = series.read_data(step)
    mesh = own_meshio.module("_mesh").Mesh(points, cells, point_data, cell_data)
    return own_meshio.from_meshio(path, mesh)
