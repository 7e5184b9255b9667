"""`lrsa-geo spectrum`: what it measures, what it writes, what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore
from lrsa_geo.simulate.darcy import DarcyRecipe
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    TrainConfig,
    TrainerConfig,
    train,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    recipe = DarcyRecipe(resolution=11, every=1)
    path = tmp_path_factory.mktemp("darcy") / "darcy.h5"
    return MeshStore.write(path, [recipe.sample(i) for i in range(8)], recipe.fields)


@pytest.fixture(scope="module")
def run(store: MeshStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "darcy"
    config = TrainConfig(
        data=DataConfig(path=str(store.path), split=SplitConfig(4, 0, 2, shuffle=False)),
        model=ModelConfig(channels=8, depth=2, heads=2, num_latents=3),
        trainer=TrainerConfig(max_epochs=1, enable_progress_bar=False),
    )
    train(config, folder)
    return folder


@pytest.mark.parametrize(
    ("what", "operators", "says"),
    [
        (["green", "--nodes", "200", "--half-waves", "10"], 3, "200 midpoints"),
        (["STORE"], 2, "8 graphs"),
        (["STORE", "--graphs", "5"], 2, "5 graphs"),
        (["FOLDER"], 2, "8 graphs"),
        (["RUN", "--count", "5"], 2, "on graph 6 of"),
        (["RUN", "--count", "5", "--graph", "STORE:1"], 2, "on graph 1 of"),
        (["RUN/model.safetensors", "--graph", "STORE:1", "--count", "2"], 2, "121 nodes"),
    ],
)
def test_operators_are_measured(what, operators, says, run, store, tmp_path, capsys):
    flags = [w.replace("STORE", str(store.path)).replace("RUN", str(run)) for w in what]
    flags = [w.replace("FOLDER", str(store.path.parent)) for w in flags]
    assert main(["spectrum", *flags, "-o", str(tmp_path)]) == 0
    text = (tmp_path / "spectrum.md").read_text()
    assert text in capsys.readouterr().out
    assert says in text
    with (tmp_path / "spectrum.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["operator"] for row in rows}) == operators
    assert (tmp_path / "spectrum.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (["nowhere"], "not a run"),
        (["nowhere.h5"], "no such file"),
        (["green", "--peclet", "0"], "--peclet is 0"),
        (["green", "--nodes", "10"], "`nodes` is 10, expected at least 160"),
        (["STORE", "--graphs", "2"], "--graphs is 2, expected at least 3"),
        (["RUN", "--count", "0"], "--count is 0"),
        (["RUN", "--graph", "STORE"], "expected FILE.h5:NUMBER"),
        (["RUN", "--graph", "STORE:8"], "has the graphs 0 to 7, asked for is 8"),
        (["RUN/model.safetensors"], "give --graph"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    what, message, run, store, tmp_path, capsys
):
    flags = [w.replace("STORE", str(store.path)).replace("RUN", str(run)) for w in what]
    assert main(["spectrum", *flags, "-o", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_run_without_test_graphs_is_measured_on_its_first_graph(store, tmp_path, capsys):
    config = TrainConfig(
        data=DataConfig(path=str(store.path), split=SplitConfig(4, 0, 0, shuffle=False)),
        model=ModelConfig(channels=8, depth=1, heads=2, num_latents=3),
        trainer=TrainerConfig(max_epochs=1, enable_progress_bar=False),
    )
    train(config, tmp_path / "run")
    flags = ["--count", "3", "-o", str(tmp_path / "out")]
    assert main(["spectrum", str(tmp_path / "run"), *flags]) == 0
    assert "on graph 0 of" in capsys.readouterr().out


def test_a_model_that_goes_chunk_by_chunk_is_refused(store, tmp_path, capsys):
    config = TrainConfig(
        data=DataConfig(path=str(store.path), split=SplitConfig(4, 0, 2, shuffle=False)),
        model=ModelConfig(channels=8, depth=1, heads=2, num_latents=3, chunk=50),
        trainer=TrainerConfig(max_epochs=1, enable_progress_bar=False),
    )
    train(config, tmp_path / "run")
    assert main(["spectrum", str(tmp_path / "run"), "-o", str(tmp_path / "out")]) == 1
    assert "this graph of 121 nodes chunk by chunk, 21 at last" in capsys.readouterr().err
