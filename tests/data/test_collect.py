"""From mesh files to a store: right columns in right places, whatever the files hold."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.data import CondTable, MeshStore, collect, reader_for
from lrsa_geo.mesh import DistanceToBoundary, Field, MeshError, NodeMeasure, read_mesh, write_mesh


def triangles(nodes: int = 30, seed: int = 0) -> Data:
    """Delaunay triangles of random points."""
    from scipy.spatial import Delaunay

    pos = np.random.default_rng(seed).random((nodes, 2))
    cells = Delaunay(pos).simplices.astype(np.int32)
    return Data(
        pos=torch.from_numpy(pos),
        cells=torch.from_numpy(cells),
        cell_types=torch.full((len(cells),), 5, dtype=torch.int8),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five meshes of different size: node fields p and U, a cell field k, markers."""
    for number in range(5):
        mesh = triangles(20 + 7 * number, number)
        x, y = mesh.pos.T
        mesh.cell_data = {"k": torch.full((len(mesh.cells),), float(number))}
        fields = {
            "p": 1000 * number + x,
            "U": torch.stack([x, y], 1),
            "wall": (x > 0.5).to(torch.int32),
        }
        write_mesh(tmp_path / f"case{number}.vtu", mesh, fields)
    return tmp_path


def cases(folder: Path) -> list[Path]:
    return sorted(folder.glob("case*.vtu"))


def test_every_column_is_where_the_fields_say(folder):
    store, failures = collect(
        cases(folder), folder / "mine.h5", inputs=["U [m/s]"], targets=["p [Pa]", "k"], processes=0
    )
    assert not failures
    assert store.fields == {
        "x": (Field("U", "m/s", ("x", "y")),),
        "y": (Field("p", "Pa"), Field("k")),
    }
    for number, data in enumerate(store):
        mesh = triangles(20 + 7 * number, number)
        assert torch.equal(data.pos, mesh.pos)  # float64, as in the file
        torch.testing.assert_close(data.x, mesh.pos.float())
        torch.testing.assert_close(data.y[:, 0], (1000 * number + mesh.pos[:, 0]).float())
        torch.testing.assert_close(data.y[:, 1], torch.full((len(data.pos),), float(number)))
        assert torch.equal(data.cells, mesh.cells)
        torch.testing.assert_close(data.measure, NodeMeasure()(mesh).measure.float())
        assert 0 < int(data.boundary.sum()) < len(data.pos)
        assert int(data.sample) == number
    assert [Path(file).name for file in store.provenance["files"]] == [
        f"case{i}.vtu" for i in range(5)
    ]
    assert not list(folder.glob("*.parts"))


def test_geometry_as_input_and_own_markers(folder):
    inputs = ["boundary_distance", "boundary_offset"]
    store, _ = collect(
        cases(folder)[:1],
        folder / "mine.h5",
        inputs=inputs,
        targets=["p"],
        boundary="wall",
        processes=0,
    )
    data = store[0]
    expected = DistanceToBoundary()(triangles(20, 0))
    torch.testing.assert_close(data.x[:, 0], expected.boundary_distance.float())
    torch.testing.assert_close(data.x[:, 1:], expected.boundary_offset.float())
    assert torch.equal(data.boundary, (triangles(20, 0).pos[:, 0] > 0.5).to(torch.int8))


