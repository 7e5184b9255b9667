"""Files that are damaged, lie, or are no meshes: one clear error for each."""

import io
import json
import os
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh
from mesh_files import (
    BILLION,
    GOOD,
    INP,
    MSH2,
    MSH4,
    OFF,
    PLY,
    TEMPERATURE,
    TRIANGLE,
    VTK,
    vtu,
    xdmf_series,
)

from lrsa_geo.mesh import MeshError, read_mesh
from lrsa_geo.mesh.formats import vtk_process

SPHERE = trimesh.creation.icosphere(1)


def twice_in_a_zip():
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("pos.npy", b"")
    return file.getvalue()


BAD = {
    "unknown extension": ("a.doc", "x", r"'\.doc'.*expected one of \.vtu"),
    "empty": ("a.vtu", "", r"empty \(0 bytes\)"),
    "other contents": ("a.vtu", OFF, r"ParseError.*extension"),
    "other contents of trimesh": ("a.off", TRIANGLE, "cannot be read"),
    "no nodes": (
        "a.vtk",
        VTK.format(n=0, pos="") + "CELLS 0 0\nCELL_TYPES 0\n",
        "cannot be read|N > 0",
    ),
    "no nodes in a VTU": ("a.vtu", vtu(n=0), "no nodes"),
    "no nodes in a PLY": ("a.ply", PLY.format(n=0, more=""), "."),
    "NaN coordinate": ("a.vtu", vtu("0 0 0 1 nan 0 0 1 1"), r"1 of 3 nodes.*NaN.*node 1"),
    "infinite coordinate": ("a.csv", "x,y\n0,0\n1,inf\n", r"1 of 2 nodes.*infinite.*node 1"),
    "missing node": ("a.vtu", vtu(cells="0 1 3"), "nodes 0 to 3, expected 0 to 2"),
    "negative node": ("a.vtu", vtu(cells="-1 1 2"), "nodes -1 to 2, expected 0 to 2"),
    "missing node in legacy VTK": ("a.vtk", TRIANGLE.replace("3 0 1 2", "3 0 1 7"), "nodes 0 to 7"),
    "missing node in MSH 2": ("a.msh", MSH2.format(n=3, tag=4), "."),
    "missing node in MSH 4": ("a.msh", MSH4.format(n=3, k=1, tag=4), "[Nn]ode 3"),
    "missing node in INP": (
        "a.inp",
        INP.replace("1, 1, 2, 3", "1, 1, 2, 9"),
        "have node 9, which is not defined",
    ),
    "missing node in OFF": (
        "a.off",
        OFF.replace("3 0 1 2", "3 0 1 5"),
        "outside the range|point at",
    ),
    "unknown cell": ("a.vtu", vtu(kind=99), "unknown VTK type 99"),
    "polyhedron": ("a.vtu", vtu(kind=42), "1 polyhedra"),
    "unknown cell in MSH": (
        "a.msh",
        MSH2.format(n=3, tag=3).replace("1 2 2 0", "1 999 2 0"),
        "999",
    ),
    "unknown cell in INP": ("a.inp", INP.replace("S3", "XYZ"), "XYZ"),
    "short field": ("a.vtu", vtu(data=TEMPERATURE.format("1 2")), "'T' has 2 values, expected 3"),
    "long field": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3 4")),
        "'T' has 4 values, expected 3",
    ),
    "short field in legacy VTK": (
        "a.vtk",
        TRIANGLE + "POINT_DATA 3\nSCALARS T float\nLOOKUP_TABLE default\n1 2\n",
        "T",
    ),
    "one name twice": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3") * 2),
        "2 arrays called 'T' in PointData",
    ),
    "one name twice in legacy VTK": (
        "a.vtk",
        TRIANGLE + "POINT_DATA 3\n" + "SCALARS T float\nLOOKUP_TABLE default\n1 2 3\n" * 2,
        "2 point fields called 'T'",
    ),
    "one name twice in CSV": ("a.csv", "x,y,T,T\n0,0,1,2\n", "all different"),
    "one name twice in PLY": (
        "a.ply",
        PLY.format(n=1, more="property float T\nproperty float T\n"),
        "2 vertex fields called 'T'",
    ),
    "text field": ("a.csv", "x,y,T\n0,0,hot\n", "hot"),
    "no x": ("a.csv", "a,b\n0,0\n", "expected x, y"),
    "name that is not UTF-8": ("a.csv", b"x,y,\xff\n0,0,1\n", "UnicodeDecodeError"),
    "XML name that is not UTF-8": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3")).encode().replace(b'"T"', b'"\xff"'),
        "ParseError",
    ),
    "legacy name that is not UTF-8": (
        "a.vtk",
        (TRIANGLE + "POINT_DATA 3\nSCALARS T float\nLOOKUP_TABLE default\n1 2 3\n")
        .encode()
        .replace(b"T float", b"\xff float"),
        "UnicodeDecodeError",
    ),
    "pickle as NPZ": ("a.npz", pickle.dumps({"pos": [1]}), "not a zip"),
    "text as MED": ("a.med", "hello", "not an HDF5 file"),
    "pickle as CGNS": ("a.cgns", pickle.dumps([1]), "not an HDF5 file"),
    "a billion triangles": (
        "a.stl",
        b"\0" * 80 + struct.pack("<I", BILLION) + b"\0" * 50,
        "1,000,000,000",
    ),
    "a billion nodes in PLY": ("a.ply", PLY.format(n=BILLION, more=""), "1,000,000,000 vertex"),
    "a billion nodes in VTK": ("a.vtk", VTK.format(n=BILLION, pos="0 0 0"), "1,000,000,000 points"),
    "a billion nodes in VTU": ("a.vtu", vtu(n=BILLION), "expected 3,000,000,000"),
    "a billion nodes in MSH 2": ("a.msh", MSH2.format(n=BILLION, tag=3), "1,000,000,000 Nodes"),
    "a billion nodes in MSH 4": (
        "a.msh",
        MSH4.format(n=BILLION, k=1, tag=3),
        "1,000,000,000 Nodes",
    ),
    "a billion cells in MSH 4": (
        "a.msh",
        MSH4.format(n=3, k=BILLION, tag=3),
        "1,000,000,000 Elements",
    ),
    "a billion as a tag in MSH 2": ("a.msh", MSH2.format(n=3, tag=BILLION), "vertex|node"),
    "a billion as a tag in MSH 4": ("a.msh", MSH4.format(n=3, k=1, tag=BILLION), "[Nn]ode 3"),
    "a billion nodes in OFF": (
        "a.off",
        OFF.replace("3 1 0", f"{BILLION} 1 0", 1),
        "cannot be read",
    ),
    "a billion voxels": (
        "a.vtk",
        "# vtk DataFile Version 3.0\nt\nASCII\nDATASET STRUCTURED_POINTS\n"
        "DIMENSIONS 1000 1000 1000\nORIGIN 0 0 0\nSPACING 1 1 1\n",
        "1,000,000,000 dimensions",
    ),
    "endless include": ("a.inp", "*INCLUDE, INPUT=/dev/zero\n" + INP, "not a regular file"),
    "include of itself": ("a.inp", "*INCLUDE, INPUT=a.inp\n" + INP, "more than 8 deep"),
    "arrays outside": (
        "a.xdmf",
        '<Xdmf Version="3.0"><Domain><Grid><Geometry GeometryType="XYZ"><DataItem Format="Binary"'
        ' Dimensions="9 3">/dev/zero</DataItem></Geometry></Grid></Domain></Xdmf>',
        "not a regular file",
    ),
    "unfinished Nastran": ("a.bdf", "BEGIN BULK\n", "no ENDDATA"),
    "unfinished STL": ("a.stl", "solid a\nfacet normal 0 0 1\n", "endsolid"),
    "one name twice in NPZ": ("a.npz", twice_in_a_zip(), "called 'pos.npy'"),
    "node 0 in MSH 2": (
        "a.msh",
        MSH2.format(n=3, tag=3).replace("1 2 3\n$EndE", "1 2 0\n$EndE"),
        "index 0",
    ),
    "one name twice in MSH": (
        "a.msh",
        MSH2.format(n=3, tag=3)
        + 2 * '$NodeData\n1\n"T"\n1\n0.0\n3\n0\n1\n3\n1 1.0\n2 2.0\n3 3.0\n$EndNodeData\n',
        "called 'NodeData T at step 0'",
    ),
    "unfinished MSH": ("a.msh", MSH2.format(n=3, tag=3)[:-14], "not closed"),
}


