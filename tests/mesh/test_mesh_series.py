"""Series of meshes: times, steps and values of every kind, and what is refused.

Kinds: PVD with VTU, PVTU and several parts; numbered files with ParaView's list, with times of
their own and with neither; XDMF of meshio, static and moving; Exodus; EnSight; OpenFOAM; VTKHDF;
Gmsh; MED; FRD. Refused: missing files, gaps, times that repeat or run back, meshes that change.
"""

import re
import time

import h5py
import meshio
import numpy as np
import pytest
import torch
from own_places import CUBE, exodus
from series_files import (
    POS,
    TRIANGLES,
    ensight,
    fields,
    openfoam,
    paraview_series,
    pvd,
    pvd_of_vtu,
    pvtu,
    vtu,
)
from test_med import field as of_med
from test_med import med
from test_results_of_solvers import TETRA, frd
from test_vtk_family import series as xdmf_of_functions

from lrsa_geo.mesh import MeshError, open_series, read_mesh, series_files

pytest.importorskip("pyvista")
TIMES = [0.0, 0.25, 1.5]


def assert_is_series(series, times=TIMES, name="T"):
    """Its times, and values that grow by ten with each step, in whatever way it is read."""
    assert series.times.dtype == torch.float64
    assert series.times.tolist() == pytest.approx(list(times), abs=0)
    assert len(series) == len(times)
    found = [mesh.point_data[name][0].item() for mesh in series]
    assert found == [10 * step for step in range(len(times))]
    for step in (-1, 1):
        mesh = series.mesh(step)
        assert mesh.point_data[name][0] == 10 * (step % len(times))
        assert torch.equal(mesh.cells, series.first.cells)
    with pytest.raises(MeshError, match=rf"steps 0 to {len(times) - 1}, got `step` {len(times)}"):
        series.mesh(len(times))


def test_pvd_of_vtu(tmp_path):
    path = pvd_of_vtu(tmp_path, TIMES)
    assert_is_series(open_series(path))
    assert read_mesh(path, 2).times.tolist() == TIMES
    assert read_mesh(tmp_path / "steps/s0.vtu").get("times") is None
    mesh = open_series(path).mesh(2)
    for name, values in fields(2).items():
        assert mesh.point_data[name].numpy() == pytest.approx(values)


def test_numbered_files_in_natural_order(tmp_path):
    files = [vtu(tmp_path / f"step_{i}.vtu", i) for i in range(12)]
    vtu(tmp_path / "other_1.vtu", 1)
    assert_is_series(open_series(tmp_path / "step_*.vtu"), range(12))
    assert_is_series(open_series(list(reversed(files))), range(12))
    with pytest.raises(MeshError, match=r"step_3\.vtu: is no series.*pattern of all files"):
        open_series(files[3])


@pytest.mark.parametrize("suffix", [".vtu", ".vtp", ".vtk"])
def test_times_that_files_say(tmp_path, suffix):
    """Also with a gap among the numbers."""
    for step, at in enumerate(TIMES):
        vtu(tmp_path / f"s.{[0, 10, 35][step]:04d}{suffix}", step, time=at)
    assert_is_series(open_series(tmp_path / f"s.*{suffix}"))


def test_times_of_paraviews_list(tmp_path):
    """Which count more than those of the files."""
    names = [vtu(tmp_path / f"s_{i}.vtu", i, time=i).name for i in range(3)]
    listed = paraview_series(tmp_path / "s.vtu.series", zip(names, TIMES, strict=True))
    assert_is_series(open_series(tmp_path / "s_*.vtu"))
    assert_is_series(open_series(listed))
    vtu(tmp_path / "s_3.vtu", 3)
    with pytest.raises(MeshError, match=r"s\.vtu\.series lists some of the files and not s_3\.vtu"):
        open_series(tmp_path / "s_*.vtu")


def test_which_files_are_one_series(tmp_path):
    for case in ("case2", "case10"):
        for step in range(3):
            vtu(tmp_path / case / f"step_{step}.vtu", step)
    path = pvd(tmp_path / "case2" / "all.pvd", [(i, f"step_{i}.vtu") for i in range(3)])
    files = sorted(tmp_path.glob("case*/step_*.vtu"))
    assert list(series_files(files)) == [
        str(tmp_path / "case10/step_*.vtu"),
        str(tmp_path / "case2/step_*.vtu"),
    ]
    assert list(series_files([*files, path])) == [str(tmp_path / "case10/step_*.vtu"), str(path)]
    assert series_files(["a/m.vtu", "r1.xdmf", "r2.xdmf"]).keys() == {
        "a/m.vtu",
        "r1.xdmf",
        "r2.xdmf",
    }