def test_parameters_come_from_the_row_of_the_file(folder):
    (folder / "table.csv").write_text(
        "file,mach,angle [deg]\ncase3.vtu,0.3,1\ncase0,0.1,2\ncase1.vtu,0.2,3\n"
    )
    table = CondTable.read(folder / "table.csv")
    files = [folder / "case0.vtu", folder / "case3.vtu"]
    store, _ = collect(files, folder / "mine.h5", targets=["p"], table=table, processes=0)
    assert store.fields["cond"] == (Field("mach"), Field("angle", "deg"))
    np.testing.assert_allclose(store.read("cond"), [[0.1, 2], [0.3, 1]], rtol=1e-6)
    with pytest.raises(MeshError, match=r"case2.vtu: .*table.csv has no row for it"):
        collect(cases(folder), folder / "all.h5", targets=["p"], table=table, processes=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,a\n", "expected a first line"),
        ("file,a\ncase0.vtu,x\n", r"row 2 \('case0.vtu'\): could not convert"),
        ("file,a\ncase0.vtu,nan\n", "NaN or infinity"),
        ("file,a\ncase0.vtu,1,2\n", "row 2 has 3 entries"),
        ("file,a\ncase0.vtu,1\ncase0.vtu,2\n", "twice"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        CondTable.read(tmp_path / "t.csv")


def test_cells_of_different_width_share_a_table(tmp_path):
    square = Data(pos=torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
    square.cells, square.cell_types = torch.tensor([[0, 1, 2, 3]]), torch.tensor([9])
    write_mesh(tmp_path / "a.vtu", triangles(), {"p": torch.zeros(30)})
    write_mesh(tmp_path / "b.vtu", square, {"p": torch.ones(4)})
    store, _ = collect(
        [tmp_path / "a.vtu", tmp_path / "b.vtu"], tmp_path / "s.h5", targets=["p"], processes=0
    )
    assert (store[0].cells[:, 3] == -1).all()
    assert store[1].cells.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("first", [False, True])
def test_a_point_cloud_among_meshes_is_refused_by_name(folder, first):
    """It would cost all others their cells and markers."""
    cloud = folder / ("case+.npz" if first else "cloud.npz")
    np.savez(cloud, pos=np.random.default_rng(0).random((9, 2)), p=np.zeros(9))
    files = [cloud, *cases(folder)] if first else [*cases(folder), cloud]
    options = {"targets": ["p"], "processes": 0}
    message = (
        rf"{re.escape(cloud.name)}: has no cells and no boundary, unlike 5 of the 6 files.*vtu"
    )
    with pytest.raises(MeshError, match=message):
        collect(files, folder / "s.h5", **options)
    assert not (folder / "s.h5").exists()
    store, failures = collect(files, folder / "s.h5", skip_bad=True, **options)
    assert len(store) == 5
    assert {"cells", "cell_types", "boundary"} < set(store.arrays)
    assert [Path(files[failure.index]) for failure in failures] == [cloud]


def test_point_clouds_alone_make_a_store(tmp_path):
    for number in range(2):
        pos = np.random.default_rng(number).random((9, 2))
        np.savez(tmp_path / f"{number}.npz", pos=pos, p=np.zeros(9))
    store, _ = collect(
        sorted(tmp_path.glob("*.npz")), tmp_path / "s.h5", targets=["p"], processes=0
    )
    assert "boundary" not in store.arrays
    assert (store[1].measure > 0).all()


def test_a_bad_file_stops_or_is_left_out(folder):
    (folder / "case2.vtu").write_bytes((folder / "case2.vtu").read_bytes()[:200])
    with pytest.raises(MeshError, match=r"case2.vtu: .*--skip-bad leaves such files out"):
        collect(cases(folder), folder / "mine.h5", targets=["p"], processes=0)
    assert not (folder / "mine.h5").exists()
    store, failures = collect(
        cases(folder), folder / "mine.h5", targets=["p"], skip_bad=True, processes=0
    )
    assert store.read("sample").tolist() == [0, 1, 3, 4]
    assert [failure.index for failure in failures] == [2]
    assert "case2.vtu" in next(iter(store.provenance["skipped"]))


def test_the_first_file_may_be_bad_too(folder):
    (folder / "case0.vtu").write_text("")
    store, failures = collect(
        cases(folder), folder / "mine.h5", targets=["p"], skip_bad=True, processes=0
    )
    assert store.read("sample").tolist() == [1, 2, 3, 4]
    assert "0 bytes" in failures[0].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ["P"]}, r"has no field 'P', it has .*p.*; did you mean 'p'\?"),
        ({"targets": ["boundary_distance"]}, "has no field 'boundary_distance'"),
        ({"targets": ["p"], "boundary": "p"}, "field 'p' cannot mark the boundary"),
    ],
)
def test_fields_that_do_not_fit(folder, change, message):
    with pytest.raises(MeshError, match=message):
        collect(cases(folder)[3:], folder / "mine.h5", **change, processes=0)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    values = torch.zeros(30)
    values[7] = torch.nan
    write_mesh(tmp_path / "a.vtu", triangles(), {"p": values})
    with pytest.raises(MeshError, match="field 'p' is NaN or infinite at 1 of 30 nodes, the first"):
        collect([tmp_path / "a.vtu"], tmp_path / "s.h5", targets=["p"], processes=0)


