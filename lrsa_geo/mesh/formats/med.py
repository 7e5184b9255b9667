"""MED of Salome and Code_Aster, ``.med .rmed``, version 3 and 4.

Arrays in HDF5, described at https://docs.salome-platform.org (MED file format). meshio reads no
steps, and stumbles over fields and families of some of the cells, hence this reader.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lrsa_geo.mesh.cells import POLYGON, Blocks, blocks_from_offsets
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.formats.hdf5 import check_hdf5
from lrsa_geo.mesh.polyhedra import POLYHEDRON, Faces

_FACES_OF_27 = [*range(20), 24, 22, 21, 23, 20, 25, 26]
_POLYGONS, _POLYHEDRA = "POG", "POE"
_ALL = "MED_NO_PROFILE_INTERNAL"
Step = tuple[int, int]  # numbers of the time step and of the iteration, -1 for none


def read(path: Path, step: int) -> RawMesh:
    """Read the mesh and the fields of one step.

    Nodes get a field of 0 and 1 for each group, by its name. A field without a step is one of all.
    Where a field has no values it is NaN; values at integration points are left out.
    """
    with h5py.File(path, "r") as file:
        mesh = _mesh_of(path, file)
        points = mesh["NOE/COO"]
        raw = RawMesh(_columns(points[()], int(points.attrs["NBR"])))
        kinds = _add_cells(path, raw, mesh.get("MAI", {}))
        _add_tags(raw, mesh, kinds)
        _add_fields(path, raw, file, kinds, step)
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


def _mesh_of(path: Path, file: h5py.File) -> h5py.Group:
    """The group that holds nodes and cells: of the mesh, or of its only step."""
    (mesh,) = file["ENS_MAA"].values()
    if int(mesh.attrs.get("TYP", 0)) != 0:
        raise MeshError(
            f"{path}: holds a structured mesh, which is not read; make it unstructured in Salome"
            " (MEDCoupling: buildUnstructured), or save it as VTU"
        )
    if "NOE" in mesh:
        return mesh
    if len(mesh) != 1:
        raise MeshError(
            f"{path}: its mesh has {len(mesh)} steps, expected one; write every step to a file of"
            " its own"
        )
    return next(iter(mesh.values()))


def _columns(values: np.ndarray, rows: int) -> np.ndarray:
    """``[rows, C]`` from MED's order, one component after the other."""
    return np.ascontiguousarray(values.reshape(-1, rows).T)


def _add_cells(path: Path, raw: RawMesh, cells: h5py.Group) -> dict[str, slice]:
    """Take the cells; the rows of each of MED's kinds."""
    names = own_meshio.module("med._med").med_to_meshio_type
    kinds: dict[str, slice] = {}
    first = 0
    for kind, group in cells.items():
        if kind.rstrip("12") in (_POLYGONS, _POLYHEDRA):
            blocks = (
                _polygons(group) if kind.startswith(_POLYGONS) else _polyhedra(raw, group, first)
            )
        elif kind in names:
            count = int(group["NOD"].attrs["NBR"])
            block = names[kind], _columns(group["NOD"][()], count) - 1
            mesh = own_meshio.module("_mesh").Mesh(raw.pos, [block])
            blocks = own_meshio.from_meshio(path, mesh).blocks
        else:
            raise MeshError(
                f"{path}: has cells of the unknown kind '{kind}'; leave them out, or save with"
                " linear or quadratic cells"
            )
        raw.blocks += [(n, c[:, _FACES_OF_27] if n == 29 else c) for n, c in blocks]
        kinds[kind] = slice(first, first + sum(len(nodes) for _, nodes in blocks))
        first = kinds[kind].stop
    return kinds


def _polygons(group: h5py.Group) -> Blocks:
    starts = group["INN"][()].astype(np.int64) - 1
    types = np.full(len(starts) - 1, POLYGON)
    return blocks_from_offsets(types, starts, group["NOD"][()].astype(np.int64) - 1)


