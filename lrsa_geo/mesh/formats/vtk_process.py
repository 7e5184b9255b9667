"""Formats that VTK alone reads, such as ``.case .foam``, in a process that may die."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import blocks_from_offsets
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import vtk_child
from lrsa_geo.mesh.formats.base import RawMesh


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
    one_file = path.suffix.lower() not in (".case", ".foam")
    seconds = 20 + path.stat().st_size / 1e6 if one_file else 600
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "mesh.npz")
        child = [sys.executable, vtk_child.__file__, str(path.absolute()), str(step), str(out)]
        done = subprocess.run(
            child,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it says nothing"]
            raise ValueError(f"VTK's reader ended with status {done.returncode}: {lines[-1]}")
        with np.load(out, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    return RawMesh(
        arrays["pos"],
        blocks_from_offsets(arrays["types"], arrays["starts"], arrays["nodes"]),
        {name[2:]: values for name, values in arrays.items() if name.startswith("p:")},
        {name[2:]: values for name, values in arrays.items() if name.startswith("c:")},
    )
