"""What predict writes, where it may write, and what it is told by a model and a store.

Kinds of fault: a model fed or scored by the number of a column; another unit taken as it is; an old
prediction kept as a new one; something of the user's overwritten; one file for many meshes, a
format that cannot be written; a bad file that ends the whole run; cases outside of the training
without a word; targets of cells that come back on nodes alone; a stopped run that cannot predict.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest
import torch

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, read_mesh
from lrsa_geo.train import SurrogateModule, evaluate, load_surrogate, predict

SMALL = ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
SMALL += ["--model.num_latents", "2", "--model.fourier_octaves", "2", "--optim.lr", "0.001"]
SMALL += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
SMALL += ["--trainer.max_epochs", "2"]


def square(
    path: Path, number: int = 0, size: float = 1.0, cells: bool = False, pascal: float = 1.0
) -> None:
    """A square of 5 x 5 nodes with rho, E and p on the nodes, or p on the cells."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 5)))
    grid = np.arange(25).reshape(5, 5)
    a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    p = np.sin(2 * x + 0.3 * number) * 1e5 / pascal
    nodes = {"rho": 1 + x * (1 + 0.1 * number), "E": 200 + 10 * y, "p": p}
    on_cells = {}
    if cells:
        on_cells["p"] = [nodes.pop("p")[triangles].mean(1)]
    points = np.column_stack([x, y, 0 * x]) * size
    meshio.write(path, meshio.Mesh(points, [("triangle", triangles)], nodes, on_cells))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares, stores with the same columns in other orders and units, and a run on one of them."""
    folder = tmp_path_factory.mktemp("own")
    for kind in ("cases", "cells", "bar"):
        (folder / kind).mkdir()
        for number in range(8):
            pascal = 1e5 if kind == "bar" else 1.0
            square(folder / kind / f"a{number}.vtu", number, cells=kind == "cells", pascal=pascal)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, flags in (
            ("s", ["--inputs", "rho", "--targets", "p [Pa]"]),
            ("other", ["--inputs", "E", "rho", "--targets", "p [bar]"]),
            ("lacks", ["--inputs", "E", "--targets", "p [Pa]"]),
            ("odd", ["--inputs", "rho", "--targets", "p [furlong]"]),
            ("untrue", ["--inputs", "rho", "--targets", "E"]),
        ):
            cases = "bar" if name == "other" else "cases"
            make = ["data", "make", "--from", cases, *flags, "-o", f"{name}.h5"]
            assert main([*make, "--processes", "0"]) == 0
        assert main(["train", "s.h5", "--run", "run", *SMALL]) == 0
    return folder


@pytest.fixture
def here(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return own


def test_a_store_is_matched_by_names_and_units(here, capsys):
    for name in ("s", "other"):
        assert main(["predict", str(here / "run"), str(here / f"{name}.h5:3"), "-o", name]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    results = [read_mesh(f"{name}/{name}-3.vtu").point_data for name in ("s", "other")]
    for name in ("p", "p_predicted", "p_error"):
        torch.testing.assert_close(results[1][name], results[0][name], rtol=1e-5, atol=1e-2)
    errors = [line.split("error p ")[1] for line in said.out.splitlines()]
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [("lacks", "no input 'rho'"), ("odd", "target 'p' has the unit 'furlong'")],
)
def test_a_store_that_does_not_fit_is_refused(here, capsys, name, message):
    assert main(["predict", str(here / "run"), str(here / f"{name}.h5:3"), "-o", "out"]) == 1
    assert f"{name}.h5: has" in (error := capsys.readouterr().err) or message in error
    assert message in error
    assert not Path("out").exists()


def test_another_field_is_no_truth(here, capsys):
    assert main(["predict", str(here / "run"), str(here / "untrue.h5:3"), "-o", "a.vtu"]) == 0
    assert "error" not in capsys.readouterr().out
    assert set(read_mesh("a.vtu").point_data) == {"p_predicted"}


def test_evaluate_and_resume_match_a_store_that_was_made_anew(own, tmp_path, monkeypatch, capsys):
    """The same file name holds the columns in another order and unit after a while."""
    monkeypatch.chdir(tmp_path)

    def becomes(name: str) -> None:
        shutil.copy(own / name, tmp_path / "new.h5")
        (tmp_path / "new.h5").replace(tmp_path / "s.h5")

    becomes("s.h5")
    assert main(["train", "s.h5", "--run", "run", *SMALL]) == 0
    before = evaluate(Path("run"))["test"]["p"]
    becomes("other.h5")
    after = evaluate(Path("run"))["test"]["p"]
    assert after["per_mesh"] == pytest.approx(before["per_mesh"], rel=1e-4)
    resume = ["train", "s.h5", "--run", "run", "--resume", "--trainer.max_epochs"]
    assert main([*resume, "3"]) == 0
    assert load_surrogate(Path("run")).signature.fields["x"] == (Field("rho"),)
    becomes("lacks.h5")
    capsys.readouterr()
    assert main([*resume, "4"]) == 1
    assert main(["evaluate", "run"]) == 1
    assert capsys.readouterr().err.count("no input 'rho'") == 2


@pytest.mark.parametrize("change", ["other", "order", "fewer"])
def test_a_store_of_other_graphs_is_no_test_set(own, tmp_path, monkeypatch, capsys, change):
    """Its split leaves other graphs out than the training did."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(own / "s.h5", "s.h5")
    assert main(["train", "s.h5", "--run", "run", *SMALL]) == 0
    old = MeshStore("s.h5")
    graphs = [old[i] for i in range(len(old))]
    if change == "other":
        graphs[2].x = graphs[2].x * 1.01
    graphs = {"other": graphs, "order": graphs[::-1], "fewer": graphs[1:]}[change]
    MeshStore.write("new.h5", graphs, old.fields, old.provenance)
    Path("new.h5").replace("s.h5")
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 1
    resume = ["train", "s.h5", "--run", "run", "--resume", "--trainer.max_epochs", "3"]
    assert main(resume) == 1
    assert capsys.readouterr().err.count("s.h5: is not the store that this run was trained on") == 2


