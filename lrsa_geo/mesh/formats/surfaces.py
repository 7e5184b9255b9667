"""Surfaces through trimesh: ``.stl .obj .off .glb .gltf .3mf``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from lrsa_geo.mesh.cells import TRIANGLE
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_file, only_step, referred_by


def read(path: Path, step: int) -> RawMesh:
    """Read triangles; those of an STL become a mesh."""
    only_step(path, step)
    options: dict[str, Any] = {"process": False, "maintain_order": True, "skip_materials": True}
    mesh: Any = trimesh.load(path, force="mesh", **options)
    pos, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if path.suffix.lower() == ".stl":
        # A triangle soup: a mesh only once equal corners are one node, in order of appearance.
        _, first, node = np.unique(pos, axis=0, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        pos, faces = pos[np.sort(first)], rank[node.reshape(-1)][faces]
    return RawMesh(pos, [(TRIANGLE, faces)] if len(faces) else [])


def read_stl(path: Path, step: int) -> RawMesh:
    """Read an STL, whose length says whether it is whole."""
    start = path.read_bytes()
    triangles = int.from_bytes(start[80:84], "little")
    binary = len(start) == 84 + 50 * triangles
    if not binary and not start.lstrip().startswith(b"solid"):
        raise MeshError(
            f"{path}: declares {triangles:,} triangles, which take {84 + 50 * triangles:,} bytes,"
            f" found {len(start):,}; the file is truncated or not an STL: export it again"
        )
    if not binary and b"endsolid" not in start:
        raise MeshError(f"{path}: has no 'endsolid'; the file is truncated: export it again")
    return read(path, step)


def check_gltf(path: Path) -> None:
    """Counts of all accessors, and files that are referred to."""
    with open(path, "rb") as file:
        start = file.read(20)
        length = int.from_bytes(start[12:16], "little") if start[:4] == b"glTF" else None
        if length is None:
            file.seek(0)
        tree = json.loads(file.read(length))
    size = path.stat().st_size
    for buffer in tree.get("buffers", []):
        uri = buffer.get("uri", "data:")
        if not uri.startswith("data:"):
            with referred_by(path):
                check_file(path.parent / uri)
            size += (path.parent / uri).stat().st_size
    counts = [("items of an accessor", int(a["count"])) for a in tree.get("accessors", [])]
    check_counts(path, counts, size)
