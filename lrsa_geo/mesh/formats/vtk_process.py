"""Formats that VTK alone reads, such as ``.case .foam``, in a process that may die."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import vtk_child
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.formats.child_process import read_in_child

_OF_SEVERAL_FILES = (".case", ".foam", ".pvd", ".vtm", ".pvtu", ".pvtp", ".pvti", ".pvtr", ".pvts")


def read_with_vtk(path: Path, step: int) -> RawMesh:
    """Read a file with pyvista, in a process of its own.

    Raises:
        MeshError: pyvista is not installed.
        ValueError: the reader failed or died; the message is what it said last.
    """
    if importlib.util.find_spec("pyvista") is None:
        raise MeshError(
            f"{path}: reading it takes pyvista, which is not installed; install it with"
            " `pip install 'lrsa_geo[viz]'`"
        )
    one_file = path.suffix.lower() not in _OF_SEVERAL_FILES
    seconds = 20 + path.stat().st_size / 1e6 if one_file else 600
    return read_in_child(vtk_child.__file__, path, step, seconds, "VTK")
