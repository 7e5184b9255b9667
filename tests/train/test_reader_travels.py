"""A model reads new files as its training files were read; models of lrsa_geo 0.1 still do."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch_geometric.data import Batch

from lrsa_geo.cli import main
from lrsa_geo.data import GraphReader, MeshStore, collect
from lrsa_geo.mesh import Field, read_mesh
from lrsa_geo.train import ModelConfig, Signature, Surrogate, predict, predict_files, predict_graph

OLD = Path(__file__).parent / "old"  # written by lrsa_geo 0.1: step -1 of a series, markers `kind`
SMALL = ModelConfig(8, 1, 2, 2, fourier_octaves=2)


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three files of three steps: `load` is the number of the step, `u` ten times that."""
    monkeypatch.chdir(tmp_path)
    points = np.c_[np.random.default_rng(0).random((30, 2)), np.zeros(30)]
    for file in range(3):
        with meshio.xdmf.TimeSeriesWriter(f"{file}.xdmf") as writer:
            writer.write_points_cells(points, [("triangle", np.array([[0, 1, 2], [1, 3, 2]]))])
            for step in range(3):
                values = {"load": np.full(30, float(step)), "u": np.full(30, 10.0 * step)}
                values["kind"] = np.arange(30.0) % 2
                writer.write_data(step, point_data=values)
    return ["0.xdmf", "1.xdmf", "2.xdmf"]


def test_the_step_of_the_training_is_that_of_the_prediction(series, capsys):
    given = {"inputs": ["load"], "targets": ["u [m]"], "boundary": "kind"}
    store, _ = collect(series, "o.h5", **given, step=-1, processes=0)
    model = Surrogate(SMALL, Signature.of_store(store, SMALL)).eval()
    model.normalizer.fit(store, [0, 1, 2])
    Path("runs/o").mkdir(parents=True)
    model.save("runs/o/model.safetensors")
    loaded = Surrogate.load("runs/o/model.safetensors")
    assert loaded.signature == model.signature
    assert loaded.signature.reader == store.reader
    assert loaded.signature.reader.step == -1
    for flags, expected in (([], 2.0), (["--step", "1"], 1.0), (["--step", "-2"], 1.0)):
        assert main(["predict", "runs/o", "0.xdmf", *flags, "-o", "out"]) == 0
        result = read_mesh("out/0.vtu")
        assert float(result.point_data["load"][0]) == expected
        assert float(result.point_data["u"][0]) == 10 * expected


def test_models_and_stores_of_before_are_read():
    store, model = MeshStore(OLD / "store.h5"), Surrogate.load(OLD / "model.safetensors")
    np.testing.assert_allclose(
        predict(model, store[0]), np.load(OLD / "prediction.npy"), rtol=1e-5, atol=1e-6
    )
    assert model.signature.reader_of().boundary == "kind"
    assert model.signature.reader_of().step == 0  # it was not kept
    assert store.reader.step == -1
    assert store.reader.boundary == "kind"
    y = torch.cat([store[i].y for i in range(3)])
    torch.testing.assert_close(model.normalizer.y_rms, y.square().mean(0).sqrt())


def test_a_model_that_reads_less_than_its_store_asks_for_less():
    fields = {"x": (Field("load"),), "y": (Field("u"),)}
    reader = GraphReader(fields["x"], fields["y"], (), "kind", -1, 2)
    without = Signature(2, {"y": fields["y"]}, 0, reader).reader_of()
    assert without == GraphReader((), fields["y"], (), "", -1)
    assert Signature(2, fields, 2, reader).reader_of(3).step == 3


def test_a_newer_file_is_refused(tmp_path):
    model = Surrogate.load(OLD / "model.safetensors")
    model.save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert '"version": 2' in file.metadata()["lrsa_geo"]
    text = (
        (tmp_path / "m.safetensors").read_bytes().replace(b'\\"version\\": 2', b'\\"version\\": 9')
    )
    (tmp_path / "m.safetensors").write_bytes(text)
    with pytest.raises(ValueError, match="version 9, this library reads 2"):
        Surrogate.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("local", [None, "MeshConv"])
def test_a_batch_is_predicted_graph_by_graph(local):
    torch.manual_seed(0)
    store = MeshStore(OLD / "store.h5")
    config = ModelConfig(8, 1, 2, 2, fourier_octaves=2, local=local)
    model = Surrogate(config, Signature.of_store(store, config)).eval()
    model.normalizer.fit(store, range(3))
    graphs = [store[i] for i in range(3)]
    alone = torch.cat([predict(model, graph) for graph in graphs])
    batch = Batch.from_data_list(graphs)
    torch.testing.assert_close(predict(model, batch), alone, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="query points belong to one graph"):
        model.query(batch, torch.zeros(1, 2), torch.zeros(1, 1))
    by_hand = store[0].clone()
    by_hand.batch = torch.arange(len(by_hand.pos)) // 15
    with pytest.raises(ValueError, match="query points belong to one graph"):
        model.query(by_hand, torch.zeros(1, 2), torch.zeros(1, 1))
    if local:
        with pytest.raises(ValueError, match=r"join them with `Batch.from_data_list`"):
            predict(model, by_hand)


def test_numbers_of_graphs_are_those_of_the_store(tmp_path):
    store, model = MeshStore(OLD / "store.h5"), Surrogate.load(OLD / "model.safetensors")
    for number in (-1, 3):
        with pytest.raises(ValueError, match=f"has the graphs 0 to 2, asked for is {number}"):
            predict_graph(model, store, number, tmp_path / "a.vtu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("offset", [0.0, 5e6])
def test_relative_positions_far_from_the_origin(tmp_path, offset):
    """The answer for a mesh at map coordinates is that for the mesh at the origin."""
    store = MeshStore(OLD / "store.h5")
    config = ModelConfig(8, 1, 2, 2, fourier_octaves=2, relative_positions=True)
    answers = []
    for shift in (0.0, offset):
        graphs = [data.update({"pos": data.pos.double() + shift}) for data in store]
        moved = MeshStore.write(tmp_path / "moved.h5", graphs, store.fields)
        torch.manual_seed(0)
        model = Surrogate(config, Signature.of_store(moved, config)).eval()
        model.normalizer.fit(moved, range(3), relative_positions=True)
        answers.append(predict(model, Batch.from_data_list(list(moved))))
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-4)


def test_predict_files_takes_the_reader_of_the_model(series):
    store, _ = collect(series, "o.h5", inputs=["load"], targets=["u"], step=1, processes=0)
    model = Surrogate(SMALL, Signature.of_store(store, SMALL)).eval()
    list(predict_files(model, ["0.xdmf"], "out"))
    assert float(read_mesh("out/0.vtu").point_data["load"][0]) == 1
    list(predict_files(model, ["0.xdmf"], "out", step=0))
    assert float(read_mesh("out/0.vtu").point_data["load"][0]) == 0
