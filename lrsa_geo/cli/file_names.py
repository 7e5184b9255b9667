"""Names of mesh files on the command line: paths, patterns and folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from lrsa_geo.files import natural_order


def mesh_files(patterns: Iterable[str], besides: str | None = None) -> list[str]:
    """Files named by paths, patterns (``**`` goes into folders) or folders, in natural order.

    ``besides`` is left out: a table of parameters may lie in the folder of the meshes.

    Raises:
        ValueError: a pattern matches nothing.
    """
    from lrsa_geo.mesh import MESH_SUFFIXES

    files: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_dir():
            inside = map(str, Path(pattern).iterdir())
            known = {*MESH_SUFFIXES} - {".series"}  # which lists files that are there as well
            found = [name for name in inside if Path(name).suffix.lower() in known]
        else:
            found = [pattern] if Path(pattern).exists() else glob.glob(pattern, recursive=True)
        if not found:
            hint = "; a bracket in a name is written [[]" if "[" in pattern else ""
            raise ValueError(f"'{pattern}' matches no mesh file{hint}")
        files += [name for name in found if besides is None or Path(name) != Path(besides)]
    once = {os.path.abspath(name): name for name in reversed(files)}  # a.vtu and ./a.vtu are one
    return sorted(once.values(), key=natural_order)
