"""The life of a run: nothing is left of what cannot begin, nothing is lost of what was begun."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch_geometric.data import Data

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore, SplitConfig
from lrsa_geo.mesh import Field
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    NonFiniteLossError,
    Run,
    SurrogateModule,
    TrainConfig,
    TrainerConfig,
    evaluate,
    load_config,
    train,
)

FLAGS = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FLAGS += ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
FLAGS += ["--model.num_latents", "2", "--model.fourier_octaves", "2"]


def clouds(path: Path, count: int = 20, **arrays: torch.Tensor) -> MeshStore:
    """A smooth field on clouds of 30 points."""
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for _ in range(count):
        pos = torch.rand(30, 2, generator=generator)
        y = (pos[:, :1] * 3 + 0.1).sin()
        graphs.append(Data(pos=pos, y=y, measure=torch.ones(30)).update(arrays))
    described = {"y": (Field("p"),), "x": (Field("q"),)}
    return MeshStore.write(path, graphs, {a: f for a, f in described.items() if a in graphs[0]})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    clouds(tmp_path / "mine.h5")
    return tmp_path


def small(**trainer: object) -> TrainConfig:
    return TrainConfig(
        name="mine",
        data=DataConfig("mine.h5", split=SplitConfig(16, 1, 3)),
        model=ModelConfig(8, 1, 2, 2, fourier_octaves=2),
        trainer=TrainerConfig(
            **({"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False} | trainer)
        ),
    )


def epochs_of(run: Path) -> list[int]:
    with open(run / "history.csv") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@contextmanager
def power_cut_in_epoch(epoch: int) -> Iterator[None]:
    """The training stops at the first batch of the epoch (counted from 0)."""
    step = SurrogateModule.training_step

    def training_step(self, batch, batch_index):
        if self.current_epoch == epoch:
            raise RuntimeError("power cut")
        return step(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):  # noqa: PT012
        patch.setattr(SurrogateModule, "training_step", training_step)
        yield


def test_every_claim_gets_a_folder_of_its_own(here):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: Run.claim("mine", small()), range(16)))
    assert {str(run.path) for run in runs} == {
        "runs/mine",
        *(f"runs/mine-{i}" for i in range(2, 17)),
    }
    with pytest.raises(FileExistsError, match="runs/mine holds a run already"):
        Run.claim(Path("runs/mine"), small())
    (here / "empty").mkdir()
    assert load_config(Run.claim(here / "empty", small()).config) == small()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trainer.max_epochs", "-1"], "the training would never end"),
        (["--trainer.max_epochs", "0"], "trainer.max_epochs is 0"),
        (["--trainer.accelerator", "tppu"], "tppu"),
        (["--trainer.precision", "17"], "17"),
        (["--optim.lr", "-1"], "optim.lr is -1"),
        (["--optim.weight_decay", "-1"], "optim.weight_decay is -1"),
        (["--optim.average", "1"], "optim.average is 1.0, expected more than 0 and less than 1"),
        (["--seed", "-1"], "seed is -1"),
        (["--data.split.test", "1.0", "--data.split.val", "0"], "leaves no graph to train on"),
        (["--data.split.train", "99"], "the store has 20"),
        (["--data.batch_size", "0"], "batch_size"),
        (["--data.augment", "[{name: RandomRotatoin}]"], "did you mean 'RandomRotation'"),
        (["--data.augment", "[{name: Mirror, planes: {z: 0}}]"], "has no axis z"),
        (["--data.augment", "[{name: LineGraph}]"], "data.augment"),
        (
            ["--objective.loss", "l3"],
            "objective.loss is 'l3', expected one of relative_l2,",
        ),
        (["--objective.field_weights", "{q: 1}"], "expected one of p"),
        (["--model.heads", "3"], "heads"),
        (["--name", "../mine"], "expected the name of a folder"),
        (["--run", "mine.h5/run"], "mine.h5 is no folder"),
    ],
)
def test_what_cannot_begin_leaves_nothing(here, capsys, flags, message):
    before = sorted(here.iterdir())
    assert main(["train", "mine.h5", *FLAGS, *flags]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(here.iterdir()) == before


def test_a_loss_that_is_nan_in_the_first_epoch_leaves_nothing(here):
    clouds(here / "nan.h5", x=torch.full((30, 1), torch.nan))
    config = small()
    config.data.path = "nan.h5"
    with pytest.raises(NonFiniteLossError):
        train(config)
    assert not (here / "runs" / "mine").exists()


def test_a_wrong_flag_does_no_harm_to_a_run(here, capsys):
    with power_cut_in_epoch(1):
        train(small())
    config = (here / "runs/mine/config.yaml").read_text()
    for flag, value, old in (("model.depth", "2", "1"), ("data.batch_size", "2", "4")):
        assert main(["train", "mine.h5", "--resume", f"--{flag}", value]) == 1
        assert f"{flag} was {old} and is {value}" in capsys.readouterr().err
        assert (here / "runs/mine/config.yaml").read_text() == config
    assert main(["train", "mine.h5", "--resume", "--trainer.check_val_every_n_epoch", "2"]) == 0
    assert "runs/mine, going on after epoch 1" in capsys.readouterr().out
    assert load_config("runs/mine/config.yaml").trainer.check_val_every_n_epoch == 2
    assert epochs_of(here / "runs/mine") == [1, 2]


def test_more_epochs_go_on_with_a_schedule_over_the_rest(here, capsys):
    assert main(["train", "mine.h5", *FLAGS, "--trainer.max_epochs", "2"]) == 0
    assert main(["train", "mine.h5", "--resume"]) == 1
    assert "no unfinished run of 'mine'" in capsys.readouterr().err
    assert main(["train", "mine.h5", "--resume", "--run", "runs/mine"]) == 1
    assert "finished after 2 epochs; raise --trainer.max_epochs" in capsys.readouterr().err
    assert main(["train", "mine.h5", "--resume", "--trainer.max_epochs", "1"]) == 1
    assert "no unfinished run" in capsys.readouterr().err
    # Killed on the way and resumed once more, it keeps the schedule of the first time.
    weights = []
    for kill in (False, True):
        runs = here / f"runs-{kill}"
        shutil.copytree(here / "runs", runs)
        longer = load_config(runs / "mine/config.yaml")
        longer.trainer.max_epochs = 5
        if kill:
            with power_cut_in_epoch(3):
                train(longer, runs / "mine", resume=True)
            assert not (runs / "mine/metrics.json").exists()
        capsys.readouterr()
        train(longer, runs / "mine", resume=True)
        printed = capsys.readouterr().out
        assert (
            "a new one-cycle schedule of the learning rate over the other 12" in printed
        ) != kill
        assert f"going on after epoch {3 if kill else 2}" in printed
        assert epochs_of(runs / "mine") == [1, 2, 3, 4, 5]
        assert load_config(runs / "mine/config.yaml") == longer
        weights.append(load_file(runs / "mine/model.safetensors"))
    for name in weights[0]:
        assert torch.equal(weights[0][name], weights[1][name]), name


def test_more_steps_go_on_too(here):
    train(small(max_epochs=-1, max_steps=6))
    train(small(max_epochs=-1, max_steps=10), Path("runs/mine"), resume=True)
    assert Run(Path("runs/mine")).progress()[1] == 10


def test_a_run_killed_behind_its_last_epoch_is_only_tested(here):
    report = train(small())
    (here / "runs/mine/metrics.json").unlink()
    (here / "runs/mine/model.safetensors").unlink()
    again = train(small(), Path("runs/mine"), resume=True)
    assert again["test"] == report["test"]
    assert epochs_of(here / "runs/mine") == [1, 2]


def test_a_run_killed_while_it_draws_has_all_its_figures(here, monkeypatch):
    """Its metrics say that it is finished, so they are whole."""

    def power_cut(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(import_module("lrsa_geo.train.evaluate"), "draw_test", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            train(small())
    kept = json.loads((here / "runs/mine/metrics.json").read_text())
    assert set(kept["seconds"]) == {"data", "train", "test"}
    assert kept["steps"] == Run(Path("runs/mine")).progress()[1]
    assert kept["compiled"] is False
    again = evaluate(here / "runs/mine")
    assert again["seconds"]["train"] == kept["seconds"]["train"]
    assert {name: again[name] for name in ("test", "steps", "compiled")} == {
        name: kept[name] for name in ("test", "steps", "compiled")
    }
    assert list((here / "runs/mine/pictures").iterdir())


@pytest.mark.parametrize("num_graphs", [1, 2, 3])
def test_parts_without_graphs_are_said(here, capsys, num_graphs):
    clouds(here / "few.h5", num_graphs)
    assert main(["train", "few.h5", *FLAGS, "--trainer.max_epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"{num_graphs} training, no validation, no test graphs" in printed
    assert "no test graphs (data.split.test)" in printed
    assert "no validation graphs (data.split.val)" in printed
    metrics = json.loads((here / "runs/few/metrics.json").read_text())
    assert metrics["test"] == metrics["fields"] == {}


def test_names_of_fields_are_no_paths():
    assert Run(Path("r")).picture("../../p/q").parent == Path("r/pictures")
    assert Run(Path("r")).picture("von_mises").name == "von_mises.png"


def test_random_transforms_survive_workers_and_resuming(here):
    config = small(max_epochs=3)
    config.data.augment = [{"name": "RandomRotation"}, {"name": "RandomJitter", "translate": 0.01}]
    train(config, here / "one")
    config.data.num_workers = 2
    with power_cut_in_epoch(1):
        train(config, here / "two")
    train(config, here / "two", resume=True)
    one, two = (load_file(here / run / "model.safetensors") for run in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_saved_model_is_the_moving_average_of_the_weights(here, monkeypatch):
    """Also after a power cut; the weights themselves go on as if there were no average."""
    seen: list[dict[str, torch.Tensor]] = []
    schedule = SurrogateModule.lr_scheduler_step

    def after_a_step(self, scheduler, metric):
        seen.append({n: p.detach().clone() for n, p in self.surrogate.named_parameters()})
        schedule(self, scheduler, metric)

    config = small(max_epochs=3)
    train(config, here / "plain")
    config.optim.average = 0.3
    with monkeypatch.context() as patch:
        patch.setattr(SurrogateModule, "lr_scheduler_step", after_a_step)
        train(config, here / "one")
    averages = dict(seen[0])
    for step, weights in enumerate(seen[1:], 1):
        kept = min(0.3, (1 + step) / (10 + step))
        averages = {n: kept * a + (1 - kept) * weights[n] for n, a in averages.items()}
    plain, one = (load_file(here / run / "model.safetensors") for run in ("plain", "one"))
    assert len(seen) == 12
    for name, average in averages.items():
        torch.testing.assert_close(one[name], average)
        torch.testing.assert_close(plain[name], seen[-1][name])
    with power_cut_in_epoch(1):
        train(config, here / "two")
    train(config, here / "two", resume=True)
    two = load_file(here / "two" / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "lrsa_geo", *arguments]


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]


@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_have_the_errors_of_one(here, launcher):
    """At the same global batch; the run is claimed, tested and drawn once."""
    epochs = ["--trainer.max_epochs", "2"]
    assert (
        main(["train", "mine.h5", *FLAGS, *epochs, "--run", "one", "--data.batch_size", "4"]) == 0
    )
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "2"]
    arguments = ["train", "mine.h5", *FLAGS, *epochs, *two]
    called = command(*arguments)
    if launcher == "torchrun":
        called = [*TORCHRUN, str(29500 + os.getpid() % 1000), "-m", "lrsa_geo", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(called, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert os.listdir("runs") == ["mine"]
    assert done.stdout.count("run folder: runs/mine") == 1
    assert done.stdout.count("relative L2 on 3 test meshes") == 1
    one, both = (
        json.loads((here / run / "metrics.json").read_text()) for run in ("one", "runs/mine")
    )
    assert both["test"]["p"]["per_mesh"] == pytest.approx(one["test"]["p"]["per_mesh"], abs=1e-5)
    assert epochs_of(here / "runs/mine") == [1, 2]


def test_ctrl_c_says_what_was_kept_and_how_to_go_on(here):
    arguments = ["train", "mine.h5", *FLAGS, "--trainer.max_epochs", "100000"]
    process = subprocess.Popen(
        command(*arguments),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Shells start what runs in the background with Ctrl-C switched off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        history = here / "runs/mine/history.csv"
        while not history.exists() or history.read_text().count("\n") < 5:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    said = error.strip().splitlines()[-1]
    assert said.startswith("interrupted: ")
    assert "of 100000 epochs are kept in runs/mine/checkpoints/last.ckpt" in said
    again = said.split("`")[1]
    assert again == "lrsa-geo train runs/mine/config.yaml --resume --run runs/mine"
    done = Run(Path("runs/mine")).progress()[0]
    assert main([*again.split()[1:], "--trainer.max_epochs", str(done + 1)]) == 0
    assert epochs_of(here / "runs/mine") == list(range(1, done + 2))


def test_ctrl_c_in_the_first_epoch_leaves_nothing(here, capsys, monkeypatch):
    def training_step(self, batch, batch_index):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SurrogateModule, "training_step", training_step)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train", "mine.h5", *FLAGS]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert "interrupted: no epoch was finished, so nothing was kept" in capsys.readouterr().err
    assert not (here / "runs/mine").exists()


def test_the_room_needs_neither_pictures_nor_unix():
    check = (
        "import sys, lightning, torch_geometric, h5py; sys.modules['resource'] = None;"
        " import lrsa_geo.train, lrsa_geo.cli; assert 'lrsa_geo.plot' not in sys.modules;"
        " from lrsa_geo.train.evaluate import _peak_memory_mib; _peak_memory_mib()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
