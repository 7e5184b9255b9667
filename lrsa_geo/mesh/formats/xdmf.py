"""XDMF, ``.xdmf .xmf``: one step of a time series, through meshio."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import h5py
import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import own_meshio, xdmf_times
from lrsa_geo.mesh.formats.base import (
    RawMesh,
    check_counts,
    check_file,
    check_names,
    only_step,
    referred_by,
)
from lrsa_geo.mesh.formats.hdf5 import check_hdf5
from lrsa_geo.mesh.formats.xdmf_checkpoint import add_function, check_function, is_function

_meshio = own_meshio.module("xdmf")
_read_one_step = own_meshio.reader("xdmf")
# What meshio takes for something else, or stumbles over.
_BEYOND_MESHIO = re.compile(rb'"(?:Temporal|Binary|FiniteElementFunction|PolyLine)"|:include')
_INCLUDE = "{http://www.w3.org/2001/XInclude}include"


def check(path: Path) -> None:
    """Names, counts, and the files that hold the arrays."""
    tree = ElementTree.parse(path)
    for grid in tree.iter("Grid"):
        fields = [f"{a.get('Center')} {a.get('Name')}" for a in grid.findall("Attribute")]
        check_names(path, "fields", fields)
    _refuse_what_is_not_read(path, tree.getroot())
    files: dict[Path, list[str]] = {}  # a series names one of them for each of its arrays
    for item in tree.iter("DataItem"):
        text = (item.text or "").strip()
        kind = item.get("Format")
        if kind in ("HDF", "Binary"):
            arrays = files.setdefault(path.resolve().parent / text.split(":")[0], [])
            arrays += [text.partition(":")[2]] if kind == "HDF" else []
        elif kind == "XML" and item.get("Dimensions"):
            values = int(np.prod([float(n) for n in item.get("Dimensions", "").split()]))
            check_counts(path, [("values in a DataItem", values)])
    for file, arrays in files.items():
        with referred_by(path):
            check_file(file)
            if arrays:
                check_hdf5(file)
                _check_arrays(file, arrays)


def _check_arrays(path: Path, names: list[str]) -> None:
    with h5py.File(path, "r") as file:
        for name in names:
            if name not in file:
                raise MeshError(
                    f"{path}: has no array '{name}'; it is of another run or damaged: copy both"
                    " files again"
                )


def _refuse_what_is_not_read(path: Path, root: Element) -> None:
    """What meshio takes for something else, or has no words for."""
    remedy = "; open it in ParaView and save as VTU"
    for topology in root.iter("Topology"):
        kind = topology.get("TopologyType") or topology.get("Type") or ""
        if kind.lower().endswith(("mesh", "polygon", "polyhedron")):
            raise MeshError(f"{path}: has the topology '{kind}', which is not read{remedy}")
        if len(topology.get("Order", "").split()) > 1:
            raise MeshError(f"{path}: gives nodes an order of their own, which is not read{remedy}")
        if topology.get("BaseOffset", "0").strip() not in ("", "0"):
            raise MeshError(
                f"{path}: counts nodes from BaseOffset {topology.get('BaseOffset')}, expected 0"
                + remedy
            )
    for geometry in root.iter("Geometry"):
        kind = geometry.get("GeometryType") or geometry.get("Type") or "XYZ"
        if kind.upper() not in ("XY", "XYZ"):
            raise MeshError(f"{path}: has the geometry '{kind}', expected XY or XYZ{remedy}")
    for field in root.iter("Attribute"):
        if is_function(field):
            check_function(path, field)
        elif (center := field.get("Center", "Node")) not in ("Node", "Cell"):
            raise MeshError(
                f"{path}: field '{field.get('Name')}' has a value for each {center.lower()},"
                " expected Node or Cell; leave it out"
            )
    for item in root.iter("DataItem"):
        kind = item.get("ItemType", "Uniform")
        if kind != "Uniform" or (item.get("Format") is None and item.get("Reference") is None):
            raise MeshError(f"{path}: has a DataItem of type {kind}, expected plain values{remedy}")
        if item.get("Format") == "Binary" and (
            item.get("Endian", "Native").lower() not in ("native", sys.byteorder)
            or item.get("Seek", "0").strip() != "0"
            or item.get("Compression", "Raw") != "Raw"
        ):
            raise MeshError(
                f"{path}: has binary values with an offset, packed, or of another byte order, which"
                f" are not read{remedy}"
            )
    for grid in root.iter("Grid"):
        if grid.get("CollectionType") == "Spatial" or grid.get("GridType") == "Tree":
            raise MeshError(
                f"{path}: holds a mesh in several grids, which are not joined; merge them in"
                " ParaView (Merge Blocks) and save as VTU"
            )
    meshes = [g.get("Name") for g in root.iterfind("Domain/Grid") if g.find("Geometry") is not None]
    if len(meshes) > 1:
        raise MeshError(
            f"{path}: holds several meshes ({', '.join(map(str, meshes))}), which are not joined;"
            " write each to a file of its own"
        )


def read(path: Path, step: int) -> RawMesh:
    """Read one step, with the mesh of that step and the fields of all collections."""
    return next(read_steps(path, [step]))


def read_steps(path: Path, wanted: Iterable[int]) -> Iterator[RawMesh]:
    """Read several steps of a file that is parsed once."""
    text = path.read_bytes()
    if b"Version=" in text and not _BEYOND_MESHIO.search(text):
        for step in wanted:
            yield _read_one_step(path, step)
        return
    root = ElementTree.fromstring(text)
    is_series = b'"Temporal"' in text
    del text
    notes = [f"the tags '{name}', on cells of their own, are left out" for name in _take_tags(root)]
    times = xdmf_times.times_of(path, root) if is_series else None
    for step in wanted:
        if is_series:
            raw = _read_elsewhere(path, _of_one_step(path, root, step))
        else:
            only_step(path, step)
            raw = _read_elsewhere(path, deepcopy(root))
        raw.notes += notes
        raw.times = times
        yield raw


def _take_tags(root: Element) -> list[str]:
    """Remove grids of other cells between the nodes of the mesh, as dolfinx writes tags."""
    names = []
    for domain in root.iterfind("Domain"):
        for grid in domain.findall("Grid"):
            if grid.find("Topology") is not None and grid.find("Geometry") is None:
                domain.remove(grid)
                names.append(grid.get("Name", ""))
    return names


def _of_one_step(path: Path, root: Element, step: int) -> Element:
    """A file of one grid: what the series of a file say of a step."""
    series = [
        (grid, grid.findall("Grid"))
        for grid in root.iter("Grid")
        if grid.get("CollectionType") == "Temporal"
    ]
    steps = {len(grids) for _, grids in series}
    if len(steps) > 1:
        raise MeshError(
            f"{path}: has series of {' and '.join(map(str, sorted(steps)))} steps, expected as many"
            " in each; write every function to a file of its own"
        )
    num_steps = steps.pop()
    if not -num_steps <= step < num_steps:
        raise MeshError(f"{path}: has steps 0 to {num_steps - 1}, got `step` {step}; choose one")
    return _merged(path, root, [grids[step] for _, grids in series])


def _read_elsewhere(path: Path, root: Element) -> RawMesh:
    """Read the grid of an element, whose files are named as seen from that of ``path``."""
    for item in root.iter("DataItem"):
        if item.get("Format") in ("HDF", "Binary"):
            file, colon, rest = (item.text or "").strip().partition(":")
            item.text = f"{path.resolve().parent / file}{colon}{rest}"
    root.set("Version", root.get("Version", "3.0"))
    for topology in root.iter("Topology"):
        if topology.get("TopologyType") == "PolyLine":  # as FEniCS spells it
            topology.set("TopologyType", "Polyline")
    functions = [field for field in root.iter("Attribute") if is_function(field)]
    for grid in root.iter("Grid"):
        for field in grid.findall("Attribute"):
            if is_function(field):
                grid.remove(field)
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "step.xdmf")
        one.write_bytes(ElementTree.tostring(root))
        raw = own_meshio.from_meshio(path, _meshio.read(one))
    for field in functions:
        add_function(path, raw, field)
    return raw


def _merged(path: Path, root: Element, grids: list[Element]) -> Element:
    """A file of one grid: the mesh and fields of these grids, which must have one mesh and time."""
    times = {time.get("Value") for grid in grids for time in grid.findall("Time")}
    if len(times) > 1:
        raise MeshError(
            f"{path}: has series at the times {' and '.join(sorted(map(str, times)))} in one step;"
            " write every function to a file of its own"
        )
    meshes = [_mesh_of(path, root, grid) for grid in grids]
    if len({b"".join(map(_words, mesh)) for mesh in meshes}) > 1:
        raise MeshError(
            f"{path}: has series on different meshes; write every function to a file of its own"
        )
    fields = [field for grid in grids for field in grid.findall("Attribute")]
    check_names(path, "fields", [f"{f.get('Center')} {f.get('Name')}" for f in fields])
    grid = Element("Grid", GridType="Uniform", Name="step")
    grid.extend(deepcopy([*meshes[0], *fields]))
    top = Element("Xdmf", Version=root.get("Version", "3.0"))
    domain = ElementTree.SubElement(top, "Domain")
    domain.append(grid)
    return top


def _mesh_of(path: Path, root: Element, grid: Element) -> list[Element]:
    """Topology and geometry: of the grid, of the one that it includes, or else of the first."""
    own = [e for e in grid if e.tag in ("Topology", "Geometry")]
    if not own and (include := grid.find(_INCLUDE)) is not None:
        own = _included(path, root, include.get("xpointer", ""))
    if not own:
        first = next((g for g in root.iter("Grid") if g.find("Topology") is not None), None)
        own = [] if first is None else [e for e in first if e.tag in ("Topology", "Geometry")]
    if len(own) != 2 or any(e.get("Reference") for part in own for e in part.iter()):
        raise MeshError(
            f"{path}: a step has no topology and geometry that can be followed; write the mesh into"
            " each step, or save as VTU"
        )
    return own


def _included(path: Path, root: Element, pointer: str) -> list[Element]:
    """Where an XPointer leads: grids by name, type and place, in the words that programs use."""
    found = [root]
    text = re.sub(r"^xpointer\((.*)\)$", r"\1", pointer.strip()).replace('"', "'")
    for deep, name, value, place in re.findall(
        r"(//?)Grid(?:\[@(\w+)='([^']*)'\])?(?:\[(\d+)\])?", text
    ):
        inside = [
            grid
            for element in found
            for grid in (element.iter("Grid") if deep == "//" or element is root else element)
            if grid.tag == "Grid" and (not name or grid.get(name) == value)
        ]
        found = [inside[int(place) - 1]] if place and int(place) <= len(inside) else inside
    own = [e for e in found[0] if e.tag in ("Topology", "Geometry")] if found else []
    if found in ([], [root]) or len(own) != 2:
        raise MeshError(
            f"{path}: includes '{pointer}', which does not lead to a mesh in this file; write the"
            " mesh into each step, or save as VTU"
        )
    return own


def _words(element: Element) -> bytes:
    return b" ".join(ElementTree.tostring(element).split())
