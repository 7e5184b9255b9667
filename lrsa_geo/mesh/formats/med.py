"""MED of Salome and Code_Aster, ``.med .rmed``, through meshio."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.formats.hdf5 import check_hdf5

_read_with_meshio = own_meshio.reader("med")
_FACES_OF_27 = [*range(20), 24, 22, 21, 23, 20, 25, 26]


def read(path: Path, step: int) -> RawMesh:
    """Read it with meshio; nodes get a field of 0 and 1 for each group, by its name.

    MED has the facets of a hexahedron in an order of its own.
    """
    raw = _read_with_meshio(path, step)
    raw.blocks = [(n, cells[:, _FACES_OF_27] if n == 29 else cells) for n, cells in raw.blocks]
    for name, families in _groups(path).items():
        if name in raw.point_data:
            continue
        mark = np.isin(raw.point_data.get("point_tags", np.zeros(len(raw.pos))), families)
        first = 0
        for _, cells in raw.blocks:
            tags = raw.cell_data.get("cell_tags", np.zeros(0))[first : first + len(cells)]
            mark[cells[: len(tags)][np.isin(tags, families)].ravel()] = True
            first += len(cells)
        raw.point_data[name] = mark.astype(np.uint8)
    return raw


def _groups(path: Path) -> dict[str, list[int]]:
    """The families, which are numbers of nodes and cells, that belong to each group."""
    found: dict[str, list[int]] = {}
    with h5py.File(path, "r") as file:
        for mesh in file.get("FAS", {}).values():
            for kind in ("NOEUD", "ELEME"):
                for family in mesh.get(kind, {}).values():
                    for letters in family["GRO/NOM"][()] if "GRO" in family else ():
                        name = (
                            bytes(np.asarray(letters, dtype=np.uint8))
                            .split(b"\0")[0]
                            .decode("utf-8", "replace")
                        )
                        if name := name.strip():
                            found.setdefault(name, []).append(int(family.attrs["NUM"]))
    return found


def check(path: Path) -> None:
    """As :func:`check_hdf5`; before MED 3 the arrays had other places."""
    with open(path, "rb") as head:
        start = head.read(8)
    if start[1:4] != b"HDF":
        raise MeshError(
            f"{path}: not an HDF5 file, as MED files are; if it is of MED 2.1 or older, convert it"
            " with Salome's `medimport`, else export it again"
        )
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        about = file.get("INFOS_GENERALES")
        version = [int(about.attrs.get(word, 0)) for word in ("MAJ", "MIN")] if about else [0, 0]
        if not about or version[0] < 3:
            raise MeshError(
                f"{path}: is of MED version {version[0]}.{version[1]}, expected 3 or 4; convert it"
                " with Salome's `medimport FILE.med NEW.med`, or open and save it in Salome"
            )
        if (meshes := len(file.get("ENS_MAA", ()))) != 1:
            raise MeshError(
                f"{path}: holds {meshes} meshes, expected one; write every mesh to a file of its"
                " own"
            )