def test_a_graph_of_a_damaged_store_is_not_predicted(here, capsys):
    shutil.copy(here / "s.h5", "s.h5")
    with h5py.File("s.h5", "r+") as file:
        file["node/y"][3] += 1
    assert main(["predict", str(here / "run"), "s.h5:0", "-o", "out"]) == 1
    assert "s.h5: contents have SHA-256" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_prediction_replaces_an_older_one(here):
    run = str(here / "run")
    square(Path("a.vtu"))
    mesh = meshio.read("a.vtu")
    mesh.point_data |= {"p_predicted": np.full(25, 7.0), "p_error": np.full(25, 7.0)}
    mesh.write("a.vtu")
    assert main(["predict", run, "a.vtu", "-o", "out"]) == 0
    found = read_mesh("out/a.vtu").point_data
    truth = torch.as_tensor(meshio.read("a.vtu").point_data["p"])
    assert not (found["p_predicted"] == 7).any()
    # The truth is what the model reads, in single precision: 1e5 is rounded to 0.004 there.
    expected = found["p_predicted"] - truth.float()
    torch.testing.assert_close(found["p_error"], expected, atol=0, rtol=0)
    torch.testing.assert_close(found["p"], truth)
    del mesh.point_data["p"]  # no truth: no error, not an old one either
    mesh.write("a.vtu")
    assert main(["predict", run, "a.vtu", "-o", "out"]) == 0
    assert "p_error" not in read_mesh("out/a.vtu").point_data


def test_nothing_of_the_user_is_overwritten(here, capsys):
    run, mesh = str(here / "run"), str(here / "cases/a0.vtu")
    Path("out").mkdir()
    square(Path("out/a0.vtu"))
    kept = Path("out/a0.vtu").read_bytes()
    for output in ("out", "out/a0.vtu"):
        assert main(["predict", run, mesh, "-o", output]) == 1
        assert "out/a0.vtu exists already and is no earlier result" in capsys.readouterr().err
    assert Path("out/a0.vtu").read_bytes() == kept
    assert main(["predict", run, mesh, "-o", "out", "--overwrite"]) == 0
    assert main(["predict", run, mesh, "-o", "out"]) == 0  # by now it is a result
    before = Path(mesh).read_bytes()
    assert main(["predict", run, mesh, "-o", str(here / "cases"), "--overwrite"]) == 1
    assert "would overwrite" in capsys.readouterr().err
    assert Path(mesh).read_bytes() == before
    assert main(["predict", run, str(here / "s.h5:0"), "-o", str(here / "s.h5")]) == 1
    assert len(MeshStore(here / "s.h5")) == 8
    Path("b.xdmf.h5").write_text("mine")
    assert main(["predict", run, mesh, "-o", "b.xdmf"]) == 1
    assert Path("b.xdmf.h5").read_text() == "mine"