def test_xdmf_of_meshio(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where meshio writes the arrays
    with meshio.xdmf.TimeSeriesWriter("a.xdmf") as writer:
        writer.write_points_cells(POS, [("triangle", np.array(TRIANGLES))])
        for step, at in enumerate(TIMES):
            writer.write_data(at, point_data=fields(step), cell_data={"k": [np.arange(2.0)]})
    assert_is_series(open_series(tmp_path / "a.xdmf"))


def test_xdmf_whose_mesh_moves(tmp_path):
    series = open_series(
        xdmf_of_functions(tmp_path / "a.xdmf", [("u", 0, 3, 0), ("v", 5, 3, 0)], moves=True)
    )
    assert_is_series(series, [0, 1, 2], "u")
    assert [mesh.pos[0].tolist() for mesh in series] == [[0, 0], [1, 1], [2, 2]]
    assert series.mesh(2).point_data["v"][0] == 25


@pytest.mark.parametrize(
    ("kind", "numbers"), [("List", "0 0.25 1.5"), ("HyperSlab", "0.5 0.25 3"), ("", "")]
)
def test_times_of_a_collection_in_xdmf(tmp_path, kind, numbers):
    path = xdmf_of_functions(tmp_path / "a.xdmf", [("u", 0, 3, 0)])
    text = re.sub(r"<Time [^>]*/>", "", path.read_text())
    given = (
        f'<Time TimeType="{kind}"><DataItem Format="XML" Dimensions="3">{numbers}</DataItem></Time>'
    )
    head = 'CollectionType="Temporal">'
    path.write_text(text.replace(head, head + (given if kind else "")))
    wanted = {"List": TIMES, "HyperSlab": [0.5, 0.75, 1.0], "": [0, 1, 2]}[kind]
    assert_is_series(open_series(path), wanted, "u")


def test_exodus(tmp_path):
    values = np.arange(8.0) + 10 * np.arange(3)[:, None]
    exodus(tmp_path / "a.e", CUBE, [("HEX8", [range(8)])], [("T", values)], steps=TIMES)
    assert_is_series(open_series(tmp_path / "a.e"))


def test_ensight(tmp_path):
    assert_is_series(open_series(ensight(tmp_path, TIMES)))


def test_openfoam(tmp_path):
    series = open_series(openfoam(tmp_path, [0, 0.25, 1.5]))
    assert series.times.tolist() == TIMES
    assert [mesh.cell_data["T"].tolist() for mesh in series] == [[0], [10], [20]]


def test_vtkhdf(tmp_path):
    """As the standard of VTK has it: parts of steps, and where their values begin."""
    with h5py.File(tmp_path / "a.vtkhdf", "w") as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = (2, 0)
        root.attrs.create("Type", b"UnstructuredGrid", dtype=h5py.string_dtype("ascii", 16))
        for name, count in (("NumberOfPoints", 4), ("NumberOfCells", 2)):
            root[name] = np.array([count])
        root["NumberOfConnectivityIds"] = np.array([6])
        root["Points"], root["Connectivity"] = POS, np.ravel(TRIANGLES)
        root["Offsets"], root["Types"] = np.array([0, 3, 6]), np.array([5, 5], np.uint8)
        root["PointData/T"] = np.concatenate([fields(step)["T"] for step in range(3)])
        steps = root.create_group("Steps")
        steps.attrs["NSteps"] = 3
        steps["Values"] = np.array(TIMES)
        steps["PartOffsets"] = steps["NumberOfParts"] = np.array([0, 0, 0])
        del steps["NumberOfParts"]
        steps["NumberOfParts"] = np.array([1, 1, 1])
        for name in ("PointOffsets", "CellOffsets", "ConnectivityIdOffsets"):
            shape = (3,) if name == "PointOffsets" else (3, 1)
            steps[name] = np.zeros(shape, int)
        steps["PointDataOffsets/T"] = np.array([0, 4, 8])
    assert_is_series(open_series(tmp_path / "a.vtkhdf"))


def test_frd(tmp_path):
    rows = [
        (i + 1, at, "NT", ("T",), {n: [n + 10.0 * i] for n in range(4)})
        for i, at in enumerate(TIMES)
    ]
    path = frd(tmp_path / "a.frd", 3, np.array(TETRA, float), rows)
    assert_is_series(open_series(path), name="NT")


@pytest.mark.parametrize("with_times", [True, False])
def test_med(tmp_path, with_times):
    """Without times the steps have their numbers."""
    path = med(tmp_path / "a.med")
    for step in range(3):
        of_med(path, "T", "NOE", np.arange(5.0) + 10 * step, 5 * step)
        with h5py.File(path, "a") as file:
            file[f"CHA/T/step {5 * step}"].attrs["PDT"] = TIMES[step] if with_times else 0.0
    assert_is_series(open_series(path), TIMES if with_times else [0, 5, 10])


def test_views_of_gmsh(tmp_path):
    gmsh = pytest.importorskip("gmsh")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.7)
        gmsh.model.mesh.generate(2)
        tags = gmsh.model.mesh.getNodes()[0]
        view = gmsh.view.add("T")
        name = gmsh.model.getCurrent()
        for step, at in enumerate(TIMES):
            values = [[10.0 * step]] * len(tags)
            gmsh.view.addModelData(view, step, name, "NodeData", tags, values, at)
        gmsh.write(str(tmp_path / "a.msh"))
        gmsh.view.write(view, str(tmp_path / "a.msh"), append=True)
    finally:
        gmsh.finalize()
    assert_is_series(open_series(tmp_path / "a.msh"))


