"""Series that are written: read back the same, by this library and by VTK; whole or not at all."""

import numpy as np
import pytest
import torch

from lrsa_geo.mesh import MeshData, MeshError, open_series, write_series

TIMES = [0.0, 0.1, 0.35]


def plate(**more):
    pos = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    return MeshData(pos=pos, cells=torch.tensor([[0, 1, 2], [0, 2, 3]]), **more)


def values(count=3):
    rows = torch.arange(4.0) + 10 * torch.arange(count)[:, None]
    return {"T": rows, "U": torch.stack([rows, -rows], 2)}


def assert_holds(path, wanted, times=TIMES):
    series = open_series(path)
    assert series.times.tolist() == times
    for step, mesh in enumerate(series):
        assert torch.equal(mesh.point_data["T"], wanted["T"][step])
        assert torch.equal(mesh.point_data["U"][:, :2], wanted["U"][step])
        assert torch.equal(mesh.pos.double(), plate().pos)
        assert mesh.cells.tolist() == plate().cells.tolist()


@pytest.mark.parametrize("suffix", [".pvd", ".xdmf"])
@pytest.mark.parametrize("how", ["tensors", "iterators", "steps"])
def test_round_trip(tmp_path, monkeypatch, suffix, how):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    wanted = values()
    fields = {
        "tensors": wanted,
        "iterators": {name: (step for step in rows) for name, rows in wanted.items()},
        "steps": ({name: rows[i] for name, rows in wanted.items()} for i in range(3)),
    }[how]
    path = tmp_path / f"out{suffix}"
    write_series(path, plate(), TIMES, fields)
    assert_holds(path, wanted)
    assert not list(elsewhere.iterdir())
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in tmp_path.glob("out*"):
        file.rename(moved / file.name)
    assert_holds(moved / path.name, wanted)  # it refers to nothing by its full name


def test_vtk_plays_it(tmp_path):
    pv = pytest.importorskip("pyvista")
    write_series(
        tmp_path / "a b&c.pvd", plate(), torch.tensor(TIMES, dtype=torch.float64), values()
    )
    reader = pv.PVDReader(tmp_path / "a b&c.pvd")
    assert reader.time_values == TIMES
    for step in range(3):
        reader.set_active_time_point(step)
        grid = reader.read()[0]
        assert grid["T"].tolist() == values()["T"][step].tolist()
        assert grid["U"].shape == (4, 3)


def test_a_mesh_that_moves(tmp_path):
    positions = plate().pos + torch.arange(3.0)[:, None, None]
    write_series(tmp_path / "a.pvd", plate(), TIMES, {}, positions)
    for step, mesh in enumerate(open_series(tmp_path / "a.pvd")):
        assert torch.equal(mesh.pos, positions[step])
    with pytest.raises(MeshError, match=r"a\.xdmf: a mesh that moves is written as \.pvd alone"):
        write_series(tmp_path / "a.xdmf", plate(), TIMES, {}, positions)
    with pytest.raises(
        MeshError, match=r"b\.pvd.*positions have shape \[3, 2\], expected \[4, 2\]"
    ):
        write_series(tmp_path / "b.pvd", plate(), TIMES, {}, positions[:, :3])


def test_own_fields_of_the_mesh_are_in_every_step(tmp_path):
    mesh = plate(point_data={"k": torch.arange(4)}, cell_data={"c": torch.arange(2)})
    for name in ("a.pvd", "a.xdmf"):
        write_series(tmp_path / name, mesh, TIMES, values())
        for step in open_series(tmp_path / name):
            assert step.point_data["k"].tolist() == [0, 1, 2, 3]
            assert step.cell_data["c"].tolist() == [0, 1]


def test_a_shorter_series_leaves_no_steps_of_the_longer_one(tmp_path):
    write_series(tmp_path / "a.pvd", plate(), range(12), values(12))
    write_series(tmp_path / "a.pvd", plate(), TIMES, values())
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == [
        f"a_{step:04d}.vtu" for step in range(3)
    ]
    assert_holds(tmp_path / "a.pvd", values())


@pytest.mark.parametrize("suffix", [".pvd", ".xdmf"])
def test_a_failure_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_series(path, plate(), TIMES, values())
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def breaks():
        yield {"T": torch.zeros(4)}
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        write_series(path, plate(), TIMES, breaks())
    for fields, message in (
        ({"T": values()["T"][:2]}, r"field 'T': 2 steps, expected 3"),
        ({"T": values(4)["T"]}, r"field 'T': more than 3 steps"),
        (iter([{}]), r"the fields: 1 steps, expected 3"),
        ({"T": torch.zeros(3, 5)}, r"field 'T' has shape \[5\], expected 4 rows"),
    ):
        with pytest.raises(MeshError, match=rf"a\{suffix}: .*{message}"):
            write_series(path, plate(), TIMES, fields)
    for times in ([0, 1, 1], [0, 2, 1], [], [0, np.nan, 1]):
        with pytest.raises(MeshError, match=rf"a\{suffix}: .*time"):
            write_series(path, plate(), times, values())
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before


def test_a_folder_of_other_files_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").touch()
    with pytest.raises(MeshError, match=r"a\.pvd: its steps go into .*other files \(thesis\.tex\)"):
        write_series(tmp_path / "a.pvd", plate(), TIMES, values())
    with pytest.raises(MeshError, match=r"a\.vtu: cannot write a series as '\.vtu'"):
        write_series(tmp_path / "a.vtu", plate(), TIMES, values())


def test_a_long_rollout_is_not_held(tmp_path):
    """Each step is written before the next one is asked for."""
    alive = []

    def rollout():
        for step in range(20):
            state = torch.full((4,), float(step))
            alive.append(len(list(tmp_path.rglob("*.vtu"))))
            yield {"T": state}

    write_series(tmp_path / "a.pvd", plate(), range(20), rollout())
    assert alive == list(range(20))