@pytest.mark.parametrize(
    ("meshes", "output", "message"),
    [
        ("cases/a0.vtu", "o/x.stl", "o/x.stl: cannot write '.stl'; name a folder, or a file that"),
        ("cases/*.vtu", "all.vtu", "all.vtu is one file, and there are 8 meshes; name a folder"),
        ("s.h5:1", "x.h5", "x.h5: cannot write '.h5'"),
        ("cases/a0.vtu", "{here}/run/model.safetensors", "is a file, expected a folder"),
        ("cases/a0.vtu", "{here}/s.h5/out", "s.h5: is a file, expected a folder"),
    ],
)
def test_outputs_that_make_no_sense(here, capsys, meshes, output, message):
    assert (
        main(["predict", str(here / "run"), str(here / meshes), "-o", output.format(here=here)])
        == 1
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(Path().iterdir())


def test_skip_bad_leaves_out_whatever_is_wrong_with_a_file(here, capsys):
    Path("a.csv").write_text("x,y\n0,0\n1,0\n0,1\n")
    Path("b.vtu").write_text("<VTKFile")
    square(Path("c.vtu"))
    meshio.write("d.vtu", meshio.Mesh(np.eye(3), [("triangle", [[0, 1, 2]])]))
    names = ["a.csv", "b.vtu", "c.vtu", "d.vtu"]
    assert main(["predict", str(here / "run"), *names, "-o", "out", "--skip-bad"]) == 0
    said = capsys.readouterr()
    assert [line.split(":")[1].strip() for line in said.err.splitlines()] == [
        name for name in names if name != "c.vtu"
    ]
    assert [file.name for file in Path("out").iterdir()] == ["c.vtu"]
    assert main(["predict", str(here / "run"), "a.csv", "-o", "o"]) == 1
    assert "a.csv: " in capsys.readouterr().err


def test_a_point_cloud_for_a_model_with_markers_is_left_out(here, capsys):
    square(Path("c.vtu"))
    square_cloud = "x,y,rho\n0,0,1\n1,0,1\n0,1,1\n"
    Path("a.csv").write_text(square_cloud)
    assert main(["predict", str(here / "run"), "a.csv", "c.vtu", "-o", "out", "--skip-bad"]) == 0
    assert "left out: a.csv: the graph has no ['boundary']" in capsys.readouterr().err
    assert Path("out/c.vtu").exists()


def test_one_name_in_two_formats(here):
    square(Path("a.vtu"))
    meshio.read("a.vtu").write("a.vtk")
    assert main(["predict", str(here / "run"), "a.vtu", "a.vtk", "-o", "out"]) == 0
    assert {file.name for file in Path("out").iterdir()} == {"a_vtu.vtu", "a_vtk.vtu"}


def test_a_mesh_in_millimetres_gives_a_warning_with_its_numbers(here, capsys):
    square(Path("mm.vtu"), size=1000)
    assert (
        main(["predict", str(here / "run"), "mm.vtu", str(here / "cases/a3.vtu"), "-o", "o"]) == 0
    )
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    for word in ("mm.vtu", "its size is 1000", "training meshes 1,", "1e+03 times", "mm for m"):
        assert word in warnings[0]


def test_targets_of_cells_come_back_on_cells(here, capsys):
    cases = str(here / "cells")
    make = ["data", "make", "--from", cases, "--targets", "p", "-o", "c.h5", "--processes", "0"]
    assert main(make) == 0
    assert main(["train", "c.h5", "--run", "r", *SMALL]) == 0
    assert main(["predict", "r", f"{cases}/a0.vtu", "-o", "out"]) == 0
    found = read_mesh("out/a0.vtu")
    mean = found.point_data["p_predicted"][found.cells].mean(1)
    torch.testing.assert_close(found.cell_data["p_predicted"], mean, rtol=1e-5, atol=1e-3)
    error = found.cell_data["p_predicted"].double() - found.cell_data["p"]
    torch.testing.assert_close(found.cell_data["p_error"].double(), error, rtol=1e-5, atol=1e-2)
    square(Path("new.vtu"))
    mesh = meshio.read("new.vtu")
    del mesh.point_data["p"]
    mesh.write("new.vtu")
    assert main(["predict", "r", "new.vtu", "-o", "out"]) == 0
    assert set(read_mesh("out/new.vtu").cell_data) == {"p_predicted"}


def test_a_stopped_run_predicts_from_its_last_checkpoint(here, capsys, monkeypatch):
    step = SurrogateModule.training_step

    def training_step(self, batch, batch_index):
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, batch, batch_index)

    store = str(here / "s.h5")
    with monkeypatch.context() as patch:
        patch.setattr(SurrogateModule, "training_step", training_step)
        assert main(["train", store, "--run", "r", *SMALL]) == 1
    capsys.readouterr()
    assert main(["predict", "r", str(here / "cases/a0.vtu"), "-o", "out"]) == 0
    assert "r: not trained to the end; these are the weights after 1 of 2 epochs" in (
        capsys.readouterr().err
    )
    state = torch.load("r/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    model = load_surrogate(Path("r"))
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, state[f"surrogate.{name}"], rtol=0, atol=0)
    graph = MeshStore(store)[0]
    guess = read_mesh("out/a0.vtu").point_data["p_predicted"]
    torch.testing.assert_close(predict(model, graph)[:, 0], guess, rtol=1e-5, atol=1e-2)