def _polyhedra(raw: RawMesh, group: h5py.Group, first: int) -> Blocks:
    nodes, starts, cell_starts = (
        group[name][()].astype(np.int64) - 1 for name in ("NOD", "INN", "IFN")
    )
    made = Faces.of_cells(nodes, starts, np.arange(len(starts) - 1), cell_starts)
    raw.faces = Faces(made.nodes, made.starts, made.cell + first)
    members = made.members(len(raw.pos))
    bounds = np.searchsorted(members[0], np.arange(len(cell_starts)))
    return blocks_from_offsets(np.full(len(cell_starts) - 1, POLYHEDRON), bounds, members[1])


def _add_tags(raw: RawMesh, mesh: h5py.Group, kinds: dict[str, slice]) -> None:
    """The families of nodes and cells, 0 where a kind of cells has none."""
    if "NOE/FAM" in mesh:
        raw.point_data["point_tags"] = mesh["NOE/FAM"][()]
    tagged = [kind for kind in kinds if f"MAI/{kind}/FAM" in mesh]
    if tagged:
        tags = np.zeros(max(rows.stop for rows in kinds.values()), dtype=np.int64)
        for kind in tagged:
            tags[kinds[kind]] = mesh[f"MAI/{kind}/FAM"][()]
        raw.cell_data["cell_tags"] = tags


def _add_fields(
    path: Path, raw: RawMesh, file: h5py.File, kinds: dict[str, slice], step: int
) -> None:
    fields = file.get("CHA", {})
    steps = {name: {_step(group): group for group in f.values()} for name, f in fields.items()}
    listed = sorted({number for of_field in steps.values() for number in of_field} - {(-1, -1)})
    count = max(len(listed), 1)
    if not -count <= step < count:
        raise MeshError(f"{path}: has the steps 0 to {count - 1}, got `step` {step}; choose one")
    wanted = listed[step] if listed else (-1, -1)
    if listed:
        raw.times = _times(steps, listed)
    for name, of_field in steps.items():
        group = of_field.get(wanted, of_field.get((-1, -1)))
        width = int(fields[name].attrs["NCO"])
        for support, profiles in ({} if group is None else group).items():
            of_nodes = support == "NOE"
            rows = slice(0, len(raw.pos)) if of_nodes else kinds.get(support[4:])
            if rows is None:
                raise MeshError(
                    f"{path}: field '{name}' is of cells '{support[4:]}', which the mesh does not"
                    " have; the file is damaged: export it again"
                )
            several = any(int(part.attrs.get("NGA", 1)) > 1 for part in profiles.values())
            if several or not (of_nodes or support.startswith("MAI.")):
                raw.notes.append(
                    f"field '{name}' is left out where cells have several values (at their nodes or"
                    " integration points)"
                )
                continue
            target = raw.point_data if of_nodes else raw.cell_data
            total = len(raw.pos) if of_nodes else sum(len(nodes) for _, nodes in raw.blocks)
            found = target.setdefault(name, np.full((total, width), np.nan))
            for profile, part in profiles.items():
                values = part["CO"][()]
                places = np.arange(rows.start, rows.stop)
                if profile != _ALL:
                    places = places[file[f"PROFILS/{profile}/PFL"][()] - 1]
                found[places] = _columns(values, len(values) // width)
            if not np.isnan(found).any():  # whole numbers stay what they are
                target[name] = found.astype(values.dtype)
    raw.notes = list(dict.fromkeys(raw.notes))


def _times(steps: dict[str, dict[Step, h5py.Group]], listed: list[Step]) -> np.ndarray | None:
    """Times of the steps; their numbers where all have one time, as in files without times."""
    found: dict[Step, set[float]] = {number: set() for number in listed}
    for of_field in steps.values():
        for number, group in of_field.items():
            if number in found:
                found[number].add(float(group.attrs.get("PDT", 0.0)))
    if any(len(times) > 1 for times in found.values()):
        return None  # fields that disagree
    times = np.array([times.pop() for times in found.values()])
    alike = len(times) > 1 and (times == times[0]).all()
    return np.array([number for number, _ in listed], dtype=float) if alike else times


def _step(group: h5py.Group) -> Step:
    return int(group.attrs["NDT"]), int(group.attrs["NOR"])


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
