"""A run that ends after a time: its schedule ends with it, it can be resumed, and it says how long.

Kinds of fault: a limit that is no time; a learning rate that is still high at the end; a resumed
run that gets its time twice; a rest of the run that is not told.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field
from lrsa_geo.train import Run, load_config, load_surrogate
from lrsa_geo.train.schedule import OneCycleInTime, duration_of

FLAGS = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FLAGS += ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
FLAGS += ["--model.num_latents", "2", "--model.fourier_octaves", "2"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for _ in range(10):
        pos = torch.rand(30, 2, generator=generator)
        graphs.append(Data(pos=pos, y=(3 * pos[:, :1]).sin(), measure=torch.ones(30)))
    MeshStore.write("s.h5", graphs, {"y": (Field("p"),)})
    return tmp_path


@given(st.integers(0, 9), st.integers(0, 99), st.integers(1, 99))
def test_times_in_both_spellings(hours, minutes, seconds):
    expected = 3600 * hours + 60 * minutes + seconds
    assert duration_of(f"{hours}h{minutes}m{seconds}s").total_seconds() == expected
    assert duration_of(f"00:{hours:02d}:{minutes:02d}:{seconds:02d}").total_seconds() == expected


@pytest.mark.parametrize("text", ["45", "m", "0m", "-1h", "an hour", "00:45", "", "1h 3x"])
def test_what_is_no_time(here, capsys, text):
    with pytest.raises(ValueError, match="expected a time such as 45m"):
        duration_of(text)
    assert main(["train", "s.h5", *FLAGS, f"--max-time={text}"]) in (1, 2)
    assert "max_time" in capsys.readouterr().err
    assert not (here / "runs").exists()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_learning_rate_follows_the_share_and_never_goes_back(shares):
    """Cosine up to the highest rate at the end of the warm-up, then down to nearly zero."""
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    schedule = OneCycleInTime(optimizer, 0.1, warmup=0.25)
    optimizer.step()
    furthest = 0.0
    for share in shares:
        schedule.go_to(share)
        furthest = max(furthest, share)
        up = furthest / 0.25 if furthest < 0.25 else (furthest - 0.25) / 0.75
        low, high = (0.1 / 25, 0.1) if furthest < 0.25 else (0.1, 0.1 / 25e4)
        cosine = high + (low - high) / 2 * (1 + torch.cos(torch.tensor(up * torch.pi)).item())
        assert optimizer.param_groups[0]["lr"] == pytest.approx(cosine, abs=1e-5)


def test_the_run_ends_in_time_with_the_schedule_and_goes_on_with_more(here, capsys):
    started = time.monotonic()
    flags = [*FLAGS, "--trainer.max_epochs", "-1", "--max-time"]
    assert main(["train", "s.h5", *flags, "3s"]) == 0
    took = time.monotonic() - started
    run = Run(Path("runs/s"))
    state = run.state()
    elapsed = state["callbacks"]["Timer"]["time_elapsed"]["train"]
    assert 3 <= elapsed <= min(took, 6)
    (schedule,) = state["lr_schedulers"]
    assert schedule["last_epoch"] > 0.9 * schedule["total_steps"]
    assert schedule["_last_lr"][0] < 0.03 * load_config(run.config).optim.lr
    assert run.metrics.exists()
    load_surrogate(run.path)
    with open(run.history) as file:
        epochs = len(list(csv.DictReader(file)))
    assert epochs >= 2
    capsys.readouterr()
    assert main(["train", "s.h5", "--resume", "--run", "runs/s"]) == 1
    assert "raise --trainer.max_epochs" in capsys.readouterr().err
    assert main(["train", "s.h5", "--resume", "--run", "runs/s", "--max-time", "6s"]) == 0
    said = capsys.readouterr().out
    assert "a new one-cycle schedule of the learning rate over the other" in said
    again = run.state()["callbacks"]["Timer"]["time_elapsed"]["train"]
    assert 6 <= again <= 9  # not three and six
    with open(run.history) as file:
        assert len(list(csv.DictReader(file))) > epochs


def test_two_processes_end_in_time_together(here):
    """One of them must not wait for a step that the other no longer makes."""
    flags = [*FLAGS, "--trainer.max_epochs", "-1", "--max-time", "3s", "--data.batch_size", "2"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-W", "ignore", "-m", "lrsa_geo", "train", "s.h5", *flags, *two]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run = Run(Path("runs/s"))
    assert run.metrics.exists()
    assert 3 <= run.state()["callbacks"]["Timer"]["time_elapsed"]["train"] <= 20
    (schedule,) = run.state()["lr_schedulers"]
    assert schedule["_last_lr"][0] < 0.03 * load_config(run.config).optim.lr


def test_the_rest_of_the_run_is_shown(here, capsys):
    flags = [flag if flag != "false" else "true" for flag in FLAGS]
    assert main(["train", "s.h5", *flags, "--trainer.max_epochs", "12"]) == 0
    shown = capsys.readouterr()
    assert "run_left=0:00:0" in shown.out + shown.err