def test_a_scalar_that_becomes_a_vector_is_refused(tmp_path):
    mesh = triangles()
    reader = reader_for(_with(mesh, p=torch.zeros(30)), targets=["p"])
    with pytest.raises(MeshError, match="field 'p' has 3 components, expected 1 as in the first"):
        reader.graph(_with(mesh, p=torch.zeros(30, 3)))
    reader = reader_for(_with(mesh, u=torch.ones(30, 2)), targets=["u"])
    with pytest.raises(MeshError, match="z component that is not 0"):
        reader.graph(_with(mesh, u=torch.ones(30, 3)))


def _with(mesh: Data, **fields: torch.Tensor) -> Data:
    mesh = mesh.clone()
    mesh.point_data, mesh.cell_data = fields, {}
    return mesh


@pytest.mark.parametrize(
    ("width", "components"),
    [
        (2, ("x", "y")),
        (3, ("x", "y", "z")),
        (6, ("xx", "yy", "zz", "xy", "yz", "xz")),
        (5, ("0", "1", "2", "3", "4")),
    ],
)
def test_components_are_told_by_their_number(width, components):
    reader = reader_for(_with(triangles(), f=torch.rand(30, width) + 1), targets=["f"])
    assert reader.targets[0].components == components
    tensor = reader_for(_with(triangles(), f=torch.rand(30, 3, 3)), targets=["f [Pa]"])
    assert tensor.targets[0].components[:2] == ("xx", "xy")
    assert tensor.targets[0].unit == "Pa"


def test_a_name_with_brackets_of_its_own_wins():
    reader = reader_for(_with(triangles(), **{"p [Pa]": torch.zeros(30)}), targets=["p [Pa]"])
    assert reader.targets == (Field("p [Pa]", "1"),)


SCRIPT = """
import sys
from pathlib import Path
from lrsa_geo.data import collect
if __name__ == "__main__":
    collect(sorted(Path(sys.argv[1]).glob("case*.vtu")), sys.argv[2], targets=["p"], processes=1)
"""


def test_a_killed_collection_goes_on(folder):
    for number in range(5, 40):
        shutil.copy(folder / "case4.vtu", folder / f"case{number}.vtu")
    output, script = folder / "mine.h5", folder / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, folder, output],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    parts = folder / "mine.h5.parts"
    while len(list(parts.glob("0*.pt"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("0*.pt")}
    # What is there already is not read again: its files may even be gone bad meanwhile.
    store, _ = collect(cases(folder), output, targets=["p"], processes=0)
    assert len(store) == 40
    assert len(kept) >= 3
    assert not parts.exists()


def test_the_store_trains_the_reader_that_made_it(folder):
    """What predicts reads a file as what trained did."""
    store, _ = collect(cases(folder), folder / "s.h5", inputs=["U"], targets=["p"], processes=0)
    reader = reader_for(read_mesh(folder / "case1.vtu"), ["U"], ["p"])
    _, data = reader.read(folder / "case1.vtu")
    for array in store.arrays:
        if array != "sample":
            assert torch.equal(data[array], MeshStore(store.path)[1][array]), array