# --- Refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 0.5], r"time 0\.5 of step 2 runs back behind the time 1 of step 1"),
        ([0, 1, 1], r"lists s1\.vtu and s2\.vtu for the time 1"),
        (["a", 1, 2], r"lists steps/s0\.vtu at the time 'a', expected a number"),
    ],
)
def test_times_that_do_not_grow(tmp_path, times, message):
    with pytest.raises(MeshError, match=rf"case\.pvd: .*{message}"):
        open_series(pvd_of_vtu(tmp_path, times))


def test_times_of_files_that_repeat(tmp_path):
    for step, at in enumerate([0, 0.5, 0.5]):
        vtu(tmp_path / f"s{step}.vtu", step, time=at)
    with pytest.raises(MeshError, match=r"s\*\.vtu: the time 0\.5 of step 2 repeats"):
        open_series(tmp_path / "s*.vtu")


def test_a_file_that_is_missing(tmp_path):
    path = pvd_of_vtu(tmp_path, TIMES)
    (tmp_path / "steps/s1.vtu").unlink()
    with pytest.raises(
        MeshError, match=r"case\.pvd: lists s1\.vtu for the time 0\.25.*no such file"
    ):
        open_series(path)
    for step in (2, 4, 8, 10):
        vtu(tmp_path / f"n{step}.vtu", step)
    with pytest.raises(MeshError, match=r"between n4\.vtu and n8\.vtu files are missing"):
        open_series(tmp_path / "n*.vtu")


def test_some_files_without_a_time(tmp_path):
    for step in range(3):
        vtu(tmp_path / f"s{step}.vtu", step, time=None if step == 1 else step)
    with pytest.raises(
        MeshError, match=r"1 of 3 files have no time \(TimeValue\), such as s1\.vtu"
    ):
        open_series(tmp_path / "s*.vtu")


def test_numbers_that_may_be_decimals(tmp_path):
    for step in range(3):
        vtu(tmp_path / f"t0.{step}.vtu", step)
    with pytest.raises(MeshError, match=r"t0\.0\.vtu may be number 0 or a time with decimals"):
        open_series(tmp_path / "t0.*.vtu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": [[0, 1, 3], [1, 2, 3]]}, "has other cells than step 0"),
        ({"cells": [[0, 1, 2, 3]]}, "has other cells than step 0"),
        (
            {"pos": np.vstack([POS, [[2.0, 0, 0]]])},
            r"positions have shape \[5, 2\], expected \[4, 2\]",
        ),
        ({"pos": POS + [[0, 0, 1]] * np.eye(4)[:, :1]}, r".*\[4, 3\].*a plane mesh that leaves"),
    ],
)
def test_a_mesh_that_changes(tmp_path, change, message):
    path = pvd_of_vtu(tmp_path, TIMES)
    vtu(tmp_path / "steps/s2.vtu", 2, **change)
    series = open_series(path)
    assert len(list(series.meshes([0, 1]))) == 2
    with pytest.raises(MeshError, match=rf"case\.pvd, step 2 at time 1\.5: {message}"):
        list(series)


