"""Abaqus, ``.inp``, through meshio."""

from __future__ import annotations

import re
from pathlib import Path

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import check_counts, check_file, mapped, referred_by

read = own_meshio.reader("abaqus")


def check(path: Path, depth: int = 0) -> None:
    """Generated sets, and files that are included."""
    with mapped(path) as text:
        for generate in re.finditer(
            rb"^\*(?:N|EL)SET\b[^\n]*GENERATE[^\n]*\n([-+\d, \t]+)", text, re.MULTILINE | re.I
        ):
            last = [int(n) for n in generate[1].replace(b",", b" ").split()][:2]
            check_counts(path, [("as a number in a generated set", n) for n in last])
        includes = re.findall(rb"^\*INCLUDE\b[^\n]*", text, re.MULTILINE | re.IGNORECASE)
    for line in includes:
        target = Path(line.decode().split("=")[-1].strip())
        target = target if target.exists() else path.parent / target
        if depth == 8:
            raise MeshError(
                f"{path}: *INCLUDE is nested more than 8 deep; put the mesh in one file"
            )
        with referred_by(path):
            check_file(target)
            check(target, depth + 1)
