"""The road of a user's own files: collect, split, train, predict; and what can go wrong on it."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.cli import main
from lrsa_geo.data import CondTable, MeshStore
from lrsa_geo.mesh import MeshError, read_mesh, write_mesh
from lrsa_geo.train import load_surrogate, predict, predict_files, predict_graph


@pytest.fixture(scope="module")
def own(cells_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of solved cells as VTU files with a table of loads, and a run trained on them."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "cases").mkdir()
    rows = ["file,traction [Pa]"]
    for number, data in enumerate(MeshStore(cells_file)):
        fields = {
            "stress": data.y[:, 0],
            "displacement": data.y[:, 1:],
            "part": data.boundary.to(torch.int32),
        }
        write_mesh(folder / "cases" / f"cell{number}.vtu", data, fields)
        rows.append(f"cell{number}.vtu,{float(data.cond)}")
    (folder / "cases/loads.csv").write_text("\n".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make = ["data", "make", "--from", "cases", "-o", "mine.h5", "--processes", "0"]
        make += ["--targets", "stress [Pa]", "displacement [m]", "--inputs", "boundary_distance"]
        assert main([*make, "--boundary", "part", "--cond", "cases/loads.csv"]) == 0
        assert main(["data", "split", "mine.h5", "--by", "geometry", "--test", "0.2"]) == 0
        assert main(["data", "check", "mine.h5"]) == 0
        small = ["--model.channels", "16", "--model.heads", "2", "--model.num_latents", "4"]
        assert main(["train", "mine.h5", "--quick", *small, "--trainer.max_epochs", "1"]) == 0
    return folder


def test_files_are_in_natural_order_and_the_split_is_used(own):
    store = MeshStore(own / "mine.h5")
    names = [Path(file).name for file in store.provenance["files"]]
    assert names == [f"cell{number}.vtu" for number in range(24)]
    config = (own / "runs/mine-quick/config.yaml").read_text()
    assert "split_file: mine.split.json" in config
    assert (own / "runs/mine-quick/pictures/stress.png").exists()


def test_a_file_gives_what_its_graph_in_the_store_gives(own, monkeypatch, capsys):
    monkeypatch.chdir(own)
    surrogate = load_surrogate(own / "runs/mine-quick")
    run = ["predict", "runs/mine-quick", "cases/*.vtu", "-o", "out", "--cond", "cases/loads.csv"]
    assert main(run) == 0
    assert "out/cell3.vtu" in capsys.readouterr().out
    data = MeshStore("mine.h5")[3]
    guess = predict(surrogate, data)
    before, after = meshio.read("cases/cell3.vtu"), meshio.read("out/cell3.vtu")
    np.testing.assert_array_equal(after.points, before.points)
    np.testing.assert_array_equal(after.cells[0].data, before.cells[0].data)
    for name, values in before.point_data.items():
        np.testing.assert_array_equal(after.point_data[name], values)
    tight = {"rtol": 1e-5, "atol": 1e-5 * float(guess[:, 0].abs().max())}
    np.testing.assert_allclose(after.point_data["stress_predicted"], guess[:, 0], **tight)
    np.testing.assert_allclose(
        after.point_data["stress_error"], guess[:, 0] - data.y[:, 0], rtol=1e-5, atol=1
    )


def test_a_mesh_without_truth_gets_the_prediction_alone(own, tmp_path):
    surrogate = load_surrogate(own / "runs/mine-quick")
    mesh = read_mesh(own / "cases/cell0.vtu")
    mesh.point_data = {"part": mesh.point_data["part"]}
    write_mesh(tmp_path / "new.vtu", mesh)
    table = CondTable("", ("traction",), {"new": (4e4,)})
    (result,) = predict_files(
        surrogate, [str(tmp_path / "new.vtu")], tmp_path / "out.vtu", table=table
    )
    assert result.errors == {}
    written = meshio.read(tmp_path / "out.vtu").point_data
    assert set(written) == {"part", "stress_predicted", "displacement_predicted"}
    assert written["displacement_predicted"].shape == (len(mesh.pos), 3)


def test_a_table_in_another_unit_is_converted(own, tmp_path):
    surrogate = load_surrogate(own / "runs/mine-quick")
    files = [str(own / "cases/cell0.vtu")]
    results = []
    for unit, value in (("[Pa]", 4e4), ("[kPa]", 40.0), ("", 4e4)):
        table = CondTable("", (f"traction {unit}".strip(),), {"cell0": (value,)})
        (result,) = predict_files(surrogate, files, tmp_path / f"out{unit}", table=table)
        results.append(meshio.read(result.output).point_data["stress_predicted"])
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    table = CondTable("loads.csv", ("traction [m]",), {"cell0": (4e4,)})
    with pytest.raises(ValueError, match=r"loads\.csv: column 'traction \[m\]'"):
        list(predict_files(surrogate, files, tmp_path / "out", table=table))


def test_one_bad_file_among_others(own, tmp_path, capsys):
    surrogate = load_surrogate(own / "runs/mine-quick")
    (tmp_path / "bad.vtu").write_text("<VTKFile>")
    files = [str(tmp_path / "bad.vtu"), str(own / "cases/cell1.vtu")]
    table = CondTable.read(own / "cases/loads.csv")
    table.rows["bad.vtu"] = (1.0,)
    with pytest.raises(MeshError, match=r"bad.vtu: .*--skip-bad"):
        list(predict_files(surrogate, files, tmp_path / "out", table=table))
    results = list(predict_files(surrogate, files, tmp_path / "out", table=table, skip_bad=True))
    assert [result.output.name for result in results] == ["cell1.vtu"]
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("drop", "message"),
    [("part", "has no field 'part'"), (None, r"the parameters \['traction'\] are not given")],
)
def test_what_the_model_needs_and_the_file_lacks(own, tmp_path, drop, message):
    surrogate = load_surrogate(own / "runs/mine-quick")
    mesh = read_mesh(own / "cases/cell0.vtu")
    mesh.point_data.pop(drop, None)
    write_mesh(tmp_path / "a.vtu", mesh)
    with pytest.raises(MeshError, match=message):
        list(predict_files(surrogate, [str(tmp_path / "a.vtu")], tmp_path / "out.vtu"))


def test_dimensions_must_agree(own, tmp_path):
    surrogate = load_surrogate(own / "runs/mine-quick")
    tetra = Data(pos=torch.eye(4, 3), cells=torch.tensor([[0, 1, 2, 3]]))
    tetra.cell_types = torch.tensor([10])
    write_mesh(tmp_path / "a.vtu", tetra, {"part": torch.zeros(4, dtype=torch.int32)})
    table = CondTable("", ("traction",), {"a": (4e4,)})
    with pytest.raises(MeshError, match="positions in 3 dimensions, the model was trained in 2"):
        list(predict_files(surrogate, [str(tmp_path / "a.vtu")], tmp_path / "o.vtu", table=table))


def test_dimensions_of_a_store_must_agree(own, tmp_path):
    """As in a mesh file, and not the library's words for shapes."""
    surrogate = load_surrogate(own / "runs/mine-quick")
    graphs = list(MeshStore(own / "mine.h5"))
    for graph in graphs:
        graph.pos = torch.nn.functional.pad(graph.pos, (0, 1))
    solid = MeshStore.write(tmp_path / "solid.h5", graphs, MeshStore(own / "mine.h5").fields)
    with pytest.raises(ValueError, match=r"solid\.h5: has positions in 3 dimensions, the model"):
        predict_graph(surrogate, solid, 0, tmp_path / "o.vtu")
    with pytest.raises(ValueError, match=r"solid\.h5: has positions in 3 dimensions, the model"):
        surrogate.signature.check_graphs(solid)


def test_results_never_overwrite_meshes(own, tmp_path):
    surrogate = load_surrogate(own / "runs/mine-quick")
    with pytest.raises(ValueError, match="would overwrite"):
        list(predict_files(surrogate, [str(own / "cases/cell0.vtu")], own / "cases"))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        mesh = read_mesh(own / "cases/cell0.vtu")
        write_mesh(tmp_path / folder / "a.vtu", mesh)
    files = [str(tmp_path / folder / "a.vtu") for folder in ("one", "two")]
    shared = CondTable("", ("traction",), {"a": (4e4,)})
    with pytest.raises(MeshError, match=r"row 'a' .* fits .* as well"):
        list(predict_files(surrogate, files, tmp_path / "out", table=shared))
    table = CondTable("", ("traction",), {"one/a.vtu": (4e4,), "two/a.vtu": (5e4,)})
    results = list(predict_files(surrogate, files, tmp_path / "out", table=table))
    assert len({result.output for result in results}) == 2