def test_a_step_that_happens_to_be_flat(tmp_path):
    path = pvd_of_vtu(tmp_path, TIMES)
    for step in (0, 2):
        vtu(tmp_path / f"steps/s{step}.vtu", step, pos=POS + np.array([0, 0, 1.0]))
    assert [mesh.pos[0, 2].item() for mesh in open_series(path)] == [1, 0, 1]


def test_a_damaged_step_is_named(tmp_path):
    path = pvd_of_vtu(tmp_path, TIMES)
    file = tmp_path / "steps/s1.vtu"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(MeshError, match=r"case\.pvd, step 1 at time 0\.25: refers to .*s1\.vtu"):
        list(open_series(path))


def test_functions_of_unlike_steps(tmp_path):
    path = xdmf_of_functions(tmp_path / "a.xdmf", [("u", 0, 3, 0), ("v", 0, 2, 0)])
    with pytest.raises(MeshError, match=r"a\.xdmf: has series of 2 and 3 steps"):
        open_series(path)


# --- Pieces and parts ----------------------------------------------------------------------------

LEFT, RIGHT = POS, POS + np.array([1.0, 0, 0])  # they share two nodes


def halves(folder, step, right=None):
    for name, pos in (("l", LEFT), ("r", RIGHT)):
        vtu(folder / f"{name}{step}.vtu", step, pos=pos, extra={"T": 10 * step + pos[:, 0]})
    if right is not None:
        vtu(folder / f"r{step}.vtu", step, pos=RIGHT, extra={"T": right})
    return [f"l{step}.vtu", f"r{step}.vtu"]


def assert_is_whole(mesh, step):
    assert (len(mesh.pos), len(mesh.cells)) == (6, 4)
    assert mesh.point_data["T"].tolist() == pytest.approx((10 * step + mesh.pos[:, 0]).tolist())
    assert len(np.unique(mesh.pos.numpy(), axis=0)) == 6


@pytest.mark.parametrize("as_pieces", [False, True])
def test_nodes_between_pieces_become_one(tmp_path, as_pieces):
    """Of a PVTU, and of the parts of a step of a PVD."""
    entries = []
    for step, at in enumerate(TIMES):
        names = halves(tmp_path, step)
        if as_pieces:
            names = [pvtu(tmp_path / f"w{step}.pvtu", names).name]
            assert_is_whole(read_mesh(tmp_path / names[0]), step)
        entries += [(at, part, name) for part, name in enumerate(names)]
    series = open_series(pvd(tmp_path / "a.pvd", entries))
    assert series.times.tolist() == TIMES
    for step, mesh in enumerate(series):
        assert_is_whole(mesh, step)


def test_nodes_with_other_values_stay_apart(tmp_path):
    """As at a crack along the border, with a word about it."""
    names = halves(tmp_path, 0, right=RIGHT[:, 0] + 1)
    with pytest.warns(UserWarning, match=r"w\.pvtu: 4 nodes lie where its parts meet"):
        assert len(read_mesh(pvtu(tmp_path / "w.pvtu", names)).pos) == 8


def test_a_piece_that_is_missing(tmp_path):
    names = halves(tmp_path, 0)
    path = pvtu(tmp_path / "w.pvtu", [*names, "x.vtu"])
    with pytest.raises(MeshError, match=r"w\.pvtu: refers to .*x\.vtu: no such file"):
        read_mesh(path)


def test_a_part_that_a_step_lacks(tmp_path):
    entries = [(0, 0, "l0.vtu"), (0, 1, "r0.vtu"), (1, 0, "l1.vtu")]
    halves(tmp_path, 0), halves(tmp_path, 1)
    series = open_series(pvd(tmp_path / "a.pvd", entries))
    with pytest.raises(MeshError, match=r"a\.pvd, step 1.*lists 1 parts .* expected the 2 parts"):
        series.mesh(1)


def test_many_steps_are_read_fast(tmp_path):
    """200 steps of 2,000 nodes: with a process for each step this would take minutes."""
    x, y = np.meshgrid(np.arange(50.0), np.arange(40.0))
    pos = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    corner = (np.arange(49) + 50 * np.arange(39)[:, None]).ravel()
    cells = np.stack([corner, corner + 1, corner + 51, corner + 50], 1)
    path = pvd_of_vtu(tmp_path, range(200), pos=pos, cells=cells)
    start = time.perf_counter()
    assert sum(1 for _ in open_series(path)) == 200
    assert time.perf_counter() - start < 30
