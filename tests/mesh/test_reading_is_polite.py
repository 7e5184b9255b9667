"""Reading leaves libraries, output and warnings of the process alone, also from many threads."""

import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import meshio
import numpy as np
import pytest
import torch
import trimesh
from mesh_files import BILLION, GOOD, MSH2, bits, xdmf_series
from torch_geometric.data import Data

from lrsa_geo.mesh import MeshError, read_mesh, write_mesh

TABLES = """
import importlib, json, re
found = {}
for name in ("_common", "_mesh", "_vtk_common", "_helpers", "abaqus._abaqus", "vtk._vtk_42",
             "vtk._vtk_51", "gmsh.common", "nastran._nastran", "xdmf.common", "med._med"):
    module = importlib.import_module(f"meshio.{name}")
    found[name] = {key: repr(value) for key, value in vars(module).items()
                   if isinstance(value, (dict, list, tuple, set)) and not key.startswith("__")}
    found[name]["warn"] = getattr(getattr(module, "warn", None), "__module__", None)
print(re.sub(" at 0x[0-9a-f]+", "", json.dumps(found)))
"""
READ_ALL = """
import sys
from lrsa_geo.mesh import read_mesh, write_mesh
for path in sys.argv[1:]:
    write_mesh(path + ".out.vtk", read_mesh(path))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One good file for each of many formats."""
    folder = tmp_path_factory.mktemp("files")
    for name, content in GOOD.items():
        (folder / name).write_text(content)
    data = Data(pos=torch.rand(2000, 3), cells=torch.randint(0, 2000, (4000, 4)).int())
    for suffix in (".vtu", ".vtk", ".xdmf"):
        write_mesh(folder / f"w{suffix}", data, {"p": torch.rand(2000)})
    for suffix in (".stl", ".obj", ".glb"):
        trimesh.creation.icosphere(3).export(folder / f"t{suffix}")
    meshio.Mesh(np.eye(3), [("triangle", [[0, 1, 2]])]).write(folder / "m.med")
    np.savez(folder / "c.npz", pos=np.eye(3))
    xdmf_series(folder)
    kinds = (".h5",)
    return sorted(path for path in folder.iterdir() if path.suffix not in kinds)


def test_tables_of_meshio_are_those_of_a_fresh_interpreter(files):
    code = (
        "from lrsa_geo.mesh import read_mesh, write_mesh\nimport sys\nfor path in sys.argv[1:]:\n"
    )
    code += "    write_mesh(path + '.out.vtk', read_mesh(path))\n"
    before, after = (
        subprocess.run(
            [sys.executable, "-c", text + TABLES, *map(str, files)],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for text in ("", READ_ALL)
    )
    assert json.loads(before) == json.loads(after)
    assert json.loads(before)["_vtk_common"]["vtk_to_meshio_type"].find("voxel") < 0


def test_reading_in_threads(files, capfd):
    """Same meshes as one after the other; output and filters of warnings stay, nothing is said."""
    alone = [read_mesh(path) for path in files]
    streams, filters = (sys.stdout, sys.stderr), list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_mesh, files * 5))
    assert (sys.stdout, sys.stderr) == streams
    assert warnings.filters == filters
    assert capfd.readouterr() == ("", "")
    for one, other in zip(alone * 5, together, strict=True):
        assert bits(one.pos) == bits(other.pos)
        assert torch.equal(one.cells, other.cells) if "cells" in one else "cells" not in other
        assert one.point_data.keys() == other.point_data.keys()


def test_prints_of_other_threads_are_seen(files, capsys):
    """What a program says while it reads in other threads is not swallowed."""
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read_mesh, path) for path in files * 3]
        for number in range(200):
            print(number)
        for future in reading:
            future.result()
    assert capsys.readouterr().out.split() == [str(number) for number in range(200)]


def test_bad_files_in_threads_say_what_they_say_alone(tmp_path):
    (tmp_path / "unfinished.msh").write_text(MSH2.format(n=3, tag=3)[:-14])
    (tmp_path / "lie.msh").write_text(MSH2.format(n=BILLION, tag=3))
    (tmp_path / "good.msh").write_text(MSH2.format(n=3, tag=3))

    def message(name):
        try:
            return str(len(read_mesh(tmp_path / name).pos))
        except MeshError as error:
            return str(error)

    names = ["unfinished.msh", "lie.msh", "good.msh"] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(message, names))
    assert found == [message(name) for name in names]
    assert "not closed" in found[0]


@pytest.mark.parametrize("name", list(GOOD))
def test_reading_warns_of_nothing(files, name):
    path = next(path for path in files if path.name == name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_mesh(path)
