"""Nastran, ``.bdf .fem .nas``, through meshio."""

from __future__ import annotations

import io
import re
from pathlib import Path

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import RawMesh, only_step


def read(path: Path, step: int) -> RawMesh:
    """Read the bulk data, with or without the sections before it."""
    only_step(path, step)
    text = path.read_text(encoding="utf-8")
    if "BEGIN BULK" not in text:  # some programs write the bulk data alone
        text = "BEGIN BULK\n" + text
    if not re.search(r"^ENDDATA", text.partition("BEGIN BULK")[2], re.MULTILINE):
        raise MeshError(f"{path}: has no ENDDATA; the file is truncated: copy or export it again")
    return own_meshio.from_meshio(path, own_meshio.module("nastran").read(io.StringIO(text)))