@pytest.mark.parametrize("name", GOOD)
def test_templates_of_the_bad_files_are_good(tmp_path, name):
    (tmp_path / name).write_text(GOOD[name])
    assert read_mesh(tmp_path / name).num_nodes in (1, 3)


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_clear_error(tmp_path, capfd, case):
    name, content, message = BAD[case]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    start = time.perf_counter()
    with pytest.raises(MeshError, match=message) as caught:
        read_mesh(path)
    assert time.perf_counter() - start < 5
    assert str(path.name) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_library_error_is_in_the_message_and_chained(tmp_path):
    (tmp_path / "a.off").write_text(OFF.replace("3 0 1 2", "3 0 1 5"))
    with pytest.raises(MeshError, match="outside the range") as caught:
        read_mesh(tmp_path / "a.off")
    assert caught.value.__cause__ is not None


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.vtu").mkdir()
    (tmp_path / "loop.vtu").symlink_to(tmp_path / "loop.vtu")
    (tmp_path / "nowhere.vtu").symlink_to(tmp_path / "missing.vtu")
    os.mkfifo(tmp_path / "pipe.vtu")
    for name, message in {
        "missing.vtu": "no such file",
        "nowhere.vtu": "a link to nothing",
        "folder.vtu": "is a directory",
        "loop.vtu": "cannot be opened",
        "pipe.vtu": "not a regular file",
        "nul\0.vtu": "cannot be opened",
    }.items():
        with pytest.raises(MeshError, match=message):
            read_mesh(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_files(tmp_path):
    path = tmp_path / "a.vtu"
    path.write_text(vtu())
    path.chmod(0)
    with pytest.raises(MeshError, match=r"a\.vtu.*permissions"):
        read_mesh(path)


def test_forbidden_file_as_the_system_reports_it(tmp_path, monkeypatch):
    (tmp_path / "a.vtu").write_text(vtu())

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(MeshError, match=r"a\.vtu.*permissions.*Permission denied"):
        read_mesh(tmp_path / "a.vtu")


class Explosive:
    """A pickle that would leave a trace if it were ever loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_nothing_in_a_file_is_executed(tmp_path):
    trace = tmp_path / "trace"
    np.savez(tmp_path / "a.npz", pos=np.array([Explosive(trace)], dtype=object))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("pos.npy", pickle.dumps(Explosive(trace)))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("anything.txt", "no arrays")
    (tmp_path / "d.npz").write_bytes(pickle.dumps(Explosive(trace)))
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(MeshError, match=name[0]):
            read_mesh(tmp_path / name)
    assert not trace.exists()


def test_hdf5_that_promises_more_than_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.med", "w") as file:
        file.create_dataset("ENS_MAA/m/NOE/COO", (BILLION,), "f8", chunks=(1000,))
    with pytest.raises(MeshError, match=r"a\.med.*8,000,000,000 bytes of 'ENS_MAA/m/NOE/COO'"):
        read_mesh(tmp_path / "a.med")
    xdmf_series(tmp_path)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("big", (BILLION,), "f8", chunks=(1000,))
    with pytest.raises(MeshError, match=r"a\.h5.*8,000,000,000 bytes of 'big'"):
        read_mesh(tmp_path / "a.xdmf")


def test_gltf_that_promises_more_than_it_holds(tmp_path):
    files = trimesh.Scene(SPHERE).export(file_type="gltf")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tree = json.loads((tmp_path / "model.gltf").read_text())
    tree["accessors"][0]["count"] = BILLION
    (tmp_path / "model.gltf").write_text(json.dumps(tree))
    with pytest.raises(MeshError, match=r"model\.gltf.*1,000,000,000 items of an accessor"):
        read_mesh(tmp_path / "model.gltf")


def test_crash_and_hang_of_vtk_are_errors(tmp_path, monkeypatch):
    """VTK's own readers run in a process of their own."""
    pytest.importorskip("pyvista")
    (tmp_path / "a.foam").touch()
    (tmp_path / "constant" / "polyMesh").mkdir(parents=True)
    child = tmp_path / "child.py"
    child.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(vtk_process.vtk_child, "__file__", str(child))
    with pytest.raises(MeshError, match=r"a\.foam.*status -11"):
        read_mesh(tmp_path / "a.foam")
