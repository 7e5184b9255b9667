"""Series of mesh files as graphs of a store, and what is refused by step and time.

Kinds: PVD, numbered files, XDMF and OpenFOAM; inputs that change in some files; meshes that move in
some; series of other lengths; every and from_time; a reader that travels; information and checks.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "mesh"))
from series_files import POS, ensight, fields, openfoam, pvd, pvd_of_vtu, vtu

from lrsa_geo.cli import main
from lrsa_geo.data import CondTable, GraphReader, MeshStore, check_files, check_store, collect
from lrsa_geo.mesh import Field, MeshError

pytest.importorskip("pyvista")
TIMES = [0.0, 0.25, 1.5, 2.0]
STATES = (Field("T"), Field("U", "m/s", ("x", "y")))
TARGETS = ["T", "U [m/s]"]


def states(steps=range(4)):
    """``[N, T, 3]``, the columns T, U_x and U_y."""
    columns = [np.column_stack([fields(s)["T"], fields(s)["U"][:, :2]]) for s in steps]
    return torch.tensor(np.stack(columns, 1), dtype=torch.float32)


def cases(folder, count=2, times=TIMES, **options):
    for number in range(count):
        pvd_of_vtu(folder / f"case{number}", times, **options)
    return sorted(folder.glob("case*/case.pvd"))


def made(files, folder, targets=TARGETS, **options):
    store, failures = collect(
        files, folder / "s.h5", targets=targets, series=True, processes=0, **options
    )
    assert not failures
    return store


def test_a_series_is_one_graph(tmp_path):
    store = made(cases(tmp_path), tmp_path)
    assert store.fields == {"states": STATES}
    assert store.num_steps.tolist() == [4, 4]
    for graph in store:
        assert torch.equal(graph.states, states())
        assert graph.times.dtype == torch.float64
        assert graph.times.tolist() == TIMES
        assert graph.get("y") is None
        assert graph.get("pos_t") is None
        assert graph.pos.tolist() == POS[:, :2].tolist()
        assert graph.boundary.tolist() == [1, 1, 1, 1]
        assert float(graph.measure.sum()) == 1
        assert graph.cells.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert store.provenance["files"] == list(map(str, cases(tmp_path)))


def test_numbered_files_are_one_graph(tmp_path):
    for case in ("a", "b"):
        for step in range(11):
            vtu(tmp_path / case / f"step_{step}.vtu", step)
    store = made(sorted(tmp_path.glob("*/step_*.vtu")), tmp_path)
    assert [Path(file).parent.name for file in store.provenance["files"]] == ["a", "b"]
    assert torch.equal(store[1].states, states(range(11)))
    assert store[1].times.tolist() == list(range(11))


@pytest.mark.parametrize("processes", [0, 2])
def test_lengths_may_differ(tmp_path, processes):
    files = [pvd_of_vtu(tmp_path / f"c{n}", TIMES[:n]) for n in (4, 2, 3)]
    store, _ = collect(files, tmp_path / "s.h5", targets=TARGETS, series=True, processes=processes)
    assert store.num_steps.tolist() == [4, 2, 3]
    assert torch.equal(store[1].states, states(range(2)))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"every": 2}, [0, 2]),
        ({"from_time": 0.25}, [1, 2, 3]),
        ({"from_time": 0.3, "every": 1}, [2, 3]),
        ({"from_time": 0.1, "every": 2}, [1, 3]),
    ],
)
def test_some_of_the_steps(tmp_path, options, steps):
    files = cases(tmp_path)
    store = made(files, tmp_path, **options)
    assert torch.equal(store[0].states, states(steps))
    assert store[0].times.tolist() == [TIMES[step] for step in steps]
    reader = GraphReader.from_dict(store.reader.to_dict())
    assert reader == store.reader
    _, graph = reader.read_series(files[1])
    for array in store.arrays:
        if array != "sample":
            assert torch.equal(graph[array], store[1][array]), array


def test_inputs_that_change_in_some_files(tmp_path):
    """Are inputs of time in all; those that are the same at all steps stay where they were."""
    heat = {"heat": np.ones(4), "k": np.arange(4.0)}
    files = cases(tmp_path, 3, extra=heat)
    vtu(files[1].parent / "steps/s2.vtu", 2, extra=heat | {"heat": np.full(4, 7.0)})
    store = made(files, tmp_path, ["T"], inputs=["heat [W]", "k", "U"])
    assert store.fields == {
        "x": (Field("k"),),
        "x_t": (Field("heat", "W"), Field("U", "1", ("x", "y"))),
        "states": (Field("T"),),
    }
    for number, graph in enumerate(store):
        assert graph.x[:, 0].tolist() == [0, 1, 2, 3]
        assert graph.x_t.shape == (4, 4, 3)
        assert graph.x_t[0, :, 0].tolist() == ([1, 1, 7, 1] if number == 1 else [1, 1, 1, 1])
        assert torch.equal(graph.x_t[..., 1:], states()[..., 1:])
    again = made(files, tmp_path, ["T"], inputs=["heat [W]", "k", "U"])  # is the same store
    assert again.sha256 == store.sha256
    _, graph = store.reader.read_series(files[0])
    assert torch.equal(graph.x_t, store[0].x_t)


def test_an_input_that_changes_first_in_a_new_file(tmp_path):
    files = cases(tmp_path, 2, extra={"k": np.arange(4.0)})
    vtu(files[1].parent / "steps/s3.vtu", 3, extra={"k": np.zeros(4)})
    reader = made(files[:1], tmp_path, inputs=["k"]).reader
    with pytest.raises(
        MeshError, match=r"case1/case\.pvd: input 'k' changes with time, and is the"
    ):
        reader.read_series(files[1])


def test_meshes_that_move_in_some_files(tmp_path):
    files = cases(tmp_path)
    vtu(files[1].parent / "steps/s2.vtu", 2, pos=POS * [[1.0, 2, 1]])
    store = made(files, tmp_path)
    assert "pos_t" in store.arrays
    for number, graph in enumerate(store):
        assert graph.pos.tolist() == POS[:, :2].tolist()
        assert graph.pos_t.dtype == graph.pos.dtype
        heights = graph.pos_t[2, :, 1].tolist()
        assert heights == ([1, 1, 2, 1] if number == 1 else [1, 1, 1, 1])
    reader = made(files[:1], tmp_path / "other").reader
    with pytest.raises(MeshError, match=r"case1/case\.pvd: its nodes move, and they do not"):
        reader.read_series(files[1])


def test_geometric_inputs_and_parameters(tmp_path):
    (tmp_path / "t.csv").write_text("file,mach\ncase0,0.5\ncase1,0.7\n")
    store = made(
        cases(tmp_path),
        tmp_path,
        inputs=["boundary_distance"],
        table=CondTable.read(tmp_path / "t.csv"),
    )
    assert store[0].x.shape == (4, 1)
    assert [float(graph.cond) for graph in store] == pytest.approx([0.5, 0.7])


def test_parameters_of_numbered_files(tmp_path):
    """By the name without the number, or the folder."""
    for name in ("hot", "cold"):
        for step in range(3):
            vtu(tmp_path / "runs" / f"{name}_{step}.vtu", step)
    (tmp_path / "t.csv").write_text("file,T0\nhot,400\ncold,200\n")
    files = sorted((tmp_path / "runs").iterdir())
    store = made(files, tmp_path, table=CondTable.read(tmp_path / "t.csv"))
    assert [float(graph.cond) for graph in store] == [200, 400]


def test_parameters_that_are_functions_of_time(tmp_path):
    """Straight between the rows of the table, and refused beyond them."""
    rows = ["file,time [s],inflow [m/s]", "case0,0,1", "case0,2,5", "case1,1,7", "case1,-1,3"]
    (tmp_path / "t.csv").write_text("\n".join([*rows, "case1,3,7"]) + "\n")
    table = CondTable.read(tmp_path / "t.csv", in_time=True)
    store = made(cases(tmp_path), tmp_path, table=table)
    assert store.fields == {"states": STATES, "cond_t": (Field("inflow", "m/s"),)}
    assert "cond" not in store.arrays
    assert store[0].cond_t[:, 0].tolist() == [1, 1.5, 4, 5]
    assert store[1].cond_t[:, 0].tolist() == [5, 5.5, 7, 7]
    reader = GraphReader.from_dict(store.reader.to_dict())
    file = cases(tmp_path)[1]
    _, graph = reader.read_series(file, table.course(file))
    assert torch.equal(graph.cond_t, store[1].cond_t)
    with pytest.raises(
        MeshError, match=r"inflow are functions of time; give a table with a column"
    ):
        reader.read_series(file, {"inflow": 1.0})
    kilometres = CondTable.read(tmp_path / "t.csv", in_time=True).in_units(
        (Field("inflow", "km/h"),)
    )
    assert kilometres.course(file).values[0] == pytest.approx((3 * 3.6,))
    with pytest.raises(MeshError, match=r"t\.csv: its parameters are functions of time"):
        collect(cases(tmp_path), tmp_path / "o.h5", targets=TARGETS, table=table)
    pvd_of_vtu(tmp_path / "case1", [0, 1, 3.5])
    with pytest.raises(MeshError, match=r"from time -1 to 3, and the series has a step at 3\.5"):
        reader.read_series(file, table.course(file))
    (tmp_path / "t.csv").write_text("\n".join([*rows, "case1,1,2"]) + "\n")
    with pytest.raises(ValueError, match=r"t\.csv: 'case1' has the time 1 twice"):
        CondTable.read(tmp_path / "t.csv", in_time=True)
    with pytest.raises(ValueError, match="is there twice"):
        CondTable.read(tmp_path / "t.csv")


def test_fields_of_cells_and_other_formats(tmp_path):
    """The cells of OpenFOAM are averaged at every step; EnSight has its own on nodes."""
    store = made([openfoam(tmp_path / "of", [0, 0.25, 1.5])], tmp_path, ["T"])
    assert store[0].states.shape == (8, 3, 1)
    assert store[0].states[0, :, 0].tolist() == [0, 10, 20]
    store = made([ensight(tmp_path / "en", [0, 0.25])], tmp_path / "other", ["T"])
    assert store[0].states[3, :, 0].tolist() == [3, 13]


def test_the_first_state_of_a_new_case(tmp_path):
    """Without truth a file without steps is the first step of a series, whatever its time."""
    reader = made(cases(tmp_path), tmp_path, from_time=0.2).reader
    series, graph = reader.read_series(vtu(tmp_path / "new.vtu", 3), truth=False)
    assert len(series) == 1
    assert torch.equal(graph.states, states([3]))
    assert graph.times.tolist() == [0]
    with pytest.raises(MeshError, match=r"new\.vtu: is no series"):
        reader.read_series(tmp_path / "new.vtu")


# --- Refused -------------------------------------------------------------------------------------


def test_nan_in_a_late_step(tmp_path):
    files = cases(tmp_path)
    heat = np.array([0, np.nan, 1, np.inf])
    vtu(files[1].parent / "steps/s3.vtu", 3, extra={"T": heat})
    message = r"case1/case\.pvd, step 3 at time 2: field 'T' is NaN or infinite at 2 of 4 nodes"
    with pytest.raises(MeshError, match=message):
        made(files, tmp_path)
    store, failures = collect(
        files, tmp_path / "s.h5", targets=TARGETS, series=True, skip_bad=True, processes=0
    )
    assert len(store) == 1
    assert re.search(message, failures[0].reason)


def test_a_field_that_a_step_lacks(tmp_path):
    files = cases(tmp_path, 1, extra={"k": np.arange(4.0)})
    vtu(files[0].parent / "steps/s1.vtu", 1)
    with pytest.raises(MeshError, match=r"step 1 at time 0\.25: has no field 'k', it has T, U"):
        made(files, tmp_path, ["k"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_time": 1.9}, r"4 steps at times 0 to 2, from time 1\.9 on: 1 of them"),
        ({"every": 5}, "with every = 5: 1 of them are taken, expected 2"),
        ({"every": 0}, "every is 0, expected 1 or more"),
        ({"step": 2}, "step is 2, and a series takes all steps"),
        ({"inputs": ["T"]}, "'T' is an input and a target"),
    ],
)
def test_impossible_choices(tmp_path, options, message):
    with pytest.raises(MeshError, match=message):
        made(cases(tmp_path), tmp_path, **options)


def test_choices_without_a_series(tmp_path):
    with pytest.raises(MeshError, match="choose steps of a series; give series"):
        collect(cases(tmp_path), tmp_path / "s.h5", targets=TARGETS, every=2)


def test_files_without_steps(tmp_path):
    vtu(tmp_path / "a.vtu", 0)
    with pytest.raises(MeshError, match=r"a\.vtu: is no series, expected a file with steps; give"):
        made([tmp_path / "a.vtu"], tmp_path)


def test_a_series_that_is_too_large_or_small_for_float32(tmp_path):
    """A state may begin far smaller than float32 goes, but may not stay there."""
    files = cases(tmp_path, 1)
    vtu(files[0].parent / "steps/s0.vtu", 0, extra={"T": np.full(4, 1e-50)})
    assert float(made(files, tmp_path, ["T"])[0].states[0, 0]) == 0
    vtu(files[0].parent / "steps/s2.vtu", 2, extra={"T": np.full(4, 1e50)})
    with pytest.raises(MeshError, match=r"case\.pvd: 'T' is up to 1e\+50"):
        made(files, tmp_path / "other", ["T"])


# --- Information and checks ----------------------------------------------------------------------


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases(tmp_path)
    assert main(["data", "make", "--from", "case*/case.pvd", "--targets", "T", "-o", "one.h5"]) == 0
    said = capsys.readouterr().err.splitlines()
    said = [line for line in said if "more than one step" in line]
    assert said == [
        "note: 2 of 2 files have more than one step, such as case0/case.pvd with 4; step 0 of each"
        " is taken: --step chooses another one, --series makes a graph of all steps"
    ]
    assert MeshStore("one.h5")[0].y[:, 0].tolist() == [0, 1, 2, 3]
    command = ["data", "make", "--from", "case*/case.pvd", "--series", "--targets", *TARGETS]
    assert main([*command, "--from-time", "0.2", "-o", "s.h5"]) == 0
    out = capsys.readouterr()
    assert "steps     3 to 3 of each file, from time 0.2 on" in out.out
    assert "more than one step" not in out.err
    assert main(["data", "info", "s.h5"]) == 0
    text = capsys.readouterr().out
    assert "series of 3 to 3 steps, at times 0.25 to 2" in text
    assert "first step 10 to 13, middle step 20 to 23, last step 30 to 33" in text
    assert main(["data", "info", "case0/case.pvd", "--step", "2"]) == 0
    text = capsys.readouterr().out
    assert "4 steps, at times 0 to 2: 0, 0.25, 1.5, 2" in text
    assert "fields at step 2, time 1.5:" in text


def kinds(findings):
    return {finding.kind.name: finding for finding in findings}


def test_checks_of_series(tmp_path):
    folder = tmp_path / "a"
    times = np.arange(8.0)
    path = pvd_of_vtu(folder, times, extra={"still": np.arange(4.0), "late": np.ones(4)})
    for step in range(8):
        jump = 1e4 if step > 4 else 0
        extra = {"still": np.arange(4.0), "T": np.arange(4.0) + step + jump}
        extra["late"] = np.full(4, np.nan if step == 6 else float(step))
        vtu(folder / f"steps/s{step}.vtu", step, extra=extra)
    found = kinds(check_files([path]))
    assert "'T' changes by 1e+04" in found["jumps between two steps"].examples[0]
    assert "step 4 (time 4) to step 5 (time 5)" in found["jumps between two steps"].examples[0]
    late = found["values that are NaN or infinite at later steps"]
    assert "'late' has 4 of them from step 6 (time 6) on" in late.examples[0]
    assert "'still' is the same" in found["fields that never change"].examples[0]
    store = made([path], tmp_path, ["T", "still"])
    found = kinds(check_store(store))
    assert "graph 0: 'T' changes by" in found["jumps between two steps"].examples[0]
    assert "'still'" in found["fields that never change"].examples[0]
    vtu(folder / "steps/s7.vtu", 7, pos=np.vstack([POS, [[2.0, 0, 0]]]))
    broken = kinds(check_files([path]))["series that cannot be read through"]
    assert "step 7 at time 7: positions have shape [5, 2]" in broken.examples[0]


def test_a_steady_series_is_in_order(tmp_path):
    path = pvd(tmp_path / "a.pvd", [(i, vtu(tmp_path / f"s{i}.vtu", i).name) for i in range(8)])
    found = kinds(check_files([path]))
    assert not {name for name in found if "step" in name or "series" in name}
