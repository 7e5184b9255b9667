"""A run from end to end on real data: it learns, resumes exactly, and says what goes wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.utils.data import DistributedSampler

from lrsa_geo.data import MeshStore, StoreError
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    NonFiniteLossError,
    OptimConfig,
    Run,
    SplitConfig,
    Surrogate,
    SurrogateModule,
    TrainConfig,
    TrainerConfig,
    evaluate,
    load_config,
    load_surrogate,
    predict,
    result_fields,
    save_config,
    train,
)
from lrsa_geo.train.datamodule import StoreDataModule


def small_config(path: Path, **trainer: object) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=str(path), split=SplitConfig(16, 2, 6, shuffle=False), batch_size=4),
        model=ModelConfig(channels=16, depth=2, heads=2, num_latents=8, fourier_octaves=3),
        trainer=TrainerConfig(**({"max_epochs": 3, "enable_progress_bar": False} | trainer)),
    )


@pytest.fixture(scope="module")
def run(cells_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(small_config(cells_file, max_epochs=12), folder)
    return folder


def test_a_run_learns_and_leaves_everything_behind(run, cells):
    files = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()}
    assert {
        "config.yaml",
        "model.safetensors",
        "metrics.json",
        "history.csv",
        "checkpoints/last.ckpt",
        "pictures/loss.png",
        "pictures/error_against_nodes.png",
        "pictures/von_mises.png",
        "pictures/displacement.png",
    } <= files
    with open(run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["test"]) == {"von_mises", "displacement"}
    error = metrics["test"]["von_mises"]
    assert len(error["per_mesh"]) == 6
    assert error["mean"] == pytest.approx(sum(error["per_mesh"]) / 6, rel=1e-3)
    assert error["mean"] < 0.6  # 1 would be to predict nothing
    assert metrics["test_nodes"] == cells.num_nodes[18:].tolist()
    assert metrics["parameters"] == sum(p.numel() for p in load_surrogate(run).parameters())
    assert metrics["seconds"]["train"] > 0
    assert metrics["peak_memory_mib"]["process"] > 0


def test_epochs_without_validation_have_a_checkpoint_and_no_validation_error(cells_file, tmp_path):
    config = small_config(cells_file, max_epochs=5)
    config.trainer.check_val_every_n_epoch = 2
    train(config, tmp_path / "run")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 5 * 4
    with open(tmp_path / "run" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["val_von_mises"]) for row in rows] == [False, True, False, True, False]
    assert (tmp_path / "run" / "pictures" / "loss.png").stat().st_size > 10_000


def test_test_errors_are_those_of_the_saved_model(run, cells):
    metrics = json.loads((run / "metrics.json").read_text())
    surrogate, data = load_surrogate(run), cells[metrics["test_graphs"][2]]
    guess = predict(surrogate, data)
    by_hand = (guess[:, 0] - data.y[:, 0]).norm() / data.y[:, 0].norm()
    assert float(by_hand) == pytest.approx(metrics["test"]["von_mises"]["per_mesh"][2], rel=1e-3)
    fields = result_fields(guess, data, cells.fields["y"])
    assert set(fields) == {
        f"{name}{end}"
        for name in ("von_mises", "displacement")
        for end in ("", "_predicted", "_error")
    }
    torch.testing.assert_close(
        fields["displacement_error"], fields["displacement_predicted"] - fields["displacement"]
    )
    assert "von_mises_error" not in result_fields(
        guess, data.clone().update({"y": None}), cells.fields["y"]
    )


def test_evaluate_again_gives_the_same_figures(run):
    before = json.loads((run / "metrics.json").read_text())
    after = evaluate(run)
    assert after["test"] == before["test"]
    assert after["seconds"]["train"] == before["seconds"]["train"]


def test_a_surrogate_survives_its_file(run, cells, tmp_path):
    surrogate = load_surrogate(run)
    surrogate.save(tmp_path / "copy.safetensors")
    copy = Surrogate.load(tmp_path / "copy.safetensors")
    assert copy.signature == surrogate.signature
    torch.testing.assert_close(
        predict(copy, cells[0]), predict(surrogate, cells[0]), atol=0, rtol=0
    )
    with pytest.raises(ValueError, match=r"no \['measure'\], which this model was trained with"):
        predict(copy, cells[0].update({"measure": None}))
    strange = cells[0]
    strange.boundary[0] = 9
    with pytest.raises(
        ValueError, match="`boundary` holds 0 to 9, the model knows the markers 0 to 4"
    ):
        predict(copy, strange)


def test_a_file_that_is_no_surrogate(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing of that kind")
    with pytest.raises(ValueError, match=r"model\.safetensors: not a readable safetensors"):
        Surrogate.load(path)


SCRIPT = """
import torch
from pathlib import Path
from lrsa_geo.train import load_config, train
torch.set_num_threads(1)
train(load_config({config!r}), Path({folder!r}))
"""


def test_killed_and_resumed_ends_with_the_weights_of_an_unbroken_run(cells_file, tmp_path):
    config = small_config(cells_file, max_epochs=30)
    save_config(config, tmp_path / "config.yaml")
    train(config, tmp_path / "unbroken")

    folder = tmp_path / "broken"
    script = SCRIPT.format(config=str(tmp_path / "config.yaml"), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    history = folder / "history.csv"
    while not history.exists() or history.read_text().count("\n") < 5:
        assert process.poll() is None, "it was over before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists()
    assert isinstance(load_surrogate(folder), Surrogate)  # that of the last checkpoint
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(config, folder)

    assert Run.last("broken", lambda _: config, tmp_path).path == folder
    train(load_config(folder / "config.yaml"), folder, resume=True)
    one, other = (load_file(tmp_path / f / "model.safetensors") for f in ("unbroken", "broken"))
    for name in one:
        assert torch.equal(one[name], other[name]), name
    with open(history) as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 31))
    assert not [name for name in os.listdir(folder / "checkpoints") if name != "last.ckpt"]


def test_a_nan_in_the_data_stops_the_run_and_names_the_graphs(cells, tmp_path):
    graphs = list(cells)
    graphs[7].x[3, 0] = torch.nan
    store = MeshStore.write(tmp_path / "nan.h5", graphs, cells.fields)
    with pytest.raises(
        NonFiniteLossError, match=r"the loss is nan in epoch 0, batch \d, graphs \["
    ):
        train(small_config(store.path), tmp_path / "run")


@pytest.mark.parametrize("as_cloud", [False, True])
def test_local_layers_get_the_edges_of_the_cells_or_of_neighbours(cells, tmp_path, as_cloud):
    graphs = list(cells)
    for data in graphs if as_cloud else []:
        del data.cells, data.cell_types
    store = MeshStore.write(tmp_path / "s.h5", graphs, cells.fields)
    config = small_config(store.path, max_epochs=1)
    config.model.local = "MeshConv"
    report = train(config, tmp_path / "run")
    assert report["test"]["von_mises"]["mean"] < 1.5
    guess = predict(load_surrogate(tmp_path / "run"), store[20])
    assert guess.shape == store[20].y.shape


def test_the_model_without_weights_markers_or_conditions(cells, tmp_path):
    graphs = []
    for data in cells:
        for array in ("measure", "boundary", "cond", "cells", "cell_types", "x"):
            del data[array]
        graphs.append(data)
    store = MeshStore.write(tmp_path / "plain.h5", graphs, {"y": cells.fields["y"]})
    config = small_config(store.path, max_epochs=1)
    config.model.use_measure = config.model.use_features = False
    report = train(config, tmp_path / "run")
    assert report["test"]["von_mises"]["mean"] < 1.5


def test_positions_only_ignore_the_features(cells_file, cells, tmp_path):
    config = small_config(cells_file, max_epochs=1)
    config.model.use_features = False
    train(config, tmp_path / "run")
    surrogate, data = load_surrogate(tmp_path / "run"), cells[0]
    assert "x" not in surrogate.arrays
    before = predict(surrogate, data)
    data.x = data.x + 1
    torch.testing.assert_close(predict(surrogate, data), before, atol=0, rtol=0)


@pytest.mark.parametrize("flags", [{"precision": "bf16-mixed"}, {"accumulate_grad_batches": 2}])
def test_lightnings_own_flags(cells_file, tmp_path, flags):
    report = train(small_config(cells_file, **flags), tmp_path / "run")
    assert report["test"]["von_mises"]["mean"] < 1.5


@pytest.mark.parametrize(
    ("bad_step", "flags", "kept"),
    [
        (8, {"max_epochs": 2}, 4),  # the last of an epoch of four
        (7, {"max_epochs": 2}, 4),
        (3, {"max_epochs": -1, "max_steps": 3}, None),  # the last of all, within an epoch
        (3, {"max_epochs": -1, "max_steps": 3, "check_val_every_n_epoch": 9}, None),
    ],
)
def test_no_weights_are_kept_of_a_loss_that_is_none(
    cells_file, tmp_path, monkeypatch, bad_step, flags, kept
):
    """It is seen before anything is saved, wherever the training ends."""
    whole, steps = SurrogateModule.loss, []

    def loss(module, batch):
        steps.append(batch)
        return whole(module, batch) * (torch.nan if len(steps) == bad_step else 1)

    monkeypatch.setattr(SurrogateModule, "loss", loss)
    epoch, batch = divmod(bad_step - 1, 4)
    with pytest.raises(NonFiniteLossError, match=f"nan in epoch {epoch}, batch {batch}") as caught:
        train(small_config(cells_file, **flags), tmp_path / "run")
    assert str(steps[bad_step - 1].graph.tolist()) in str(caught.value)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert checkpoint.exists() == (kept is not None)
    if kept is not None:
        assert torch.load(checkpoint, weights_only=True)["global_step"] == kept


def test_no_process_keeps_weights_where_the_loss_of_another_is_none(cells, tmp_path):
    """The second one has it, and the first one writes the checkpoints."""
    sampler = DistributedSampler(range(16), 2, 1, shuffle=True, seed=0)
    graphs = [cells[i] for i in range(len(cells))]
    graphs[next(iter(sampler))].x[0] = torch.nan
    store = MeshStore.write(tmp_path / "nan.h5", graphs, cells.fields)
    flags = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn", "max_epochs": 1}
    config = small_config(store.path, **flags)
    config.data.batch_size = 8  # a single step
    with pytest.raises(Exception, match="NonFiniteLossError: the loss is nan in epoch 0, batch 0"):
        train(config, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_two_devices_share_the_graphs_and_leave_one_run(cells_file, tmp_path):
    flags = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn", "max_epochs": 2}
    train(small_config(cells_file, **flags), tmp_path / "run")
    with open(tmp_path / "run" / "history.csv") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2]
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2 * 16 // (2 * 4)  # epochs, graphs, devices, batch size


def test_batches_depend_on_seed_and_epoch_alone(cells):
    def epochs(seed: int, first: int) -> list[list[int]]:
        loaders = StoreDataModule(cells, DataConfig(split=SplitConfig(16, 2, 6)), ["pos"], seed)
        loader = loaders.train_dataloader()
        loader.sampler.set_epoch(first)
        return [batch.graph.tolist() for batch in loader]

    assert epochs(0, 3) == epochs(0, 3)
    assert epochs(0, 3) != epochs(0, 4)
    assert epochs(0, 3) != epochs(1, 3)


def test_configurations_survive_their_file(tmp_path):
    config = TrainConfig(
        name="a", optim=OptimConfig(lr=3e-4), trainer=TrainerConfig(devices="auto")
    )
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == dataclasses.asdict(config)
    (tmp_path / "bad.yaml").write_text("model:\n  chanels: 3\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: .*chanels"):
        load_config(tmp_path / "bad.yaml")


def test_missing_data_names_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"missing\.h5: no such file"):
        train(small_config(tmp_path / "missing.h5"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lightning_version_can_load_checkpoints_safely():
    """Resuming loads with weights_only=True, which Lightning knows since 2.6."""
    assert tuple(int(part) for part in lightning.__version__.split(".")[:2]) >= (2, 6)
