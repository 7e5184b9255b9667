"""Real files with random damage are read or refused."""

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mesh_files import TEMPERATURE, vtu, xdmf_series
from own_places import CUBE, exodus
from torch_geometric.data import Data

from lrsa_geo.mesh import MeshError, read_mesh, write_mesh


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, gmsh_mesh):
    """Real files of the formats that are read in this process, name -> bytes."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = [
        gmsh_mesh("2a.msh", version=2.2)[0],
        gmsh_mesh("2b.msh", version=2.2, binary=True)[0],
        gmsh_mesh("4a.msh", version=4.1)[0],
        gmsh_mesh("4b.msh", version=4.1, binary=True)[0],
        *(gmsh_mesh(f"g{suffix}")[0] for suffix in (".vtk", ".inp", ".bdf", ".med", ".stl")),
    ]
    for suffix in (".stl", ".ply", ".obj", ".off", ".glb"):
        paths.append(folder / f"t{suffix}")
        trimesh.creation.box().export(paths[-1])
    cloud = np.random.default_rng(0).random((9, 3))
    np.savez(folder / "c.npz", pos=cloud, T=cloud[:, 0])
    np.savetxt(folder / "c.xyz", cloud)
    np.savetxt(folder / "c.csv", cloud, delimiter=",", header="x,y,z", comments="")
    paths += [folder / f"c{suffix}" for suffix in (".npz", ".xyz", ".csv")]
    data = Data(pos=torch.rand(9, 3), cells=torch.arange(8).reshape(2, 4))
    for name in ("w.vtu", "w.vtk"):
        write_mesh(folder / name, data, {"T": torch.rand(9), "v": torch.rand(9, 3)})
        paths.append(folder / name)
    (folder / "x.vtu").write_text(vtu(data=TEMPERATURE.format("1 2 3")))
    paths += [folder / "x.vtu", xdmf_series(folder)]
    (folder / "p.inp").write_text(
        "*PART, NAME=A\n*NODE\n1, 0, 0\n2, 1, 0\n** c\n3, 0, 1\n*ELEMENT, TYPE=CPS3\n1, 1, 2,\n3\n"
        "*END PART\n*INSTANCE, NAME=a, PART=A\n1, 2, 3\n0, 0, 0, 0, 0, 1, 90\n*END INSTANCE\n"
    )
    (folder / "c.bdf").write_text(
        "BEGIN BULK\nCORD2C,1,0,0.,0.,0.,0.,0.,1.\n,1.,0.,0.\nGRID,1,1,1.,0.,0.\n"
        "GRID,2,1,2.,0.,0.\n"
        "GRID*                  3               1              2.             90.\n"
        "*                     0.\nCTRIA3         1       1       1       2       3\nENDDATA\n"
    )
    exodus(folder / "e.e", CUBE, [("HEX8", [range(8)])], [("T", [[1] * 8, [2] * 8])], (), (0, 1))
    paths += [folder / name for name in ("p.inp", "c.bdf", "e.e")]
    contents = {path.name: path.read_bytes() for path in paths}
    for path in paths:
        assert read_mesh(path).num_nodes
    return contents


DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("flip"), st.floats(0, 1), st.binary(min_size=1, max_size=3)),
    st.tuples(st.just("delete"), st.floats(0, 1), st.binary(min_size=1, max_size=20)),
    st.tuples(
        st.just("insert"), st.floats(0, 1), st.text("0123456789 -\n", min_size=1).map(str.encode)
    ),
)


@given(choice=st.integers(0, 10**6), damage=st.lists(DAMAGE, min_size=1, max_size=3))
@settings(
    max_examples=max(600, settings().max_examples),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_files_are_read_or_refused(tmp_path, seeds, choice, damage):
    """More of it, with statistics: add `--hypothesis-profile fuzz --hypothesis-show-statistics`."""
    name = sorted(seeds)[choice % len(seeds)]
    content = bytearray(seeds[name])
    for kind, where, what in damage:
        start = int(where * len(content))
        if kind == "cut":
            content = content[: max(start, 1)]
        elif kind == "insert":
            content[start:start] = what
        else:
            content[start : start + len(what)] = what if kind == "flip" else b""
    path = tmp_path / name
    path.write_bytes(content or b"\0")
    try:
        data = read_mesh(path)
    except MeshError as refused:
        event("refused")
        message = str(refused)
    else:
        event("read")
        message = f"{name} is read"
        assert torch.isfinite(data.pos).all()
    assert name in message
